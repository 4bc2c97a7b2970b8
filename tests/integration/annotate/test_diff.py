"""What a correction changed, in a real browser."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.annotate.static_pages import StaticPages, Watched, running_browser

pytestmark = pytest.mark.integration

SEED = 20_261_121


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    pages = StaticPages()
    with running_browser() as browser:
        watched = Watched(browser.new_page(), pages)
        yield watched
        assert watched.problems == []
    pages.close()


def changes(watched: Watched, before: str, after: str, by: str = "word") -> list[tuple[str, str]]:
    found: list[dict[str, str]] = watched.page.evaluate(
        f"async ([a, b]) => (await import('/annotate/diff.js')).{by}Changes(a, b)", [before, after]
    )
    return [(change["kind"], change["text"]) for change in found]


def draw(watched: Watched, before: str, after: str, kind: str) -> Any:
    watched.page.evaluate(
        """async ([before, after, kind]) => {
          const { renderDiff } = await import('/annotate/diff.js');
          document.getElementById('main').replaceChildren(renderDiff(before, after, { kind }));
        }""",
        [before, after, kind],
    )
    return watched.page.get_by_role("group", name="Changes")


def test_words_that_changed_are_marked(watched: Watched) -> None:
    assert changes(watched, "The cat sat on the mat.", "The dog sat quietly on the mat.") == [
        ("same", "The "),
        ("removed", "cat"),
        ("added", "dog"),
        ("same", " sat"),
        ("added", " quietly"),
        ("same", " on the mat."),
    ]


def test_neighbouring_words_change_as_one_phrase(watched: Watched) -> None:
    assert changes(watched, "a b c d", "a x y d")[1:3] == [("removed", "b c"), ("added", "x y")]


def test_a_script_without_spaces_changes_by_character(watched: Watched) -> None:
    assert changes(watched, "明天下雨", "明天晴天") == [
        ("same", "明天"),
        ("removed", "下雨"),
        ("added", "晴天"),
    ]


def test_both_texts_can_be_read_from_the_changes(watched: Watched) -> None:
    chance = random.Random(SEED)
    for _ in range(200):
        before, after = ("".join(chance.choices("ab \n", k=chance.randrange(60))) for _ in range(2))
        found = changes(watched, before, after)
        assert "".join(text for kind, text in found if kind != "added") == before
        assert "".join(text for kind, text in found if kind != "removed") == after


def test_json_is_compared_by_lines_whatever_its_spaces(watched: Watched) -> None:
    before = '{"city":"Pariss","days":[1,2]}'
    area = draw(watched, before, '{ "city": "Paris", "days": [1, 2] }', "json")

    assert area.locator("del").all_inner_texts() == ['  "city": "Pariss",']
    assert area.locator("ins").all_inner_texts() == ['  "city": "Paris",']


def test_lines_that_stayed_are_folded_far_from_a_change(watched: Watched) -> None:
    before = json.dumps(list(range(200)))
    area = draw(watched, before, before.replace("100,", "1000,"), "json")

    assert area.locator(".diff-line").count() == 8
    area.get_by_role("button", name="unchanged lines").first.click()
    assert area.locator(".diff-line").count() == 8 + 98


def test_a_long_passage_that_stayed_is_folded(watched: Watched) -> None:
    before = "word " * 2_000
    area = draw(watched, f"{before}end", f"{before}END", "text")

    assert area.inner_text().startswith("… 9,700 unchanged characters …")
    area.get_by_role("button", name="unchanged").click()
    assert area.inner_text().count("word") == 2_000


@pytest.mark.parametrize("kind", ["text", "json"])
def test_nothing_changed_is_said(watched: Watched, kind: str) -> None:
    assert draw(watched, "[1]", "[1]", kind).inner_text() == "Nothing is changed."


def test_huge_texts_with_nothing_in_common_are_compared_in_bounded_steps(watched: Watched) -> None:
    chance = random.Random(SEED)
    before, after = ("".join(chance.choices("ab \n", k=60_000)) for _ in range(2))
    for by in ("word", "line"):
        found = changes(watched, before, after, by)
        assert {kind for kind, _ in found} >= {"removed", "added"}
