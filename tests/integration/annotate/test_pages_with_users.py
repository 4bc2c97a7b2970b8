"""The annotation pages where users sign in, and the entry in Phoenix's navigation."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.integration.annotate.browsing import ANSWER, Analyst, analysts, chromium
from tests.integration.annotate.rig import (
    Call,
    Json,
    Worker,
    named,
    span_annotations,
    write_calls,
)
from tests.integration.fixtures_phoenix import ADMIN_SECRET, PhoenixServer

pytestmark = pytest.mark.integration

PASSWORD = "Correct-Horse-7"
LINK = "#tracequill-annotate-link"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def anna(browser: Browser, phoenix_with_users: PhoenixServer) -> Iterator[Analyst]:
    with analysts(browser, phoenix_with_users) as make:
        yield make()


@pytest.fixture
def stranger(browser: Browser, phoenix_server: PhoenixServer) -> Iterator[Analyst]:
    with analysts(browser, phoenix_server) as make:
        yield make()


def add_user(admin: httpx.Client, name: str, role: str) -> str:
    """Make a user; give the e-mail address."""
    user = {
        "auth_method": "LOCAL",
        "email": f"{name}@example.org",
        "username": name,
        "role": role,
        "password": PASSWORD,
    }
    created = admin.post("/v1/users", json={"user": user, "send_welcome_email": False})
    assert created.status_code in (201, 409), created.text
    return user["email"]


def sign_in(page: Page, email: str) -> None:
    """Fill Phoenix's own form."""
    page.get_by_placeholder("your email address").fill(email)
    page.get_by_placeholder("your password").fill(PASSWORD)
    page.get_by_role("button", name="Log In").click()


def make_queue(server: PhoenixServer, email: str, name: str) -> tuple[Json, list[str]]:
    """A queue of two questions for one person."""
    calls = [Call(question=f"Question {n}", answer=f"Answer {n}") for n in (1, 2)]
    spans = write_calls(server, name, calls)
    with server.client(Authorization=f"Bearer {ADMIN_SECRET}") as client:
        queue = Worker(client).create(name, name, order="oldest", members=[email])
    return queue, spans


def test_signing_in_returns_to_the_queue_and_a_viewer_answers_it(
    phoenix_with_users: PhoenixServer, anna: Analyst
) -> None:
    with phoenix_with_users.client(Authorization=f"Bearer {ADMIN_SECRET}") as admin:
        email = add_user(admin, "anna", "VIEWER")
    queue, spans = make_queue(phoenix_with_users, email, "for a viewer")
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


def test_a_sign_in_that_has_run_out_is_renewed_in_the_background(
    phoenix_with_users: PhoenixServer, anna: Analyst
) -> None:
    with phoenix_with_users.client(Authorization=f"Bearer {ADMIN_SECRET}") as admin:
        email = add_user(admin, "berta", "MEMBER")
    queue, spans = make_queue(phoenix_with_users, email, "run out")
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
