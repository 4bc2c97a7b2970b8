"""Every key of the page on which questions are answered, and the mouse in its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.integration.annotate.browsing import ANSWER, Analyst, analysts, chromium
from tests.integration.annotate.rig import (
    QUALITY,
    Call,
    Json,
    named,
    span_annotations,
    write_calls,
)
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration

TAGS = {
    "name": "key problems",
    "kind": "CATEGORICAL",
    "multiple": True,
    "required": False,
    "values": [{"label": label} for label in ("tone", "wrong fact", "too long")],
}
SCALE = {"name": "key politeness", "kind": "CONTINUOUS", "lower_bound": 0, "upper_bound": 5}
REMARK = {"name": "key remark", "kind": "FREEFORM", "required": False}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def ana(browser: Browser, phoenix_server: PhoenixServer) -> Iterator[Analyst]:
    with analysts(browser, phoenix_server) as make:
        yield make()


def make_queue(
    server: PhoenixServer, request: pytest.FixtureRequest, number: int = 4, **fields: Any
) -> tuple[Json, list[str]]:
    """A queue of *number* questions, the oldest first; the span of each."""
    name = f"keys {request.node.name}"
    calls = [Call(question=f"Question {n}", answer=f"Answer {n}") for n in range(1, number + 1)]
    spans = write_calls(server, name, calls)
    with named(server, "Manager") as manager:
        return manager.create(name, name, order="oldest", **fields), spans


def test_arrows_go_between_labels_and_digits_go_to_the_one_that_is_marked(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    labels = [QUALITY, TAGS, SCALE, REMARK]
    queue, spans = make_queue(phoenix_server, request, labels=labels)
    page = ana.open_queue(queue, "Ana")
    marked = page.locator(".label-card.is-active .label-name")
    expect(marked).to_have_text("quality")
    ana.press("1")
    expect(marked).to_have_text("key problems")
    ana.press("1", "3", "1", "2")  # the second 1 takes the first one back
    expect(marked).to_have_text("key problems")
    ana.press("ArrowDown")
    expect(marked).to_have_text("key politeness")
    ana.press("0")
    expect(page.get_by_role("button", name="0", pressed=True)).to_be_visible()
    ana.press("ArrowUp", "ArrowUp", "ArrowUp", "2")
    assert ana.chosen == ["bad", "wrong fact", "too long"]
    ana.press("Enter")
    ana.wait_until_saved()

    stored = {row["name"]: row for row in span_annotations(phoenix_server, spans[0])}
    assert stored.keys() == {
        "quality",
        "key problems: wrong fact",
        "key problems: too long",
        "key politeness",
    }
    assert stored["quality"]["label"] == "bad"
    assert stored["key politeness"]["score"] == 0


def test_arrows_go_between_questions_and_what_was_chosen_stays(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request)
    page = ana.open_queue(queue, "Ana")
    page.wait_for_load_state("networkidle")
    ana.press("2", "ArrowRight")
    assert (ana.question, ana.chosen) == ("Question 2", [])
    ana.press("1", "Enter")
    assert ana.question == "Question 3"
    ana.press("ArrowLeft")
    assert (ana.question, ana.chosen) == ("Question 2", ["good"])
    expect(page.get_by_text("You have answered this.")).to_be_visible()
    ana.press("2", "Enter", "ArrowLeft", "ArrowLeft")
    assert (ana.question, ana.chosen) == ("Question 1", ["bad"])
    ana.press("ArrowLeft")
    assert ana.question == "Question 1"
    ana.wait_until_saved()

    labels = [[row["label"] for row in span_annotations(phoenix_server, span)] for span in spans]
    assert labels == [[], ["bad"], [], []]


def test_keys_pressed_while_the_next_question_loads_do_nothing(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request, 5)
    page = ana.open_queue(queue, "Ana")
    page.wait_for_load_state("networkidle")
    held: list[Route] = []
    is_slow = True
    page.route("**/lease", lambda route: held.append(route) if is_slow else route.continue_())
    for n in range(1, 5):  # all that lie ready
        expect(page.locator(ANSWER)).to_contain_text(f"Answer {n}")
        ana.press("1", "Enter")
    expect(page.get_by_role("heading", name="Loading …")).to_be_visible()

    for _ in range(3):
        page.keyboard.down("Enter")
        page.keyboard.down("2")
    ana.press("s", "e", "n", "ArrowDown")
    is_slow = False
    for route in held:
        route.continue_()
    expect(page.locator(ANSWER)).to_contain_text("Answer 5")
    # The key is still down: its repeats belong to the question before.
    for _ in range(3):
        page.keyboard.down("Enter")
        page.keyboard.down("2")
    page.keyboard.up("Enter")
    page.keyboard.up("2")

    assert (ana.question, ana.chosen) == ("Question 5", [])
    ana.press("2", "Enter")
    expect(page.get_by_role("heading", name="All done")).to_be_visible()
    ana.wait_until_saved()
    labels = [span_annotations(phoenix_server, span)[0]["label"] for span in spans]
    assert labels == ["good"] * 4 + ["bad"]


def test_a_digit_alone_saves_nothing(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request)
    page = ana.open_queue(queue, "Ana")
    keyboard = ana.context.new_cdp_session(page)
    # The key of 2 on a French keyboard, and that of the number pad without its lock.
    for key, code in (("é", "Digit2"), ("End", "Numpad1"), ("é", "Digit2")):
        for kind in ("rawKeyDown", "keyUp"):
            keyboard.send("Input.dispatchKeyEvent", {"type": kind, "key": key, "code": code})
        assert ana.chosen == [{"Digit2": "bad", "Numpad1": "good"}[code]]
    ana.press("9", "0")  # no answer has this number

    assert (ana.question, ana.chosen) == ("Question 1", ["bad"])
    assert ana.page.evaluate("Object.keys(localStorage).some(key => /outbox/.test(key))") is False
    assert span_annotations(phoenix_server, spans[0]) == []


def test_help_instructions_and_reasons_by_keys(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request, instructions="Judge **fairly**.")
    page = ana.open_queue(queue, "Ana")
    expect(page.locator("strong", has_text="fairly")).to_be_visible()
    ana.press("i")
    expect(page.locator("strong", has_text="fairly")).to_be_hidden()
    ana.press("i")
    expect(page.locator("strong", has_text="fairly")).to_be_visible()

    ana.press("?")
    help_dialog = page.get_by_role("dialog", name="Keys")
    expect(help_dialog).to_contain_text("skip")
    ana.press("1", "s")
    ana.press("Escape")
    expect(help_dialog).to_have_count(0)
    assert (ana.question, ana.chosen) == ("Question 1", [])

    ana.press("1", "n")
    expect(page.get_by_role("textbox", name="Reason")).to_be_focused()
    page.keyboard.type("because 2 of 3 s")
    ana.press("Control+Enter")
    ana.wait_until_saved()
    (stored,) = span_annotations(phoenix_server, spans[0])
    assert (stored["label"], stored["explanation"]) == ("good", "because 2 of 3 s")


def test_the_last_ten_can_be_undone_and_not_the_eleventh(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request, 12)
    page = ana.open_queue(queue, "Ana")
    for n in range(1, 12):
        expect(page.locator(ANSWER)).to_contain_text(f"Answer {n}")
        ana.press("1", "Enter")
    ana.wait_until_saved()
    for _ in range(10):
        ana.press("u")
    assert ana.question == "Question 2"
    ana.wait_until_saved()
    ana.press("u")
    expect(page.get_by_text("Only the last 10 can be undone.")).to_be_visible()
    assert ana.question == "Question 2"
    assert [len(span_annotations(phoenix_server, span)) for span in spans] == [1] + [0] * 11


def test_the_mouse_does_what_the_keys_do(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    labels = [QUALITY, TAGS, SCALE, REMARK]
    queue, spans = make_queue(phoenix_server, request, labels=labels, instructions="Be *fair*.")
    page = ana.open_queue(queue, "Ana")
    click = {
        name: page.get_by_role("button", name=name, exact=True).click
        for name in ("Save and go on", "Correct", "Ask", "Undo", "Question after")
    }
    page.get_by_text("How to judge").click()
    expect(page.get_by_text("fair")).to_be_hidden()
    page.get_by_text("bad", exact=True).click()
    page.get_by_role("button", name="Add a reason").first.click()
    page.get_by_role("textbox", name="Reason").first.fill("I know it")
    page.get_by_text("tone", exact=True).click()
    page.get_by_text("too long", exact=True).click()
    page.get_by_role("group", name="key politeness").get_by_role("button", name="3").click()
    page.get_by_role("textbox", name="key remark").fill("said by mouse")
    click["Correct"]()
    page.get_by_role("textbox", name="Answer", exact=True).fill("A better answer")
    click["Save and go on"]()
    expect(page.locator(ANSWER)).to_contain_text("Answer 2")
    click["Ask"]()
    page.get_by_role("textbox", name="Ask about this question").fill("What is this?")
    page.get_by_role("dialog").get_by_role("button", name="Send").click()
    expect(page.locator(ANSWER)).to_contain_text("Answer 3")
    click["Question after"]()
    expect(page.locator(ANSWER)).to_contain_text("Answer 4")
    click["Undo"]()
    expect(page.locator(ANSWER)).to_contain_text("Answer 2")
    ana.wait_until_saved()
    page.get_by_role("button", name="Choose what to undo").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Help").click()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()

    stored = {row["name"]: row for row in span_annotations(phoenix_server, spans[0])}
    assert (stored["quality"]["label"], stored["quality"]["explanation"]) == ("bad", "I know it")
    assert stored["key politeness"]["score"] == 3
    assert stored["key remark"]["explanation"] == "said by mouse"
    assert stored["correction"]["explanation"] == "A better answer"
    assert {"key problems: tone", "key problems: too long"} < stored.keys()


def test_a_choice_beside_a_text_can_be_changed_and_given_a_reason(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request, labels=[QUALITY, REMARK])
    page = ana.open_queue(queue, "Ana")
    marked = page.locator(".label-card.is-active .label-name")
    ana.press("1")
    expect(marked).to_have_text("quality")
    ana.press("2")
    assert ana.chosen == ["bad"]
    ana.press("1", "Enter")
    expect(page.locator(ANSWER)).to_contain_text("Answer 2")
    ana.press("u")
    expect(page.locator(".toast")).to_have_text("Undone: good")
    ana.press("2")
    expect(page.locator(".toast")).to_have_count(0)
    # The mark on the text, without its field: what is chosen goes to the choice.
    ana.press("ArrowDown", "Escape", "n")
    expect(page.get_by_role("textbox", name="Reason")).to_be_focused()
    page.keyboard.type("wrong sum")
    ana.press("Control+Enter")
    expect(page.locator(ANSWER)).to_contain_text("Answer 2")
    ana.press("s")
    expect(page.locator(".toast")).to_have_text("Skipped")
    ana.wait_until_saved()
    (stored,) = span_annotations(phoenix_server, spans[0])
    assert (stored["label"], stored["explanation"]) == ("bad", "wrong sum")


def test_a_text_says_how_to_write_in_it_and_takes_the_focus_where_it_is_missing(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    texts = [{"name": f"key {name}", "kind": "FREEFORM"} for name in ("first", "second")]
    queue, spans = make_queue(phoenix_server, request, labels=texts)
    page = ana.open_queue(queue, "Ana")
    first, second = (page.get_by_role("textbox", name=text["name"]) for text in texts)
    expect(first).to_have_attribute("placeholder", "Press ↓ to write")
    ana.press("1", "n", "ArrowDown")
    expect(first).to_be_focused()
    page.keyboard.type("u and s")
    ana.press("Escape", "Enter")
    expect(second).to_be_focused()
    expect(page.get_by_text("Still missing: key second.")).to_be_visible()
    expect(page.get_by_text("Please write something here.")).to_have_count(1)
    page.keyboard.type("more")
    ana.press("Escape", "ArrowUp")
    expect(first).to_be_focused()
    ana.press("Control+Enter")
    ana.wait_until_saved()
    stored = {row["name"]: row["explanation"] for row in span_annotations(phoenix_server, spans[0])}
    assert stored == {"key first": "u and s", "key second": "more"}


def test_the_figures_at_the_top_follow_what_is_done(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, _ = make_queue(phoenix_server, request, 8)
    page = ana.open_queue(queue, "Ana")
    bar = page.get_by_role("progressbar", name="Answered by all")
    figures = page.locator(".progress-text")
    page.wait_for_load_state("networkidle")
    ana.press("1", "Enter")
    expect(bar).to_have_js_property("value", 1)
    expect(figures).to_contain_text("1 by you · 7 waiting")
    ana.wait_until_saved()
    # Without the server, and when it comes back: what is not sent yet waits no more either.
    page.route("**/answers", lambda route: route.abort())
    ana.press("1", "Enter", "s")
    expect(figures).to_contain_text("2 by you · 5 waiting")
    page.wait_for_load_state("networkidle")
    expect(figures).to_contain_text("2 by you · 5 waiting")
    ana.press("u", "u")
    expect(figures).to_contain_text("1 by you · 7 waiting")
    page.wait_for_load_state("networkidle")
    expect(figures).to_contain_text("1 by you · 7 waiting")
    expect(bar).to_have_js_property("value", 1)
    page.unroute("**/answers")


def test_with_several_people_the_bar_shows_at_once_what_is_done_by_an_answer_and_soon_by_others(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, _ = make_queue(phoenix_server, request, 4, overlap=2)
    with named(phoenix_server, "Ben") as ben:
        first, second, third = ben.lease(queue, 3)
        ben.answer(first)
        page = ana.open_queue(queue, "Ana")
        bar = page.get_by_role("progressbar", name="Answered by all")
        page.route("**/figures", lambda route: route.abort())
        expect(bar).to_have_js_property("value", 0)
        ana.press("1", "Enter")
        expect(bar).to_have_js_property("value", 1)
        ana.press("2", "Enter")
        ana.wait_until_saved()
        expect(bar).to_have_js_property("value", 1)
        ana.press("u", "u")
        ana.wait_until_saved()
        expect(bar).to_have_js_property("value", 0)
        page.unroute("**/figures")

        ana.press("1", "Enter", "1", "Enter")
        ana.wait_until_saved()
        ben.answer(second)
        expect(bar).to_have_js_property("value", 2, timeout=10_000)
        ben.answer(third)
        ana.press("1", "Enter")
        expect(bar).to_have_js_property("value", 3, timeout=10_000)


def test_where_a_text_is_written_the_button_says_how_to_save(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, _ = make_queue(phoenix_server, request)
    page = ana.open_queue(queue, "Ana")
    save = page.get_by_role("button", name="Save and go on")
    expect(save.locator("kbd")).to_have_text("Enter")
    ana.press("1", "n")
    expect(save.locator("kbd")).to_have_text("Ctrl+Enter")
    ana.press("Escape")
    expect(save.locator("kbd")).to_have_text("Enter")


def test_every_question_begins_with_its_first_label_in_sight(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    many = [
        {"name": f"scroll {n}", "kind": "CATEGORICAL", "values": QUALITY["values"]}
        for n in range(8)
    ]
    queue, _ = make_queue(phoenix_server, request, labels=many, instructions="Judge it.")
    page = ana.open_queue(queue, "Ana")
    ana.press(*"11111111")
    expect(page.locator(".label-card").first).not_to_be_in_viewport()
    ana.press("Enter")
    expect(page.locator(".label-card").first).to_be_in_viewport(ratio=1)
    expect(page.get_by_text("How to judge")).to_be_in_viewport(ratio=1)


def test_an_empty_queue_says_that_nothing_is_in_it_yet(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    name = f"keys {request.node.name}"
    with named(phoenix_server, "Manager") as manager:
        queue = manager.create(name, name, selection=None)
    page = ana.open_as("Ana", str(queue["queue_id"]))
    expect(page.get_by_role("heading", name="No questions yet")).to_be_visible()


def test_who_is_signed_out_before_the_first_question_is_told_where_to_sign_in(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, _ = make_queue(phoenix_server, request)
    ana.page.route("**/lease", lambda route: route.fulfill(status=401, json={"detail": "Invalid"}))
    page = ana.open_as("Ana", str(queue["queue_id"]))
    expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()
    expect(page.get_by_role("link", name="Sign in")).to_have_attribute(
        "href", f"/login?returnUrl=%2Ftracequill%2Fannotate%2F{queue['queue_id']}"
    )


def test_the_last_question_in_somebody_else_s_hands_is_said_as_one(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, _ = make_queue(phoenix_server, request, 1)
    with named(phoenix_server, "Ben") as ben:
        ben.lease(queue)
        page = ana.open_as("Ana", str(queue["queue_id"]))
        expect(page.get_by_text("Somebody else is answering the last question")).to_be_visible()
