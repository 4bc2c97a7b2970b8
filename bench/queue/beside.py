"""The same labels through our page and through Phoenix's own, by an expert's quickest way: keys.

Both on the same answers with the same labels. No time is spent on reading: the next key comes as
soon as the page shows the next answer and takes it. The wait is the bench's own look at the page,
the same for both.

Phoenix's page has no queue. The quickest way there: the list of spans, filtered and sorted by
time; the first one opened, with the annotation panel that Phoenix opens beside it. Then ``e`` sets
the focus on the label's field, ``→`` takes its first value (again: the second), ``j`` opens the
next span; the label is saved by itself half a second after it was chosen, for which nobody has to
wait.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from playwright.async_api import Browser, Page

from bench.ingest.servers import BenchError, connected
from bench.queue.browser import PATIENCE_MS, new_page, until, watched
from bench.queue.conversations import marker, put_into
from bench.queue.data import PROJECT
from bench.queue.pace import address
from bench.queue.server import QUALITY, Caller, Json, Server

LLM_SPANS = "span_kind == 'LLM'"
VALUES = ("good", "bad")
"""Of ``QUALITY``, in its order."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to give the labels."""

    keys: int
    item_ms: list[float]
    """From the first key for an answer until the next one can be judged; not of the last one."""
    seconds: float
    """From the first key for the first answer until the last label was stored."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What is to be labelled, in the order of both pages: the newest first."""

    span_ids: list[str]
    labels: list[str]

    def argument(self, place: int) -> dict[str, str]:
        """Give what a page must show at *place*."""
        return {"marker": marker(place), "span": self.span_ids[place]}


async def newest_answers(url: str, number: int) -> Answers:
    """Let the newest LLM calls hold our conversations, and give them, each value as often."""
    async with connected(url) as connection:
        rows = await connection.fetch(_NEWEST, number)
    span_ids = [row["span_id"] for row in rows]
    await put_into(url, span_ids)
    return Answers(span_ids, [VALUES[place % len(VALUES)] for place in range(number)])


async def measure_ours(browser: Browser, server: Server, manager: Caller, answers: Answers) -> Way:
    """Give the labels through our page."""
    queue: Json = await manager.call(
        "POST", "/queues", {"name": "beside", "labels": [QUALITY], "selection": None}
    )
    path = f"/queues/{queue['queue_id']}/items"
    await manager.call("POST", path, {"span_ids": answers.span_ids})
    await _forget_labels(server)

    async def give(page: Page, label: str) -> None:
        await page.keyboard.press(str(VALUES.index(label) + 1))
        await page.keyboard.press("Enter")

    async with new_page(browser, server.base_url, "beside") as page:
        await page.goto(address(server, queue))
        return await _work(page, "ours", server, answers, give)


async def measure_phoenix(browser: Browser, server: Server, answers: Answers) -> Way:
    """Give the labels through Phoenix's own page."""
    await _forget_labels(server)

    async def give(page: Page, label: str) -> None:
        await page.keyboard.press("e")
        for _ in range(VALUES.index(label) + 1):
            await page.keyboard.press("ArrowRight")
        await page.keyboard.press("j")

    async with new_page(browser) as page:
        await _open_list(page, server)
        await page.locator(f'table a[href*="{await _node_id(server, answers)}"]').first.click()
        return await _work(page, "phoenix", server, answers, give)


async def _open_list(page: Page, server: Server) -> None:
    """Open the list of LLM spans, the newest first. This is not counted."""
    project = await _project_id(page, server)
    query = urlencode({"timeRangeKey": "7d", "spanFilterCondition": LLM_SPANS})
    await page.goto(f"{server.base_url}/projects/{project}/spans?{query}")


async def _project_id(page: Page, server: Server) -> str:
    query = {"query": "{ projects { edges { node { id name } } } }"}
    answer = await page.context.request.post(f"{server.base_url}/graphql", data=query)
    edges = (await answer.json())["data"]["projects"]["edges"]
    return next(str(one["node"]["id"]) for one in edges if one["node"]["name"] == PROJECT)


async def _node_id(server: Server, answers: Answers) -> str:
    """Give the first answer's span as Phoenix's addresses name it."""
    async with connected(server.database_url) as connection:
        row_id = await connection.fetchval(_ROW_ID, answers.span_ids[0])
    if row_id is None:
        raise BenchError(f"the span {answers.span_ids[0]} is gone")
    return quote(base64.b64encode(f"Span:{row_id}".encode()).decode())


async def _work(
    page: Page,
    condition: str,
    server: Server,
    answers: Answers,
    give: Callable[[Page, str], Awaitable[None]],
) -> Way:
    await until(page, condition, answers.argument(0))
    before = await _inputs(page)
    began = time.monotonic()
    item_ms = []
    for place, label in enumerate(answers.labels):
        count = await _inputs(page)
        await give(page, label)
        if place + 1 < len(answers.labels):
            shown = await until(page, condition, answers.argument(place + 1))
            item_ms.append(shown - (await watched(page, "inputs"))[count])
    await _stored(server, answers)
    seconds = time.monotonic() - began
    return Way(await _inputs(page) - before, item_ms, seconds)


async def _inputs(page: Page) -> int:
    return len(await watched(page, "inputs"))


async def _stored(server: Server, answers: Answers) -> None:
    """Wait until Phoenix's table holds the labels; they must be those that were given."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    wanted = dict(zip(answers.span_ids, answers.labels, strict=True))
    found: dict[str, str] = {}
    while time.monotonic() < deadline:
        async with connected(server.database_url) as connection:
            rows = await connection.fetch(_LABELS, answers.span_ids)
        found = {row["span_id"]: row["label"] for row in rows}
        if found == wanted:
            return
        await asyncio.sleep(0.02)
    wrong = sum(found.get(one) != label for one, label in wanted.items())
    raise BenchError(f"{wrong} of {len(wanted)} labels are not those that were given")


async def _forget_labels(server: Server) -> None:
    async with connected(server.database_url) as connection:
        await connection.execute("DELETE FROM span_annotations WHERE name = 'quality'")


_NEWEST = "SELECT span_id FROM spans WHERE span_kind = 'LLM' ORDER BY start_time DESC LIMIT $1"
_ROW_ID = "SELECT id FROM spans WHERE span_id = $1"
_LABELS = """
SELECT s.span_id, a.label FROM span_annotations AS a JOIN spans AS s ON s.id = a.span_rowid
WHERE s.span_id = ANY($1::text[]) AND a.name = 'quality'
"""
