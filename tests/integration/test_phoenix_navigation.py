"""The link to our pages in Phoenix's navigation, in a real browser: fails when its markup moves."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.integration.fixtures_phoenix import ADMIN_SECRET, PhoenixServer

pytestmark = pytest.mark.integration

LINK = "#tracequill-navigation-link"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "these tests need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        # Without its sandbox, which does not work for root.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(20_000)
    yield page
    context.close()


def test_the_navigation_leads_to_our_page(phoenix_server: PhoenixServer, page: Page) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{phoenix_server.base_url}/projects")

    link = page.locator(LINK)
    expect(link).to_have_text("Tracequill")
    neighbour = page.get_by_role("link", name="REST API")
    expect(neighbour).to_have_attribute("class", link.get_attribute("class") or "")
    page.get_by_role("link", name="Datasets & Experiments").click()
    page.wait_for_url("**/datasets")
    expect(link).to_have_count(1)
    page.get_by_role("button", name="Collapse side navigation").click()
    expect(link).to_have_count(1)
    link.click()

    page.wait_for_url("**/tracequill/")
    expect(page.get_by_role("heading", name="Send spans to")).to_be_visible()
    page.get_by_role("link", name="Phoenix").click()
    page.wait_for_url("**/projects")
    assert problems == []


def test_our_page_sends_a_stranger_to_sign_in_and_back(
    phoenix_with_users: PhoenixServer, page: Page
) -> None:
    user = {
        "auth_method": "LOCAL",
        "email": "reader@example.org",
        "username": "reader",
        "role": "VIEWER",
        "password": "Correct-Horse-7",
    }
    with phoenix_with_users.client(Authorization=f"Bearer {ADMIN_SECRET}") as admin:
        admin.post("/v1/users", json={"user": user, "send_welcome_email": False})
    page.goto(f"{phoenix_with_users.base_url}/tracequill/")

    page.get_by_role("link", name="Sign in").click()
    page.get_by_placeholder("your email address").fill(user["email"])
    page.get_by_placeholder("your password").fill(user["password"])
    page.get_by_role("button", name="Log In").click()

    expect(page.get_by_role("heading", name="Send spans to")).to_be_visible()
