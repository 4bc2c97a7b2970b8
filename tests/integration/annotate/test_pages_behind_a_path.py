"""Phoenix below a path of another server: PHOENIX_ROOT_URL and PHOENIX_HOST_ROOT_PATH."""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.integration.annotate.browsing import ANSWER, Analyst, analysts, chromium
from tests.integration.annotate.path_proxy import PathProxy
from tests.integration.annotate.rig import span_annotations
from tests.integration.annotate.users import add_user, admin_of, make_queue, sign_in
from tests.integration.databases import database_url, execute, run
from tests.integration.fixtures_phoenix import (
    ADMIN_SECRET,
    PhoenixServer,
    start_phoenix,
    stop_phoenix,
    wait_until_ready,
)

pytestmark = pytest.mark.integration

PATH = "/apps/phoenix"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def path_proxy() -> Iterator[PathProxy]:
    proxy = PathProxy(PATH)
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def phoenix(
    postgres_url: str,
    phoenix_template: str,
    path_proxy: PathProxy,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[PhoenixServer]:
    """Phoenix with users, as it is seen through the proxy."""
    name = f"overlay_path_{os.getpid()}"
    run(execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {phoenix_template}"))
    server = start_phoenix(
        database_url(postgres_url, name),
        tmp_path_factory.mktemp("phoenix_behind_a_path"),
        {
            "PHOENIX_ROOT_URL": path_proxy.url,
            "PHOENIX_HOST_ROOT_PATH": PATH,
            "PHOENIX_ENABLE_AUTH": "true",
            "PHOENIX_SECRET": "a1" + secrets.token_hex(32),
            "PHOENIX_ADMIN_SECRET": ADMIN_SECRET,
        },
    )
    wait_until_ready(server)
    path_proxy.backend_port = int(server.base_url.rpartition(":")[2])
    yield dataclasses.replace(server, base_url=path_proxy.url)
    stop_phoenix(server)
    run(execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def anna(browser: Browser, phoenix: PhoenixServer) -> Iterator[Analyst]:
    with analysts(browser, phoenix) as make:
        yield make()


def test_pages_links_sign_in_and_answers_work_behind_a_path(
    phoenix: PhoenixServer, path_proxy: PathProxy, anna: Analyst
) -> None:
    with admin_of(phoenix) as admin:
        email = add_user(admin, "anna", "ADMIN")
    queue, spans = make_queue(phoenix, [email], "behind a path")
    own = f"{path_proxy.url}/tracequill/annotate/{queue['queue_id']}"
    assert queue["url"] == own
    with phoenix.client() as stranger:
        policy = stranger.get("/tracequill/annotate/").headers["content-security-policy"]
    assert "connect-src 'self'" in policy

    page = anna.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{queue['url']}#item=0")
    expect(page.get_by_role("link", name="Sign in")).to_be_focused()
    anna.press("Enter")
    sign_in(page, email)
    page.wait_for_url(f"{own}*")
    anna.wait_for_question()
    anna.press("1", "Enter")
    expect(page.locator(ANSWER)).to_contain_text("Answer 2")
    anna.wait_until_saved()
    assert len(span_annotations(phoenix, spans[0])) == 1

    # A sign-in that has run out is renewed at the same place.
    anna.context.clear_cookies(name="phoenix-access-token")
    anna.press("2", "Enter")
    anna.wait_until_saved()
    assert len(span_annotations(phoenix, spans[1])) == 1

    page.get_by_role("navigation").get_by_role("link", name="My answers").click()
    expect(page.locator(".mine-entry")).to_have_count(2)
    page.get_by_role("link", name="Open again").first.click()
    anna.wait_for_question()
    with anna.context.expect_page() as opened:
        page.get_by_role("link", name="Open in Phoenix").click()
    trace = opened.value
    trace.wait_for_url(f"{path_proxy.url}/projects/**")
    expect(trace.get_by_text("ChatCompletion").first).to_be_visible()
    trace.close()
    page.goto(f"{own}/manage")
    expect(page.get_by_role("link", name="Manage")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    assert "Question 1" in download.value.path().read_text()

    beside = [url for url in asked if not url.startswith((f"{path_proxy.url}/", "data:", "blob:"))]
    assert beside == []
    assert path_proxy.strays == []


def test_phoenix_s_navigation_leads_to_the_queues_behind_a_path(
    phoenix: PhoenixServer, path_proxy: PathProxy, anna: Analyst
) -> None:
    with admin_of(phoenix) as admin:
        email = add_user(admin, "nora", "MEMBER")
    make_queue(phoenix, [email], "navigation behind a path", assigned_only=True)
    page = anna.page
    page.goto(f"{path_proxy.url}/login")
    sign_in(page, email)
    entry = page.locator("#tracequill-annotate-link")
    expect(entry.locator("#tracequill-annotate-count")).to_have_text("2")
    entry.click()
    expect(page.get_by_role("heading", name="Queues")).to_be_visible()
    assert page.url == f"{path_proxy.url}/tracequill/annotate/"

    page.get_by_role("link", name="Answer 2").click()
    anna.wait_for_question()
    assert path_proxy.strays == []
