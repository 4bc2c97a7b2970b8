"""How fast the page is for one person: from a key to the next question, from a url to the first.

The page measures itself, from the time stamp of the key's event until the frame with the next
question is made. Beside it stands what the bench sees from outside: when Chromium's compositor has
shown that question's text.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

from playwright.async_api import Browser, Page

from bench.ingest.servers import BenchError
from bench.queue.browser import PATIENCE_MS, new_page, until, watched
from bench.queue.server import Json, Server

_MEASURES = (
    "performance.getEntriesByName('tracequill:key-to-painted')"
    ".map((one) => [one.startTime, one.duration])"
)
_COUNT = "performance.getEntriesByName('tracequill:key-to-painted').length"
_LOOK_MS = 2
_WAITING = "Object.keys(localStorage).some((key) => key.includes('.outbox.'))"


@dataclass(frozen=True, slots=True)
class Paced:
    """Questions answered by keys alone."""

    pace_seconds: float
    """From one answer to the next; zero: the next one as soon as its question is there."""
    seconds: float
    keys: int
    painted_ms: list[float]
    """By the page itself, in their order."""
    shown_ms: list[float]
    """The same questions by the compositor; those that it has shown before the next key."""


def address(server: Server, queue: Json) -> str:
    """Give the url of a queue."""
    return f"{server.base_url}/tracequill/annotate/{queue['queue_id']}"


async def measure_opening(browser: Browser, server: Server, queue: Json, times: int) -> list[float]:
    """Open the queue in *times* new browsers of somebody it knows; the milliseconds of each.

    From when the navigation began until the first question is painted and takes keys.
    """
    found = []
    for number in range(times):
        async with new_page(browser, server.base_url, f"opener {number}") as page:
            await page.goto(address(server, queue), wait_until="commit")
            found.append(await until(page, "ours", {"marker": "Question "}))
            await _leave(page, server, queue)
    return found


async def measure_pace(
    browser: Browser, server: Server, queue: Json, *, pace_seconds: float, number: int
) -> Paced:
    """Answer *number* questions with two keys each."""
    async with new_page(browser, server.base_url, f"pace {pace_seconds}") as page:
        await page.goto(address(server, queue))
        await until(page, "ours", {"marker": "Question "})
        began = time.monotonic()
        for place in range(number):
            due = began + (place + 1) * pace_seconds
            await page.keyboard.press("12"[place % 2])
            await page.keyboard.press("Enter")
            await _measured(page, place + 1)
            left = due - time.monotonic()
            if left > 0:
                await page.wait_for_timeout(left * 1000)
        seconds = time.monotonic() - began
        await _saved(page)
        measures = await page.evaluate(_MEASURES)
        shown = sorted((await watched(page, "shown")).values())
        await _leave(page, server, queue)
    painted = [duration for _, duration in measures]
    return Paced(pace_seconds, seconds, 2 * number, painted, shown_ms(measures, shown))


def shown_ms(measures: list[tuple[float, float]], shown: list[float]) -> list[float]:
    """Give for each key the time to the first question shown after it and before the next key."""
    starts = [start for start, _ in measures] + [float("inf")]
    found = []
    for start, following in itertools.pairwise(starts):
        after = [at for at in shown if start < at <= following]
        if after:
            found.append(after[0] - start)
    return found


async def _measured(page: Page, number: int) -> None:
    for _ in range(PATIENCE_MS // _LOOK_MS):
        if await page.evaluate(_COUNT) >= number:
            return
        await page.wait_for_timeout(_LOOK_MS)
    raise BenchError(f"answer {number}: the next question was never painted")


async def _saved(page: Page) -> None:
    for _ in range(PATIENCE_MS // 20):
        if not await page.evaluate(_WAITING):
            return
        await page.wait_for_timeout(20)
    raise BenchError("something was never saved")


async def _leave(page: Page, server: Server, queue: Json) -> None:
    """Close the page and have all questions given back before others ask for them."""
    await page.goto("about:blank")
    path = f"{server.base_url}/tracequill/api/queues/{queue['queue_id']}/release"
    said = await page.context.request.post(
        path, data={"have": []}, headers={"Origin": server.base_url}
    )
    if not said.ok:
        raise BenchError(f"nothing was given back: {await said.text()}")
