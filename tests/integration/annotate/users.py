"""Users who sign in through Phoenix's own page, and queues for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from tests.integration.annotate.rig import Call, Json, Worker, write_calls
from tests.integration.databases import execute, run
from tests.integration.fixtures_phoenix import ADMIN_SECRET, PhoenixServer

PASSWORD = "Correct-Horse-7"
_TABS_MAX = 20


def admin_of(server: PhoenixServer) -> httpx.Client:
    """Give a client with the administrator's key."""
    return server.client(Authorization=f"Bearer {ADMIN_SECRET}")


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


def user_id_of(admin: httpx.Client, email: str) -> str:
    """Give the GlobalID of a user."""
    users: list[Json] = admin.get("/v1/users", params={"limit": 100}).json()["data"]
    return next(str(user["id"]) for user in users if user["email"] == email)


def sign_in(page: Page, email: str) -> None:
    """Fill Phoenix's own form with the keyboard alone."""
    field = page.get_by_placeholder("your email address")
    expect(field).to_be_visible()
    for _ in range(_TABS_MAX):
        if field.evaluate("field => field === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.type(email)
    page.keyboard.press("Tab")
    expect(page.get_by_placeholder("your password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")


def make_queue(
    server: PhoenixServer, emails: Sequence[str], name: str, number: int = 2, **fields: Any
) -> tuple[Json, list[str]]:
    """A queue of *number* questions for these people, the oldest first; the span of each."""
    calls = [Call(question=f"Question {n}", answer=f"Answer {n}") for n in range(1, number + 1)]
    spans = write_calls(server, name, calls)
    # Phoenix's own pages ask users whom somebody else made for a new password first.
    run(execute(server.database_url, "UPDATE users SET reset_password = false"))
    with admin_of(server) as client:
        queue = Worker(client).create(name, name, order="oldest", members=[*emails], **fields)
    return queue, spans
