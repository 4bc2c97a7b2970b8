"""Browsers for the tests of the annotation pages: people, each with a browser of their own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.integration.annotate.rig import Json
from tests.integration.fixtures_phoenix import PhoenixServer

ANSWER = '[data-place="answer"]'
QUESTION = '[data-place="question"]'
TIMEOUT_MS = 20_000
WAITING = "Object.keys(localStorage).some(key => key.includes('.outbox.'))"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Give the system's Chromium."""
    program = shutil.which("chromium")
    assert program, "these tests need Chromium: apt-get install chromium"
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        # Without its sandbox, which does not work for root.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Analyst:
    """Somebody at a keyboard, in a browser that knows nobody else."""

    def __init__(self, context: BrowserContext, server: PhoenixServer) -> None:
        self.context = context
        self.server = server
        self.problems: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(TIMEOUT_MS)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    def open(self, path: str) -> Page:
        """Go to one of our pages."""
        self.page.goto(f"{self.server.base_url}/tracequill/annotate/{path}")
        return self.page

    def open_as(self, name: str, path: str) -> Page:
        """Go to one of our pages for the first time, and say who one is."""
        page = self.open(path)
        page.get_by_role("dialog").wait_for()
        self.press(*name, "Enter")
        return page

    def open_queue(self, queue: Json, name: str) -> Page:
        """Open a queue's url for the first time, say who one is, and see the first question."""
        page = self.open_as(name, str(queue["queue_id"]))
        self.wait_for_question()
        return page

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def wait_for_question(self) -> None:
        """Wait until an answer is there to be judged."""
        expect(self.page.locator(ANSWER)).to_be_visible()

    def wait_until_saved(self) -> None:
        """Wait until nothing waits in the browser any more."""
        # Not wait_for_function: the page's policy lets nobody evaluate texts, Playwright included.
        until = time.monotonic() + TIMEOUT_MS / 1000
        while self.page.evaluate(WAITING):
            assert time.monotonic() < until, "something still waits to be saved"
            self.page.wait_for_timeout(20)

    @property
    def question(self) -> str:
        """The question that is shown."""
        return self.page.locator(f"{QUESTION} .message-body").inner_text()

    @property
    def chosen(self) -> list[str]:
        """The labels that are chosen."""
        return self.page.locator(".choice:has(:checked) .choice-text").all_inner_texts()


MakeAnalyst = Callable[[], Analyst]


@contextmanager
def analysts(browser: Browser, server: PhoenixServer) -> Iterator[MakeAnalyst]:
    """Give a function that brings in one more; no page of theirs may have failed in the end."""
    made: list[Analyst] = []

    def make() -> Analyst:
        made.append(Analyst(browser.new_context(viewport={"width": 1280, "height": 800}), server))
        return made[-1]

    yield make
    for analyst in made:
        analyst.context.close()
    assert [problem for analyst in made for problem in analyst.problems] == []
