"""The annotation pages where users sign in, and the entry in Phoenix's navigation."""

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
from tests.integration.annotate.rig import Call, named, span_annotations, write_calls
from tests.integration.annotate.users import add_user, admin_of, make_queue, sign_in, user_id_of
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration

LINK = "#tracequill-annotate-link"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def make_user(browser: Browser, phoenix_with_users: PhoenixServer) -> Iterator[MakeAnalyst]:
    with analysts(browser, phoenix_with_users) as make:
        yield make


@pytest.fixture
def anna(make_user: MakeAnalyst) -> Analyst:
    return make_user()


@pytest.fixture
def stranger(browser: Browser, phoenix_server: PhoenixServer) -> Iterator[Analyst]:
    with analysts(browser, phoenix_server) as make:
        yield make()


def place_of(said: dict[str, str], name: str) -> int:
    """The place of the first question that somebody answered."""
    return [said[f"Question {n}"] for n in range(1, len(said) + 1)].index(name)


def edit_in_phoenix(one: Analyst, span: str, label: str) -> None:
    """Choose another label on Phoenix's own page of a span, and wait until it is stored."""
    page = one.page
    page.goto(f"{one.server.base_url}/redirects/spans/{span}")
    expect(page.get_by_text("ChatCompletion").first).to_be_visible()
    one.press("e")
    expect(page.get_by_text("Edit Annotations")).to_be_visible()
    chosen = page.locator("button[aria-haspopup=listbox]").last
    expect(chosen).to_contain_text("good")
    chosen.focus()
    one.press("Space")
    page.get_by_role("option", name=label).click()
    expect(chosen).to_contain_text(label)


def test_signing_in_returns_to_the_queue_and_a_viewer_answers_it(
    phoenix_with_users: PhoenixServer, anna: Analyst
) -> None:
    with admin_of(phoenix_with_users) as admin:
        email = add_user(admin, "anna", "VIEWER")
    queue, spans = make_queue(phoenix_with_users, [email], "for a viewer")
    page = anna.open(str(queue["queue_id"]))
    expect(page.get_by_role("link", name="Sign in")).to_be_focused()
    anna.press("Enter")
    sign_in(page, email)

    anna.wait_for_question()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("link", name="Manage")).to_have_count(0)
    anna.press("1", "Enter")
    expect(page.locator(ANSWER)).to_contain_text("Answer 2")
    anna.wait_until_saved()

    (stored,) = span_annotations(phoenix_with_users, spans[0])
    assert stored["identifier"].startswith("px-app:")
    assert stored["user_id"] is not None
    anna.open("")
    expect(page.get_by_role("link", name="New queue")).to_have_count(0)


def test_two_users_at_once_by_keys_alone_and_phoenix_edits_the_same_row(
    phoenix_with_users: PhoenixServer, make_user: MakeAnalyst
) -> None:
    names = {"clara": "MEMBER", "david": "VIEWER"}
    with admin_of(phoenix_with_users) as admin:
        emails = {name: add_user(admin, name, role) for name, role in names.items()}
        ids = {name: user_id_of(admin, email) for name, email in emails.items()}
    queue, spans = make_queue(phoenix_with_users, [*emails.values()], "two users", 8)
    people = {name: make_user() for name in names}
    for name, one in people.items():
        page = one.open(str(queue["queue_id"]))
        expect(page.get_by_role("link", name="Sign in")).to_be_focused()
        one.press("Enter")
        sign_in(page, emails[name])
        one.wait_for_question()
    said: dict[str, str] = {}
    while working := {
        name: one for name, one in people.items() if one.page.locator(ANSWER).is_visible()
    }:
        for name, one in working.items():
            assert one.question not in said
            said[one.question] = name
            one.press("1", "Enter")
            one.wait_until_saved()
            expect(one.page.get_by_role("heading", name="Loading …")).to_be_hidden()

    assert sorted(said) == [f"Question {n}" for n in range(1, 9)]
    assert set(said.values()) == set(names)
    for n, span in enumerate(spans, 1):
        (stored,) = span_annotations(phoenix_with_users, span)
        assert stored["identifier"] == f"px-app:{ids[said[f'Question {n}']]}"
        assert stored["source"] == "APP"
        assert stored["user_id"] is not None

    span = spans[place_of(said, "clara")]
    edit_in_phoenix(people["clara"], span, "bad")
    for _ in range(200):
        (edited,) = span_annotations(phoenix_with_users, span)
        if edited["label"] != "good":
            break
        people["clara"].page.wait_for_timeout(50)
    assert (edited["label"], edited["identifier"]) == ("bad", f"px-app:{ids['clara']}")


def test_a_sign_in_that_has_run_out_is_renewed_in_the_background(
    phoenix_with_users: PhoenixServer, anna: Analyst
) -> None:
    with admin_of(phoenix_with_users) as admin:
        email = add_user(admin, "berta", "MEMBER")
    queue, spans = make_queue(phoenix_with_users, [email], "run out")
    page = anna.open(str(queue["queue_id"]))
    page.get_by_role("link", name="Sign in").click()
    sign_in(page, email)
    anna.wait_for_question()

    anna.context.clear_cookies(name="phoenix-access-token")
    anna.press("2", "Enter")
    anna.wait_until_saved()
    assert span_annotations(phoenix_with_users, spans[0])[0]["label"] == "bad"
    anna.context.clear_cookies(name="phoenix-access-token")
    page.reload()
    anna.wait_for_question()


def test_the_navigation_shows_how_much_waits_for_me(
    phoenix_server: PhoenixServer, stranger: Analyst
) -> None:
    write_calls(phoenix_server, "waiting", [Call(), Call(), Call()])
    with named(phoenix_server, "Manager") as manager:
        manager.create("waiting", "waiting", members=["Nora"], assigned_only=True)
    with named(phoenix_server, "Nora") as nora:
        waiting = nora.get("/me")["waiting"]
    page = stranger.open_as("Nora", "")
    expect(page.get_by_role("heading", name="Queues")).to_be_visible()
    page.goto(f"{phoenix_server.base_url}/projects")

    expect(page.locator(f"{LINK} #tracequill-annotate-count")).to_have_text(str(waiting))
    assert waiting >= 3
    page.locator(LINK).click()
    expect(page.get_by_role("heading", name="Queues")).to_be_visible()
