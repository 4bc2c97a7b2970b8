"""Hostile questions, answers and names are shown harmless: no script runs, no request leaves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.integration.annotate.browsing import ANSWER, Analyst, analysts, chromium
from tests.integration.annotate.rig import Call, named, write_calls
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration

EVIL = "https://evil.example"
SCRIPT = "window.attacked = true"
HOSTILE = [
    f"<script>{SCRIPT}</script>",
    f'<img src=x onerror="{SCRIPT}"><svg onload="{SCRIPT}">',
    f"[click](javascript:{SCRIPT}) <a href='javascript:{SCRIPT}'>here</a>",
    f"![pixel]({EVIL}/pixel.png) <img src='{EVIL}/other.png'>",
    f"<iframe src='{EVIL}'></iframe><link rel=stylesheet href='{EVIL}/a.css'>",
    f"<style>@import '{EVIL}/b.css'; * {{ background: url({EVIL}/c.png) }}</style>",
    f"<meta http-equiv=refresh content='0;url={EVIL}'><base href='{EVIL}'>",
    f"<form action='{EVIL}'><input autofocus onfocus='{SCRIPT}'></form>",
    "abc\u202etxt.exe \u0007\u001b[31m \u2066isolated \ufeff",
    "x" * 300_000,
    "> " * 5_000 + "deep",
    "```\n" + "<b>" * 10_000,
    "مرحبا <script>" + SCRIPT + "</script>",
    "\U000e0041\U000e0042 " + "a\u0300" * 5_000,
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def ana(browser: Browser, phoenix_server: PhoenixServer) -> Iterator[Analyst]:
    with analysts(browser, phoenix_server) as make:
        yield make()


def watch(ana: Analyst, own: str) -> list[str]:
    """Give what leaves for elsewhere, as it happens; nothing of it gets out."""
    left: list[str] = []

    def route(route: Route) -> None:
        if route.request.url.startswith(own):
            route.continue_()
        else:
            left.append(route.request.url)
            route.abort()

    ana.context.route("**/*", route)
    ana.page.on("dialog", lambda dialog: left.append(f"dialog {dialog.message}"))
    return left


def test_nothing_hostile_runs_or_leaves(phoenix_server: PhoenixServer, ana: Analyst) -> None:
    project = "hostile <script>window.attacked = true</script>"
    name = f"<img src=x onerror='{SCRIPT}'> \u202equeue"
    write_calls(
        phoenix_server,
        project,
        [Call(question=text, answer=text, user=text[:200], model=text[:200]) for text in HOSTILE],
    )
    with named(phoenix_server, "Manager") as manager:
        queue = manager.create(name, project, order="oldest", instructions="\n\n".join(HOSTILE[:8]))
    left = watch(ana, phoenix_server.base_url)

    page = ana.open_queue(queue, "Ana")
    for place in range(len(HOSTILE)):
        expect(page.locator(ANSWER)).to_be_visible()
        assert page.evaluate("window.attacked") is None, HOSTILE[place][:80]
        if place == 0:
            expect(page.locator(f"{ANSWER} .message-body")).to_contain_text(HOSTILE[0])
        if place == 8:
            expect(page.locator(f"{ANSWER} .hidden-character").first).to_be_visible()
        ana.press("e", "Escape", "1", "Enter")
    expect(page.get_by_role("heading", name="All done")).to_be_visible()
    ana.wait_until_saved()
    manage = f"{queue['queue_id']}/manage"
    shown = ["", "new", f"{queue['queue_id']}/mine", manage, f"{manage}#settings", f"{manage}#add"]
    for path in shown:
        page.goto("about:blank")
        ana.open(path)
        expect(page.locator("main[aria-busy=false]")).to_be_visible()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.attacked") is None, path

    assert left == []


def test_the_policy_of_every_page_is_strict(phoenix_server: PhoenixServer) -> None:
    with phoenix_server.client() as client:
        for path in ("", "new", "1", "1/mine", "1/manage"):
            answer = client.get(f"/tracequill/annotate/{path}")
            policy = answer.headers["content-security-policy"]
            assert answer.status_code == 200
            assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert "<script>" not in answer.text
            assert " style=" not in answer.text
