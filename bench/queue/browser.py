"""The system's Chromium, and what a page does between a key and its next picture.

A page is watched from inside by a script of the bench: when keys were pressed, and when
the browser's compositor has shown the text that is waited for (Element Timing). Neither our page
nor Phoenix's knows of it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, async_playwright

from bench.ingest.servers import BenchError

VIEWPORT: ViewportSize = {"width": 1600, "height": 900}
"""In less, Phoenix's page has no room for its annotation panel."""
PATIENCE_MS = 20_000

_WATCH = """(() => {
    const bench = { inputs: [], shown: {} };
    window.bench = bench;
    addEventListener("keydown", (event) => bench.inputs.push(event.timeStamp), true);
    new PerformanceObserver((list) => {
        for (const one of list.getEntries()) bench.shown[one.identifier] ??= one.renderTime;
    }).observe({ type: "element", buffered: true });
    const watched = '[data-place="question"] .message-body p';
    new MutationObserver(() => {
        for (const text of document.querySelectorAll(`${watched}:not([elementtiming])`)) {
            text.setAttribute("elementtiming", text.textContent.slice(0, 15));
        }
    }).observe(document, { childList: true, subtree: true });
})()"""
# The same for every page: looked for in each frame, and noted once that frame is made.
_UNTIL = """([condition, argument, milliseconds]) => new Promise((resolve) => {
    const isThere = CONDITIONS[condition];
    const until = performance.now() + milliseconds;
    const look = () => {
        const isDone = isThere(argument);
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => {
            if (isDone || performance.now() > until) resolve(isDone ? performance.now() : null);
            else requestAnimationFrame(look);
        };
        port2.postMessage(null);
    };
    requestAnimationFrame(look);
})"""
_CONDITIONS = """{
    ours: ({ marker }) => {
        const question = document.querySelector('.work:not(.is-empty) [data-place="question"]');
        return Boolean(question?.textContent.includes(marker));
    },
    phoenix: ({ marker, span }) => {
        if (!document.querySelector(`button[aria-label="Copy Span ID ${span}"]`)) return false;
        const isOpen = "button[aria-haspopup=listbox] [data-placeholder]";
        if (![...document.querySelectorAll(isOpen)].some((one) => one.checkVisibility())) {
            return false;
        }
        const text = `//*[contains(text(), "${marker}")][not(ancestor::table)]`;
        const found = document.evaluate(text, document, null, XPathResult.BOOLEAN_TYPE, null);
        return found.booleanValue;
    },
}"""


@contextlib.asynccontextmanager
async def running_chromium() -> AsyncIterator[Browser]:
    """Run the system's Chromium without a window."""
    program = shutil.which("chromium")
    if not program:
        raise BenchError("Chromium is needed: apt-get install chromium")
    async with async_playwright() as playwright:
        # Without its sandbox, which does not work for root.
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        await browser.close()


@contextlib.asynccontextmanager
async def new_page(browser: Browser, url: str = "", name: str = "") -> AsyncIterator[Page]:
    """Give a page of a browser that has seen nothing before; *name* to the server at *url*."""
    context: BrowserContext = await browser.new_context(viewport=VIEWPORT)
    try:
        if name:
            said = await context.request.put(
                f"{url}/tracequill/api/me/name", data={"name": name}, headers={"Origin": url}
            )
            if not said.ok:
                raise BenchError(f"no name could be given: {await said.text()}")
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        await page.add_init_script(_WATCH)
        yield page
    finally:
        await context.close()


async def until(page: Page, condition: str, argument: dict[str, str]) -> float:
    """Wait until the frame in which *condition* holds is made; its time by the page's clock."""
    script = _UNTIL.replace("CONDITIONS", _CONDITIONS)
    found: float | None = await page.evaluate(script, [condition, argument, PATIENCE_MS])
    if found is None:
        raise BenchError(f"{condition}: {argument} was never shown")
    return found


async def watched(page: Page, what: str) -> Any:
    """Give what the bench's script has seen: ``inputs`` or ``shown``."""
    return await page.evaluate(f"window.bench.{what}")
