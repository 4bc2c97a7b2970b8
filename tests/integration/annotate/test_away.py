"""Away from the page: a closed laptop, a server that is gone, a question that is lost meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Dialog, expect

from tests.integration.annotate.browsing import ANSWER, Analyst, analysts, chromium
from tests.integration.annotate.rig import (
    Call,
    Json,
    named,
    rows,
    span_annotations,
    write_calls,
)
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration

LEASE_SECONDS = 300
BEAT_MS = LEASE_SECONDS * 1000 // 3


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def ana(browser: Browser, phoenix_server: PhoenixServer) -> Iterator[Analyst]:
    with analysts(browser, phoenix_server) as make:
        yield make()


def make_queue(
    server: PhoenixServer, request: pytest.FixtureRequest, number: int = 4
) -> tuple[Json, list[str]]:
    """A queue of *number* questions, the oldest first; the span of each."""
    name = f"away {request.node.name}"
    calls = [Call(question=f"Question {n}", answer=f"Answer {n}") for n in range(1, number + 1)]
    spans = write_calls(server, name, calls)
    with named(server, "Manager") as manager:
        queue = manager.create(name, name, order="oldest", lease_seconds=LEASE_SECONDS)
    return queue, spans


def give_to_ben(server: PhoenixServer, queue: Json, place: int = 0) -> int:
    """Somebody else was given a question; its id."""
    found = rows(
        server,
        "UPDATE tracequill.annotation_slots SET person = 'tracequill:Ben' WHERE item_id = "
        "(SELECT item_id FROM tracequill.annotation_items WHERE queue_id = $1 "
        "ORDER BY rank, item_id OFFSET $2 LIMIT 1) RETURNING item_id",
        queue["queue_id"],
        place,
    )
    return int(found[0]["item_id"])


def test_a_question_lost_while_nobody_looked_is_told_and_the_draft_kept(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request)
    ana.page.clock.install()
    page = ana.open_queue(queue, "Ana")
    page.wait_for_load_state("networkidle")
    ana.press("2")
    with page.expect_response("**/draft"):
        page.clock.run_for(2_000)
    item_id = give_to_ben(phoenix_server, queue)

    page.clock.run_for(BEAT_MS + 1000)

    banner = page.get_by_role("alert").filter(has_text="was given to somebody else")
    expect(banner).to_contain_text("kept as a draft")
    expect(page.get_by_role("button", name="Save and go on")).to_be_disabled()
    ana.press("1")
    assert ana.chosen == ["bad"]
    kept = 'SELECT "values" FROM tracequill.annotation_drafts WHERE item_id = $1'
    assert "bad" in rows(phoenix_server, kept, item_id)[0]["values"]
    ana.press("Enter")
    expect(page.locator(ANSWER)).to_contain_text("Answer 2")
    ana.press("1", "Enter")
    ana.wait_until_saved()
    assert [len(span_annotations(phoenix_server, span)) for span in spans] == [0, 1, 0, 0]


def test_a_question_that_comes_back_can_be_answered_with_what_was_said(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request, 1)
    ana.page.clock.install()
    page = ana.open_queue(queue, "Ana")
    page.wait_for_load_state("networkidle")
    ana.press("2")
    give_to_ben(phoenix_server, queue)
    page.clock.run_for(BEAT_MS + 1000)
    expect(page.get_by_text("was given to somebody else")).to_be_visible()

    with named(phoenix_server, "Ben") as ben:
        ben.post(f"/queues/{queue['queue_id']}/release", {})
    page.clock.run_for(31_000)  # the page looks again for more questions

    expect(page.get_by_text("was given to somebody else")).to_have_count(0)
    assert ana.chosen == ["bad"]
    ana.press("Enter")
    ana.wait_until_saved()
    assert [row["label"] for row in span_annotations(phoenix_server, spans[0])] == ["bad"]


def test_what_was_asked_about_a_question_that_was_lost_is_shown_again(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, _ = make_queue(phoenix_server, request)
    page = ana.open_queue(queue, "Ana")
    give_to_ben(phoenix_server, queue)

    ana.press("f")
    page.keyboard.type("Is <b>this</b> ours?")
    ana.press("Enter")

    refused = page.get_by_role("alert").filter(has_text="was given to somebody else")
    expect(refused).to_contain_text("You asked: “Is <b>this</b> ours?”")


def test_a_lost_question_ahead_is_not_shown(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, _ = make_queue(phoenix_server, request)
    ana.page.clock.install()
    page = ana.open_queue(queue, "Ana")
    page.wait_for_load_state("networkidle")
    give_to_ben(phoenix_server, queue, place=1)

    with page.expect_response("**/heartbeat") as beat:
        page.clock.run_for(BEAT_MS + 1000)
    assert len(beat.value.json()["data"]["lost"]) == 1
    ana.press("1", "Enter")

    expect(page.locator(ANSWER)).to_contain_text("Answer 3")


def test_a_server_that_is_gone_is_told_and_work_goes_on(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request)
    ana.page.clock.install()
    page = ana.open_queue(queue, "Ana")
    page.wait_for_load_state("networkidle")
    ana.context.set_offline(True)
    page.clock.run_for(BEAT_MS + 1000)
    expect(page.get_by_text("The server cannot be reached.")).to_be_visible()

    ana.press("1", "Enter", "2", "Enter")
    expect(page.get_by_text("Not saved yet: 2")).to_be_visible()
    expect(page.get_by_text("Your answers are kept in this browser")).to_be_visible()
    expect(page.get_by_text("The server cannot be reached.")).to_have_count(0)
    ana.context.set_offline(False)
    page.clock.run_for(60_000)
    ana.wait_until_saved()

    labels = [[row["label"] for row in span_annotations(phoenix_server, span)] for span in spans]
    assert labels == [["good"], ["bad"], [], []]
    expect(page.get_by_text("Not saved yet")).to_have_count(0)
    expect(page.get_by_text("Your answers are kept in this browser")).to_have_count(0)


def test_a_closed_laptop_loses_nothing(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request, 6)
    page = ana.open_queue(queue, "Ana")
    page.wait_for_load_state("networkidle")
    ana.context.set_offline(True)
    ana.press("1", "e")
    page.locator(".correction textarea").fill("Corrected without a connection")
    ana.press("Control+Enter", "s", "f")
    page.keyboard.type("Asked without a connection")
    ana.press("Enter")
    expect(page.locator(ANSWER)).to_contain_text("Answer 4")
    ana.press("2")
    expect(page.get_by_text("Not saved yet: 3")).to_be_visible()
    laptop = ana.context.new_cdp_session(page)
    laptop.send("Page.setWebLifecycleState", {"state": "frozen"})
    ana.context.set_offline(False)
    laptop.send("Page.setWebLifecycleState", {"state": "active"})
    ana.wait_until_saved()

    stored = {row["name"]: row for row in span_annotations(phoenix_server, spans[0])}
    assert stored["quality"]["label"] == "good"
    assert stored["correction"]["explanation"] == "Corrected without a connection"
    with named(phoenix_server, "Ana") as again:
        mine = again.get(f"/queues/{queue['queue_id']}/mine")
    assert sorted(one["kind"] for one in mine) == ["answer", "flag", "skip"]
    # What was chosen and not saved is there after a restart of the browser.
    page.reload()
    ana.wait_for_question()
    assert (ana.question, ana.chosen) == ("Question 4", ["bad"])


def test_an_answer_that_cannot_be_kept_is_told_before_leaving(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue, spans = make_queue(phoenix_server, request)
    ana.context.add_init_script("Storage.prototype.setItem = () => { throw new Error('full') }")
    page = ana.open_queue(queue, "Ana")
    page.wait_for_load_state("networkidle")
    ana.context.set_offline(True)
    ana.press("1", "Enter")

    expect(page.get_by_text("this browser cannot keep them")).to_be_visible()
    asked: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", dismiss)
    page.close(run_before_unload=True)
    ana.context.set_offline(False)
    page.wait_for_timeout(100)
    for _ in range(200):
        if span_annotations(phoenix_server, spans[0]):
            break
        page.wait_for_timeout(50)
    assert asked == ["beforeunload"]
    assert [row["label"] for row in span_annotations(phoenix_server, spans[0])] == ["good"]
