"""The pages around the work: the list, the form that makes a queue, my answers, the manager's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

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


def form_of_one(server: PhoenixServer, ana: Analyst, project: str) -> Page:
    """The form of a new queue, for a project with one answer in it."""
    write_calls(server, project, [Call()])
    page = ana.open_as("Ana", "new")
    page.get_by_label("Project").select_option(project)
    expect(page.get_by_text("1 answer will be added.")).to_be_visible()
    return page


def test_a_wrong_filter_is_explained_and_the_form_s_own_comes_back(
    phoenix_server: PhoenixServer, ana: Analyst
) -> None:
    page = form_of_one(phoenix_server, ana, "wrong filter")

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
    page = form_of_one(phoenix_server, ana, "missing in the form")
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
    dialog = page.get_by_role("dialog")
    # What is decided on stands there, and the labels look and listen to keys as on the page itself.
    expect(dialog.locator(".answers > li")).to_have_text(["Benquality: good", "Cleoquality: bad"])
    first, second = (dialog.locator(".choice").nth(place).bounding_box() for place in (0, 1))
    assert first and second
    assert second["y"] >= first["y"] + first["height"]
    ana.press("Enter")
    expect(dialog.get_by_text("Please choose.")).to_be_visible()
    ana.press("2", "1")
    expect(dialog.get_by_role("radio", name="good")).to_be_checked()
    ana.press("Enter")

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


def test_a_queue_in_which_nothing_waits_has_no_way_to_answer(
    phoenix_server: PhoenixServer, ana: Analyst
) -> None:
    write_calls(phoenix_server, "nothing waits", [Call()])
    with named(phoenix_server, "Manager") as manager:
        done = manager.create("nothing waits", "nothing waits")
        manager.create("nothing in it", "nothing waits", selection=None)
    with named(phoenix_server, "Ana") as person:
        person.answer(person.lease(done)[0])
    page = ana.open_as("Ana", "")
    cards = page.locator(".queue")
    expect(cards.filter(has_text="from nothing waits")).to_contain_text("Nothing waits for you")
    expect(cards.filter(has_text="nothing in it")).to_contain_text("No questions in it yet")
    expect(page.get_by_role("link", name="Answer 1: nothing waits")).to_have_count(0)

    page.get_by_role("link", name="nothing in it").click()
    expect(page.get_by_role("heading", name="No questions yet")).to_be_visible()
    page.get_by_role("link", name="Add answers").click()
    expect(page.get_by_role("tab", name="Add answers")).to_have_attribute("aria-selected", "true")


def test_a_dialog_opens_at_its_top_and_its_buttons_stay_in_sight(
    phoenix_server: PhoenixServer, ana: Analyst
) -> None:
    write_calls(phoenix_server, "long to show", [Call(answer="A line.\n\n" * 200)])
    with named(phoenix_server, "Manager") as manager:
        queue = manager.create("long to show", "long to show")
    page = ana.open_as("Ana", f"{queue['queue_id']}/manage#items")
    page.get_by_role("button", name="Show").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name="Conversation").first).to_be_in_viewport()
    expect(dialog.get_by_role("button", name="Close")).to_be_in_viewport(ratio=1)
    ana.press("Escape")
    expect(page.get_by_role("button", name="Show")).to_be_focused()


def test_a_queue_with_answers_cannot_be_deleted_and_enter_deletes_none(
    phoenix_server: PhoenixServer, ana: Analyst
) -> None:
    write_calls(phoenix_server, "not to be deleted", [Call(), Call()])
    with named(phoenix_server, "Manager") as manager:
        queue = manager.create("not to be deleted", "not to be deleted")
    page = ana.open_as("Ana", f"{queue['queue_id']}/manage#settings")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    ana.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    with named(phoenix_server, "Ben") as ben:
        ben.answer(ben.lease(queue)[0])
    page.reload()
    expect(page.get_by_text("It has answers, so it cannot be deleted.")).to_be_visible()
    expect(page.get_by_role("button", name="Delete")).to_be_disabled()


def test_a_page_that_is_not_there_shows_the_way_back(
    phoenix_server: PhoenixServer, ana: Analyst
) -> None:
    page = ana.open_as("Ana", "999999")
    expect(page.get_by_text("There is no such queue.")).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    page.get_by_role("banner").get_by_role("link", name="Annotate").click()
    expect(page.get_by_role("heading", name="Queues")).to_be_visible()


def test_in_a_narrow_window_the_chosen_tab_and_all_buttons_are_in_sight(
    phoenix_server: PhoenixServer, ana: Analyst
) -> None:
    write_calls(phoenix_server, "narrow tabs", [Call()] * 20)
    with named(phoenix_server, "Manager") as manager:
        queue = manager.create("narrow tabs", "narrow tabs")
    ana.page.set_viewport_size({"width": 320, "height": 640})
    page = ana.open_as("Ana", f"{queue['queue_id']}/manage#settings")
    expect(page.get_by_role("tab", name="Settings")).to_be_in_viewport(ratio=0.95)
    page.goto(f"{phoenix_server.base_url}/tracequill/annotate/new")
    page.get_by_label("Project").select_option("narrow tabs")
    expect(page.get_by_role("button", name="Make the queue with 20")).to_be_in_viewport(ratio=1)
    expect(page.get_by_text("Cancel")).to_be_in_viewport(ratio=1)
