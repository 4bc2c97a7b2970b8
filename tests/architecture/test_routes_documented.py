"""docs/settings.md: the table of a route's keys is that of the code, and its example is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.test_settings_documented import PAGE
from tracequill.settings import RouteSettings, load_settings
from tracequill_collector.proxy.route import RouteTable


def test_the_page_holds_exactly_the_keys_of_a_route() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition("| Key | Default | Meaning |\n|---|---|---|\n")[2].partition("\n\n")[0]
    rows = [
        f"| `{name}` |  | {field.description} |"
        for name, field in RouteSettings.model_fields.items()
    ]

    assert table.splitlines() == rows, "\n".join(rows)


def test_the_example_is_a_configuration_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example
    (tmp_path / "tracequill.yaml").write_text(example[1])
    monkeypatch.setenv("TRACEQUILL_CONFIG", str(tmp_path / "tracequill.yaml"))

    routes = RouteTable(load_settings().routes)

    assert routes.signed_names == ["bedrock"]
    origin = routes.find("/bedrock/eu-west-1/model/m/converse").origin
    assert origin is not None
    assert (origin.host, origin.public) == ("bedrock-runtime.eu-west-1.amazonaws.com", False)
