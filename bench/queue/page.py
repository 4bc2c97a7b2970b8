"""What one person at the page sees: the measurements in their order, and what is found as figures.

In comes a running server with a large database, out come plain numbers, as they stand in the JSON
file: how soon the first question is there, how soon the next one at two paces, and the same labels
through our page and Phoenix's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser
from playwright.async_api import Error as PlaywrightError

from bench.ingest.figures import percentile
from bench.ingest.servers import BenchError, connected
from bench.queue.beside import Way, measure_ours, measure_phoenix, newest_answers
from bench.queue.browser import running_chromium
from bench.queue.conversations import put_into
from bench.queue.pace import Paced, measure_opening, measure_pace
from bench.queue.server import Caller, Json, Server

TARGET_MS = 100.0
PACES = {"pace": 0.5, "sprint": 0.0}
"""Seconds from one answer to the next; zero: as fast as the page takes them."""
# Questions that a page takes ahead, and the first one, of each page that is opened.
_SPARE = 60
_OPENINGS = 5


@dataclass(frozen=True, slots=True)
class PageScale:
    """How much is measured."""

    queue_items: int
    paced: dict[str, int]
    """How many questions are answered at each pace."""
    beside: int
    """How many answers are labelled in each way."""


FULL_PAGE = PageScale(10_000, {"pace": 200, "sprint": 200}, 20)
QUICK_PAGE = PageScale(500, {"pace": 10, "sprint": 20}, 4)


async def measure_page(
    server: Server, manager: Caller, scale: PageScale, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure all of it with one Chromium."""
    queue = await manager.create_queue("one person", scale.queue_items)
    await _put_conversations(server, queue, sum(scale.paced.values()) + _SPARE)
    async with running_chromium() as browser:
        found: dict[str, Any] = {"browser": browser.version, "items": queue["items"]}
        opened = await measure_opening(browser, server, queue, _OPENINGS)
        found["opening"] = of_opening(opened)
        say(f"first question after {found['opening']['ms_p50']} ms")
        for name, number in scale.paced.items():
            paced = await measure_pace(
                browser, server, queue, pace_seconds=PACES[name], number=number
            )
            found[name] = of_paced(paced)
            say(f"key to next question, {name}: p95 {found[name]['painted_ms_p95']} ms")
        try:
            found["beside"] = await _beside(browser, server, manager, scale.beside, say)
        except (BenchError, PlaywrightError) as error:
            # Minutes of measuring are not lost because a page of another's has changed.
            say(f"the same labels through Phoenix's page were not measured: {error}")
    return found


async def _put_conversations(server: Server, queue: Json, number: int) -> None:
    """Let the questions that are asked first hold conversations as people meet them."""
    async with connected(server.database_url) as connection:
        rows = await connection.fetch(_FIRST_ITEMS, queue["queue_id"], number)
    await put_into(server.database_url, [row["span_id"] for row in rows])


async def _beside(
    browser: Browser, server: Server, manager: Caller, number: int, say: Callable[[str], None]
) -> dict[str, Any]:
    answers = await newest_answers(server.database_url, number)
    found: dict[str, Any] = {"answers": number}
    ours = await measure_ours(browser, server, manager, answers)
    phoenix = await measure_phoenix(browser, server, answers)
    say(f"{number} labels: {ours.seconds:.1f} s, through Phoenix's page {phoenix.seconds:.1f} s")
    return found | {"ours": of_way(ours, number), "phoenix": of_way(phoenix, number)}


def of_opening(milliseconds: Sequence[float]) -> dict[str, Any]:
    """Give how long the first question took."""
    return {
        "times": len(milliseconds),
        "ms_p50": round(percentile(milliseconds, 0.5)),
        "ms_max": round(max(milliseconds)),
    }


def of_paced(one: Paced) -> dict[str, Any]:
    """Give the percentiles of what the page measured, and of what was seen from outside."""
    found: dict[str, Any] = {
        "answers": len(one.painted_ms),
        "keys": one.keys,
        "answers_per_second": round(len(one.painted_ms) / one.seconds, 1),
        "over_target": sum(value >= TARGET_MS for value in one.painted_ms),
        "shown": len(one.shown_ms),
    }
    for name, values in (("painted", one.painted_ms), ("shown", one.shown_ms)):
        for share in (50, 95, 99):
            found[f"{name}_ms_p{share}"] = round(percentile(values, share / 100), 1)
        found[f"{name}_ms_max"] = round(max(values, default=0.0), 1)
    return found


def of_way(way: Way, number: int) -> dict[str, Any]:
    """Give what one label costs."""
    return {
        "keys_an_item": round(way.keys / number, 1),
        "seconds_an_item": round(way.seconds / number, 2),
        "item_ms_p50": round(percentile(way.item_ms, 0.5)),
        "item_ms_max": round(max(way.item_ms, default=0.0)),
    }


_FIRST_ITEMS = """
SELECT span_id FROM tracequill.annotation_items WHERE queue_id = $1 ORDER BY rank, item_id LIMIT $2
"""
