"""The pages around the work: the list, the form that makes a queue, my answers, the manager's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.integration.annotate.browsing import (
    ANSWER,
    Analyst,
    MakeAnalyst,
    analysts,
    chromium,
)
from tests.integration.annotate.rig import Call, named, rows, write_calls
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration

MANY = 200


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


def test_a_queue_is_made_in_the_page(phoenix_server: PhoenixServer, ana: Analyst) -> None:
    project = "made in the page"
    calls = [
        Call(question="A refund?", answer="Yes."),
        Call(question="The weather?", answer="Fine."),
    ]
    write_calls(phoenix_server, project, calls)
    page = ana.open_as("Ana", "new")
    expect(page.get_by_role("textbox", name="Name of the queue")).to_be_focused()
    page.keyboard.type("Refunds in the page")
    page.get_by_label("Project").select_option(project)
    expect(page.get_by_text("2 answers will be added.")).to_be_visible()

    page.get_by_label("Text contained").fill("refund")
    expect(page.get_by_text("1 answer will be added.")).to_be_visible()
    assert "refund" in page.get_by_label("Filter").input_value()
    expect(page.locator(".preview-item")).to_have_count(1)
    counted = "SELECT count(*) AS n FROM tracequill.annotation_queues WHERE name = $1"
    assert rows(phoenix_server, counted, "Refunds in the page")[0]["n"] == 0

    page.get_by_label("Add a label").select_option(label="A new label")
    page.keyboard.type("refund fits")
    page.get_by_role("button", name="Make the queue with 1 answer").click()
    page.wait_for_url("**/manage")

    page.get_by_role("link", name="Answer", exact=True).click()
    ana.wait_for_question()
    assert ana.question == "A refund?"
    expect(page.get_by_text("refund fits")).to_be_visible()


def test_a_wrong_filter_is_explained_and_the_form_s_own_comes_back(
    phoenix_server: PhoenixServer, ana: Analyst
) -> None:
    write_calls(phoenix_server, "wrong filter", [Call()])
    page = ana.open_as("Ana", "new")
    page.get_by_label("Project").select_option("wrong filter")
    expect(page.get_by_text("1 answer will be added.")).to_be_visible()

    page.get_by_label("Filter").fill("span_kind ==")
    expect(page.locator("textarea[aria-invalid=true]")).to_be_visible()
    expect(page.locator(".form-field .problem")).not_to_be_empty()
    fields = [page.get_by_label(name) for name in ("Text contained", "From", "Model", "User")]
    for field in fields:
        expect(field).to_be_disabled()
    expect(page.get_by_label("Project")).to_be_enabled()
    page.get_by_role("button", name="Back to the form's filter").click()
    expect(page.get_by_text("1 answer will be added.")).to_be_visible()
    expect(fields[0]).to_be_enabled()

    page.get_by_label("Filter").fill("span_kind == 'TOOL'")
    expect(fields[0]).to_be_disabled()
    page.get_by_label("Filter").fill("")
    expect(fields[0]).to_be_enabled()
    fields[0].fill("nowhere to be found")
    expect(page.get_by_text("Nothing is found.")).to_be_visible()


def test_what_is_missing_in_the_form_is_said_from_the_top_and_until_it_is_there(
    phoenix_server: PhoenixServer, ana: Analyst
) -> None:
    write_calls(phoenix_server, "missing in the form", [Call()])
    page = ana.open_as("Ana", "new")
    page.get_by_label("Project").select_option("missing in the form")
    make = page.get_by_role("button", name="Make the queue with 1 answer")
    make.click()
    expect(page.get_by_text("Please give the queue a name.")).to_be_visible()
    page.keyboard.type("Missing in the form")
    make.click()
    expect(page.get_by_text("Please add at least one label.")).to_be_visible()
    page.get_by_label("Add a label").select_option(label="A new label")
    expect(page.get_by_text("Please add at least one label.")).to_have_count(0)
    page.keyboard.type("form fits")
    make.click()
    page.wait_for_url("**/manage")

    address = page.get_by_role("textbox", name="Address for the people who answer")
    expect(address).to_have_value(page.url.removesuffix("/manage"))
    address.focus()
    selected = "field => field.value.slice(field.selectionStart, field.selectionEnd)"
    assert address.evaluate(selected) == page.url.removesuffix("/manage")
    page.get_by_role("button", name="Copy the address").click()
    expect(page.get_by_role("button", name="Copy the address")).to_have_text("Copied")


def test_my_answers_are_searched_and_opened_again(
    phoenix_server: PhoenixServer, ana: Analyst
) -> None:
    calls = [Call(question=f"Question {n}", answer=f"Answer {n}") for n in (1, 2, 3)]
    write_calls(phoenix_server, "my answers", calls)
    with named(phoenix_server, "Manager") as manager:
        queue = manager.create("my answers", "my answers", order="oldest")
    page = ana.open_queue(queue, "Ana")
    ana.press("1", "Enter", "2", "Enter", "s")
    ana.wait_until_saved()
    page.get_by_role("navigation").get_by_role("link", name="My answers").click()
    expect(page.locator(".mine-entry")).to_have_count(3)

    page.get_by_role("searchbox").fill("Answer 2")
    expect(page.locator(".mine-entry")).to_have_count(1)
    page.get_by_role("link", name="Open again").click()
    ana.wait_for_question()
    assert (ana.question, ana.chosen) == ("Question 2", ["bad"])
    ana.press("1", "Enter")
    ana.wait_until_saved()

    with named(phoenix_server, "Ana") as again:
        mine = again.get(f"/queues/{queue['queue_id']}/mine?search=Answer%202")
    assert [one["values"] for one in mine] == [{"quality": {"label": "good"}}]


def test_a_manager_replies_and_sees_who_answered(
    phoenix_server: PhoenixServer, make_analyst: MakeAnalyst
) -> None:
    write_calls(phoenix_server, "managed", [Call(), Call()])
    with named(phoenix_server, "Manager") as manager:
        queue = manager.create("managed", "managed")
    ana, boss = make_analyst(), make_analyst()
    ana.open_queue(queue, "Ana")
    ana.press("f")
    ana.page.keyboard.type("What now?")
    ana.press("Enter")
    ana.press("1", "Enter")
    ana.wait_until_saved()

    page = boss.open_as("Manager", f"{queue['queue_id']}/manage#questions")
    expect(page.get_by_text("What now?")).to_be_visible()
    counts = page.locator(".count:visible")
    expect(counts).to_have_text(["1", "1"])
    page.get_by_role("textbox", name="Reply to Ana").fill("Call it good.")
    boss.press("Control+Enter")
    expect(page.get_by_text("You: Call it good.")).to_be_visible()
    expect(counts).to_have_count(0)
    page.get_by_role("tab", name="Progress").click()
    expect(page.get_by_role("rowheader", name="Ana")).to_be_visible()

    ana.page.reload()
    expect(ana.page.get_by_text("Manager: Call it good.")).to_be_visible()


def test_a_disagreement_is_decided(phoenix_server: PhoenixServer, ana: Analyst) -> None:
    write_calls(phoenix_server, "decided", [Call(question="Who is right?")])
    with named(phoenix_server, "Manager") as manager:
        queue = manager.create("decided", "decided", overlap=2)
    for name, label in (("Ben", "good"), ("Cleo", "bad")):
        with named(phoenix_server, name) as person:
            person.answer(person.lease(queue)[0], label)
    page = ana.open_as("Ana", f"{queue['queue_id']}/manage#disagreements")
    expect(page.get_by_text("Who is right?")).to_be_visible()

    page.get_by_role("button", name="Decide").click()
    page.get_by_role("dialog").get_by_text("good", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Save").click()

    expect(page.get_by_text("Decided by Ana")).to_be_visible()
    with named(phoenix_server, "Manager") as manager:
        open_ones = manager.get(f"/queues/{queue['queue_id']}/disagreements")
    assert open_ones == []


def test_two_hundred_questions_by_keys_alone(phoenix_server: PhoenixServer, ana: Analyst) -> None:
    calls = [Call(question=f"Question {n}", answer=f"Answer {n}") for n in range(MANY)]
    write_calls(phoenix_server, "many", calls)
    with named(phoenix_server, "Manager") as manager:
        queue = manager.create("many", "many", order="oldest")
    page = ana.open_queue(queue, "Ana")

    for n in range(MANY):
        # Like a person: nobody answers what is not there yet.
        expect(page.locator(ANSWER)).to_contain_text(f"Answer {n}")
        ana.press(str(1 + n % 2), "Enter")
    expect(page.get_by_role("heading", name="All done")).to_be_visible()
    ana.wait_until_saved()

    stored = rows(
        phoenix_server,
        "SELECT s.attributes #>> '{input,value}' AS question, a.label FROM span_annotations AS a "
        "JOIN spans AS s ON s.id = a.span_rowid JOIN traces AS t ON t.id = s.trace_rowid "
        "JOIN projects AS p ON p.id = t.project_rowid WHERE p.name = 'many'",
    )
    wanted = {f"Question {n}": "bad" if n % 2 else "good" for n in range(MANY)}
    assert len(stored) == MANY
    assert {row["question"]: row["label"] for row in stored} == wanted
    timing = "SELECT count(*) AS n FROM tracequill.annotation_answers AS a "
    timing += "JOIN tracequill.annotation_items AS i USING (item_id) WHERE i.queue_id = $1 "
    timing += (
        "AND a.keys >= 2 AND a.first_key_at >= a.shown_at AND a.submitted_at >= a.first_key_at"
    )
    assert rows(phoenix_server, timing, queue["queue_id"])[0]["n"] == MANY
    measures = page.evaluate("performance.getEntriesByName('tracequill:key-to-painted').length")
    assert measures >= MANY * 0.9


def test_the_list_says_what_waits(phoenix_server: PhoenixServer, ana: Analyst) -> None:
    write_calls(phoenix_server, "on the list", [Call(), Call(), Call()])
    with named(phoenix_server, "Manager") as manager:
        queue = manager.create("listed", "on the list")
        manager.answer(manager.lease(queue)[0])
    page = ana.open_as("Ana", "")

    page.get_by_role("link", name="Answer 2: listed").click()
    ana.wait_for_question()
