"""The one script that is added to Phoenix's page."""

from __future__ import annotations

import logging

import pytest
from jinja2 import DictLoader, Environment

from tracequill_phoenix.navigation import NavigationLoader, with_script

PAGE = "<html><body><div id='root'></div>{{ more }}</body></html>"


def rendered(name: str, **values: str) -> str:
    original = DictLoader({"index.html": PAGE, "other.html": PAGE})
    environment = Environment(loader=NavigationLoader(original), autoescape=True)
    return environment.get_template(name).render(**values)


def test_the_page_gets_the_script_at_its_end_and_nothing_else_changes() -> None:
    tag = '<script src="/prefix/tracequill/static/navigation.js" defer></script>\n'

    page = rendered("index.html", basename="/prefix", more="x")

    assert page == f"<html><body><div id='root'></div>x{tag}</body></html>"


def test_other_templates_stay_as_they_are() -> None:
    assert "script" not in rendered("other.html", basename="")


@pytest.mark.parametrize(
    "source",
    ["<html><body></html>", "<body></body><template></body></template>"],
    ids=["no end of body", "two ends of body"],
)
def test_a_page_we_do_not_know_is_passed_on_unchanged(
    source: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert with_script(source) == source

    assert "Phoenix's page has changed" in caplog.text
