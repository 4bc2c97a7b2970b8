"""Correcting an answer in the page: texts, JSON and what an assistant asked of a tool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.integration.annotate.browsing import ANSWER, Analyst, analysts, chromium
from tests.integration.annotate.rig import Call, Json, named, span_annotations, write_calls
from tests.integration.fixtures_phoenix import PhoenixServer
from tracequill_phoenix.dataset_export.testing import llm_span, message, tool_call

pytestmark = pytest.mark.integration

ADDRESS = '{"street": "Main St 1", "size": 1.50, "tags": ["a", "b"]}'
ARGUMENTS = '{"order_id":"77","limit":12345678901234567890}'
FIELD = ".correction textarea"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def ana(browser: Browser, phoenix_server: PhoenixServer) -> Iterator[Analyst]:
    with analysts(browser, phoenix_server) as make:
        yield make()


def open_answer(
    server: PhoenixServer, request: pytest.FixtureRequest, ana: Analyst, answer: Json
) -> tuple[Page, str, Json]:
    """A queue of one answer, opened to be corrected; the page, the span and the queue."""
    name = f"correct {request.node.name}"
    attributes = llm_span([message("user", "Where is order 77?")], [answer])
    (span,) = write_calls(server, name, [Call(attributes=attributes), Call(answer="The next.")])[:1]
    with named(server, "Manager") as manager:
        queue = manager.create(name, name, order="oldest")
    page = ana.open_queue(queue, "Ana")
    ana.press("e")
    expect(page.locator(FIELD).first).to_be_focused()
    return page, span, queue


def replace(page: Page, field: int, old: str, new: str) -> None:
    """Edit a field as a person would: what was typed stays, but for one place."""
    area = page.locator(FIELD).nth(field)
    text = area.input_value()
    assert old in text, text
    area.fill(text.replace(old, new))


def corrected(server: PhoenixServer, span: str) -> Any:
    """The correction in Phoenix."""
    stored = {row["name"]: row for row in span_annotations(server, span)}
    return stored["correction"]


def test_json_is_laid_out_edited_and_written_back_as_it_was(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    answer = message("assistant", '{"street": "Main St 1", "zip": "123", "tags": ["a", "b"]}')
    page, span, _ = open_answer(phoenix_server, request, ana, answer)
    expect(page.locator(FIELD)).to_have_value(
        '{\n  "street": "Main St 1",\n  "zip": "123",\n  "tags": [\n    "a",\n    "b"\n  ]\n}'
    )

    replace(page, 0, '"123"', '"12345"')
    expect(page.locator(".correction ins").first).to_be_visible()
    ana.press("Escape", "1", "Enter")
    ana.wait_until_saved()

    stored = corrected(phoenix_server, span)
    wanted = '{"street": "Main St 1", "zip": "12345", "tags": ["a", "b"]}'
    assert stored["explanation"] == wanted
    assert stored["metadata"]["message"]["content"] == wanted
    assert '+{"street": "Main St 1", "zip": "12345"' in stored["metadata"]["diff"]
    assert (stored["source"], stored["label"], stored["score"]) == ("APP", None, None)


def test_json_that_would_change_when_laid_out_stays_as_it_is(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    page, span, _ = open_answer(phoenix_server, request, ana, message("assistant", ADDRESS))
    expect(page.locator(FIELD)).to_have_value(ADDRESS)

    replace(page, 0, "Main St 1", "Main St 2")
    ana.press("Escape", "1", "Enter")
    ana.wait_until_saved()

    wanted = ADDRESS.replace("Main St 1", "Main St 2")
    assert corrected(phoenix_server, span)["explanation"] == wanted


def test_wrong_json_is_told_and_not_saved(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    answer = message("assistant", '{"a": 1, "b": 2}')
    page, span, _ = open_answer(phoenix_server, request, ana, answer)
    ana.press("Escape", "1", "e")
    replace(page, 0, '"b": 2', '"b": ')
    problem = page.locator(".correction .problem")
    expect(problem).to_contain_text("This is not valid JSON")
    # Only what was edited counts as changed, not all of it.
    expect(page.locator(".correction .diff")).to_contain_text('"b": 2')
    expect(page.locator(".correction .diff")).not_to_contain_text('− "a"')

    ana.press("Control+Enter")
    expect(page.locator(".save-problem")).to_contain_text("This is not valid JSON")
    expect(page.locator(ANSWER)).to_be_visible()
    assert span_annotations(phoenix_server, span) == []

    page.reload()
    ana.wait_for_question()
    assert '"b": ' in page.locator(FIELD).input_value()
    replace(page, 0, '"b": ', '"b": 3')
    ana.press("Escape", "Enter")
    ana.wait_until_saved()
    assert corrected(phoenix_server, span)["explanation"] == '{"a": 1, "b": 3}'


def test_what_was_asked_of_tools_is_corrected(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    calls = [
        tool_call("get_order", '{"order_id": "76"}', id="call_1"),
        tool_call("refund", '{"order_id": "77", "cents": 500}', id="call_2"),
    ]
    answer = message("assistant", None, tool_calls=calls)
    page, span, _ = open_answer(phoenix_server, request, ana, answer)
    fields = page.get_by_role("region", name="Correct the answer").get_by_role("textbox")
    expect(fields).to_have_count(2)
    expect(page.get_by_role("textbox", name="Arguments of get_order")).to_be_focused()

    replace(page, 0, '"76"', '"77"')
    expect(page.locator(".correction .diff")).to_contain_text('"77"')
    ana.press("Escape", "1", "Enter")
    ana.wait_until_saved()

    stored = corrected(phoenix_server, span)
    first, second = stored["metadata"]["message"]["tool_calls"]
    assert first["id"] == "call_1"
    assert first["function"] == {"name": "get_order", "arguments": '{"order_id": "77"}'}
    assert second["function"]["arguments"] == '{"order_id": "77", "cents": 500}'
    assert '"order_id": "77"' in stored["explanation"]
    assert "-" in stored["metadata"]["diff"]


def test_numbers_of_arguments_are_not_rounded(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    answer = message("assistant", None, tool_calls=[tool_call("find", ARGUMENTS, id="c")])
    page, span, _ = open_answer(phoenix_server, request, ana, answer)
    replace(page, 0, '"77"', '"78"')
    ana.press("Escape", "1", "Enter")
    ana.wait_until_saved()

    (call,) = corrected(phoenix_server, span)["metadata"]["message"]["tool_calls"]
    assert call["function"]["arguments"] == ARGUMENTS.replace("77", "78")


def test_a_correction_is_removed_and_changed_again(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    page, span, queue = open_answer(phoenix_server, request, ana, message("assistant", "Lost."))
    page.keyboard.type(" Really")
    ana.press("Escape", "1")
    page.get_by_role("button", name="Remove the correction").click()
    expect(page.locator(".correction")).to_have_count(0)
    ana.press("e")
    expect(page.locator(FIELD)).to_have_value("Lost.")
    page.locator(FIELD).fill("On its way.")
    ana.press("Control+Enter")
    ana.wait_until_saved()
    assert corrected(phoenix_server, span)["explanation"] == "On its way."

    ana.open(f"{queue['queue_id']}/mine")
    page.get_by_text("Corrected answer").click()
    expect(page.locator(".mine-entry ins")).to_contain_text("way")
    page.get_by_role("link", name="Open again").click()
    ana.wait_for_question()
    expect(page.locator(FIELD)).to_have_value("On its way.")
    page.get_by_role("button", name="Remove the correction").click()
    ana.press("Enter")
    ana.wait_until_saved()

    assert [row["name"] for row in span_annotations(phoenix_server, span)] == ["quality"]
