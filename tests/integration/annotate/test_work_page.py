"""The page on which questions are answered, in a real browser, by keys alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.integration.annotate.browsing import (
    ANSWER,
    Analyst,
    MakeAnalyst,
    analysts,
    chromium,
)
from tests.integration.annotate.rig import (
    QUALITY,
    Call,
    Json,
    named,
    rows,
    span_annotations,
    write_calls,
)
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration

COMMENT = {"name": "page comment", "kind": "FREEFORM", "required": False}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def make_analyst(browser: Browser, phoenix_server: PhoenixServer) -> Iterator[MakeAnalyst]:
    with analysts(browser, phoenix_server) as make:
        yield make


@pytest.fixture
def ana(make_analyst: MakeAnalyst) -> Analyst:
    return make_analyst()


def make_queue(
    server: PhoenixServer, request: pytest.FixtureRequest, number: int = 4, **fields: Any
) -> tuple[Json, list[str]]:
    """A queue of *number* questions, the oldest first; the span of each."""
    name = f"page {request.node.name}"
    calls = [Call(question=f"Question {n}", answer=f"Answer {n}") for n in range(1, number + 1)]
    spans = write_calls(server, name, calls)
    with named(server, "Manager") as manager:
        return manager.create(name, name, order="oldest", **fields), spans


def test_a_name_is_asked_once_and_two_keys_store_a_label(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request)
    page = ana.open(str(queue["queue_id"]))
    expect(page.get_by_role("textbox", name="What is your name?")).to_be_focused()
    ana.press(*"Ana", "Enter")
    ana.wait_for_question()
    assert ana.question == "Question 1"

    ana.press("2", "Enter")
    expect(page.locator(ANSWER)).to_contain_text("Answer 2")
    ana.wait_until_saved()

    (stored,) = span_annotations(phoenix_server, spans[0])
    assert (stored["name"], stored["label"], stored["score"]) == ("quality", "bad", 0)
    assert (stored["identifier"], stored["source"]) == ("tracequill:Ana", "APP")
    page.reload()
    ana.wait_for_question()
    assert ana.question == "Question 2"
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_enter_on_an_incomplete_item_says_what_is_missing(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request)
    page = ana.open_queue(queue, "Ana")

    ana.press("Enter")

    expect(page.get_by_text("Still missing: quality.")).to_be_visible()
    assert ana.question == "Question 1"
    assert span_annotations(phoenix_server, spans[0]) == []


def test_keys_count_by_their_position(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, _ = make_queue(phoenix_server, request)
    page = ana.open_queue(queue, "Ana")

    # The key of 2 on a French keyboard, which writes é there, and that of the number pad.
    fire = (
        "([key, code]) => document.body.dispatchEvent("
        "new KeyboardEvent('keydown', {key, code, bubbles: true}))"
    )
    page.evaluate(fire, ["é", "Digit2"])
    assert ana.chosen == ["bad"]
    ana.press("Numpad1")
    assert ana.chosen == ["good"]


def test_enter_that_ends_a_composition_does_not_submit(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request, labels=[QUALITY, COMMENT])
    page = ana.open_queue(queue, "Ana")
    ana.press("1", "ArrowDown")
    expect(page.get_by_role("textbox", name="page comment")).to_be_focused()

    for how in ("{isComposing: true}", "{keyCode: 229}"):
        page.evaluate(
            "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', "
            f"Object.assign({{key: 'Enter', ctrlKey: true, bubbles: true}}, {how})))"
        )
    assert ana.question == "Question 1"
    ana.press("Control+Enter")

    expect(page.locator(ANSWER)).to_contain_text("Answer 2")
    ana.wait_until_saved()
    assert [row["label"] for row in span_annotations(phoenix_server, spans[0])] == ["good"]


def test_a_key_held_down_answers_one_question(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, _ = make_queue(phoenix_server, request)
    page = ana.open_queue(queue, "Ana")
    ana.press("1")
    # Playwright's second and later down() of a key that is down are repeats.
    for _ in range(5):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    for _ in range(3):
        page.keyboard.down("1")
    page.keyboard.up("1")

    assert ana.question == "Question 2"
    assert ana.chosen == ["good"]


def test_what_is_typed_in_a_text_is_no_key(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request, labels=[QUALITY, COMMENT])
    page = ana.open_queue(queue, "Ana")
    ana.press("1", "ArrowDown")

    page.keyboard.type("2 funny useful ?\nsecond line")
    assert ana.chosen == ["good"]
    assert ana.question == "Question 1"
    expect(page.get_by_role("dialog")).to_have_count(0)
    ana.press("Control+Enter")

    ana.wait_until_saved()
    stored = {row["name"]: row for row in span_annotations(phoenix_server, spans[0])}
    assert stored["page comment"]["explanation"] == "2 funny useful ?\nsecond line"


def test_answers_given_while_the_server_is_away_arrive_later(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request)
    page = ana.open_queue(queue, "Ana")
    page.wait_for_load_state("networkidle")
    ana.context.set_offline(True)
    ana.press("1", "Enter", "2", "Enter")
    expect(page.get_by_text("Not saved yet: 2")).to_be_visible()
    assert ana.question == "Question 3"
    assert span_annotations(phoenix_server, spans[0]) == []

    # The laptop is shut and opened elsewhere: another page of the same browser finds them.
    page.close()
    ana.context.set_offline(False)
    ana.page = ana.context.new_page()
    ana.open(str(queue["queue_id"]))
    ana.wait_for_question()
    ana.wait_until_saved()

    labels = [span_annotations(phoenix_server, span)[0]["label"] for span in spans[:2]]
    assert labels == ["good", "bad"]
    assert ana.question == "Question 3"


def test_undo_takes_the_answer_back_in_phoenix_as_well(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request)
    ana.open_queue(queue, "Ana")
    ana.press("1", "Enter", "2", "Enter")
    ana.wait_until_saved()

    ana.press("u")
    assert (ana.question, ana.chosen) == ("Question 2", ["bad"])
    ana.press("u")
    assert (ana.question, ana.chosen) == ("Question 1", ["good"])
    ana.wait_until_saved()
    assert [span_annotations(phoenix_server, span) for span in spans[:2]] == [[], []]

    ana.press("2", "Enter")
    ana.wait_until_saved()
    assert span_annotations(phoenix_server, spans[0])[0]["label"] == "bad"
    assert ana.question == "Question 2"


def test_a_question_to_the_manager_comes_back_with_the_reply(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, _ = make_queue(phoenix_server, request, 2)
    page = ana.open_queue(queue, "Ana")
    ana.press("f")
    expect(page.get_by_role("textbox")).to_be_focused()
    page.keyboard.type("Is 1 good?")
    ana.press("Enter")
    expect(page.locator(ANSWER)).to_contain_text("Answer 2")
    ana.wait_until_saved()

    with named(phoenix_server, "Manager") as manager:
        path = f"/queues/{queue['queue_id']}/flags"
        (flag,) = manager.get(path)
        manager.post(f"{path}/{flag['flag_id']}/reply", {"reply": "Yes, it is."})
    page.reload()

    expect(page.get_by_text("You asked: Is 1 good?")).to_be_visible()
    expect(page.get_by_text("Manager: Yes, it is.")).to_be_visible()
    assert ana.question == "Question 1"


def test_an_answer_is_corrected_by_keys(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request)
    page = ana.open_queue(queue, "Ana")
    ana.press("1", "e")
    expect(page.get_by_role("textbox", name="Answer")).to_be_focused()
    ana.press("Control+End")
    page.keyboard.type(", and 2 more")
    expect(page.locator(".correction ins")).to_have_text(", and 2 more")
    ana.press("Control+Enter")
    ana.wait_until_saved()

    stored = {row["name"]: row for row in span_annotations(phoenix_server, spans[0])}
    assert stored["correction"]["explanation"] == "Answer 1, and 2 more"
    assert stored["quality"]["label"] == "good"


def test_skipped_questions_are_not_asked_again(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, _ = make_queue(phoenix_server, request, 2)
    page = ana.open_queue(queue, "Ana")
    ana.press("s", "1", "Enter")

    expect(page.get_by_role("heading", name="All done")).to_be_visible()


def test_two_people_at_once_never_get_the_same_question(
    phoenix_server: PhoenixServer, make_analyst: MakeAnalyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request, 12)
    people = [make_analyst(), make_analyst()]
    people[0].open_queue(queue, "Ana")
    people[1].open_queue(queue, "Ben")
    seen: list[str] = []
    while waiting := [one for one in people if one.page.locator(ANSWER).is_visible()]:
        for one in waiting:
            seen.append(one.question)
            one.press("1", "Enter")
            one.wait_until_saved()
            expect(one.page.get_by_role("heading", name="Loading …")).to_be_hidden()
    assert sorted(seen) == sorted(f"Question {n}" for n in range(1, 13))
    assert [len(span_annotations(phoenix_server, span)) for span in spans] == [1] * 12


def test_leaving_gives_the_questions_back(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, _ = make_queue(phoenix_server, request, 3)
    held = "SELECT count(*) AS held FROM tracequill.annotation_slots AS s "
    held += "JOIN tracequill.annotation_items AS i USING (item_id) "
    held += "WHERE i.queue_id = $1 AND s.state = 'leased'"
    page = ana.open_queue(queue, "Ana")
    page.wait_for_load_state("networkidle")
    assert rows(phoenix_server, held, queue["queue_id"])[0]["held"] == 3

    page.goto("about:blank")

    for _ in range(100):
        if rows(phoenix_server, held, queue["queue_id"])[0]["held"] == 0:
            break
        page.wait_for_timeout(50)
    with named(phoenix_server, "Ben") as ben:
        assert len(ben.lease(queue, 3)) == 3


def test_any_of_the_last_ten_can_be_undone(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request)
    page = ana.open_queue(queue, "Ana")
    ana.press("1", "Enter", "1", "Enter", "1", "Enter")
    ana.wait_until_saved()
    page.reload()
    ana.wait_for_question()

    ana.press("Shift+U")
    expect(page.get_by_role("dialog").get_by_role("listitem")).to_have_count(3)
    ana.press("3")
    expect(page.locator(ANSWER)).to_contain_text("Answer 1")

    assert ana.chosen == ["good"]
    assert [len(span_annotations(phoenix_server, span)) for span in spans] == [0, 1, 1, 0]


def test_one_key_is_enough_where_the_queue_says_so(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request, advance_on_digit=True)
    page = ana.open_queue(queue, "Ana")

    ana.press("2")
    expect(page.locator(ANSWER)).to_contain_text("Answer 2")
    ana.wait_until_saved()

    assert [row["label"] for row in span_annotations(phoenix_server, spans[0])] == ["bad"]


def test_an_answer_that_comes_too_late_is_kept_as_a_draft(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request, 2)
    page = ana.open_queue(queue, "Ana")
    taken = rows(
        phoenix_server,
        "UPDATE tracequill.annotation_slots SET person = 'tracequill:Ben' WHERE item_id = "
        "(SELECT min(item_id) FROM tracequill.annotation_slots WHERE queue_id = $1) "
        "RETURNING item_id",
        queue["queue_id"],
    )
    ana.press("1", "Enter")

    notice = page.locator(".notice-bad")
    expect(notice).to_contain_text("was given to somebody else")
    expect(notice).to_contain_text("kept as a draft")
    assert ana.question == "Question 2"
    assert span_annotations(phoenix_server, spans[0]) == []
    kept = 'SELECT "values" FROM tracequill.annotation_drafts WHERE item_id = $1'
    assert "good" in rows(phoenix_server, kept, taken[0]["item_id"])[0]["values"]


def test_everything_is_done_by_mouse_as_well(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request)
    page = ana.open_queue(queue, "Ana")
    page.get_by_text("bad", exact=True).click()
    page.get_by_role("button", name="Save and go on").click()
    expect(page.locator(ANSWER)).to_contain_text("Answer 2")
    page.get_by_role("button", name="Undo", exact=True).click()
    expect(page.locator(ANSWER)).to_contain_text("Answer 1")
    page.get_by_text("good", exact=True).click()
    # The button has lost the focus to the choice: Enter saves and presses nothing else.
    ana.press("Enter")
    page.get_by_role("button", name="Skip").click()
    expect(page.locator(ANSWER)).to_contain_text("Answer 3")
    page.get_by_role("button", name="Question before").click()
    expect(page.locator(ANSWER)).to_contain_text("Answer 2")
    page.get_by_role("button", name="Help").click()
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    ana.press("Escape")

    ana.wait_until_saved()
    assert [row["label"] for row in span_annotations(phoenix_server, spans[0])] == ["good"]


def test_what_is_said_and_not_saved_is_there_again(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, _ = make_queue(phoenix_server, request, labels=[QUALITY, COMMENT])
    page = ana.open_queue(queue, "Ana")
    ana.press("2", "ArrowDown")
    page.keyboard.type("half a sentence")
    page.reload()
    ana.wait_for_question()

    assert (ana.question, ana.chosen) == ("Question 1", ["bad"])
    expect(page.get_by_role("textbox", name="page comment")).to_have_value("half a sentence")
