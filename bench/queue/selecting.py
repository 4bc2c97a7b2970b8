"""How long a manager waits: to find answers, to make a queue of them, and for what came of it.

A large database enters; out come seconds, by the API that the pages use. The answers that are
compared and downloaded are written into the tables directly, two people's for each question.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.ingest.servers import connected
from bench.queue.data import PROJECT
from bench.queue.server import API, Caller, Json, Server

FORMATS = ("csv", "xlsx", "jsonl")
_WEEK = timedelta(days=7)
_PEOPLE = ("tracequill:Ana", "tracequill:Ben")
# Of ten answers of the second person so many are as the first one's.
_AGREED = 8


@dataclass(frozen=True, slots=True)
class Waited:
    """How long something took, and what came."""

    seconds: float
    count: int
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Selected:
    """What was found, made, compared and downloaded."""

    previews: dict[str, Waited]
    made: Waited
    added: Waited
    agreement: Waited
    downloads: dict[str, Waited]
    """Their count is bytes."""


async def measure_selection(server: Server, manager: Caller, items: int) -> Selected:
    """Measure previews, a queue of *items*, as many added to it, and its results."""
    previews = {}
    for name, fields in _selections().items():
        previews[name] = await _preview(manager, {"project": PROJECT, **fields})
    began = time.monotonic()
    queue = await manager.create_queue("for results", items, overlap=2)
    made = Waited(time.monotonic() - began, queue["items"])
    path = f"/queues/{queue['queue_id']}"
    began = time.monotonic()
    body = {"project": PROJECT, "sample": items}
    new = await manager.call("POST", f"{path}/items", body)
    added = Waited(time.monotonic() - began, new["added"])
    # As many as the first time are answered.
    await _answer(server, queue["queue_id"], items)
    began = time.monotonic()
    found = await manager.call("GET", f"{path}/agreement")
    agreement = Waited(time.monotonic() - began, found["labels"][0]["items"])
    downloads = {kind: await _download(manager, path, kind) for kind in FORMATS}
    return Selected(previews, made, added, agreement, downloads)


def _selections() -> dict[str, Json]:
    """What people choose by; the word is one of the generated ones."""
    week = (datetime.now(UTC) - _WEEK).isoformat()
    return {
        "everything": {},
        "one week": {"since": week},
        "one model": {"model": "gpt-4o"},
        "one user": {"user": "user-7"},
        "a text, one week": {"since": week, "text": "rakewopa"},
        "not labelled, one week": {"since": week, "not_labelled": True},
    }


async def _preview(manager: Caller, selection: Json) -> Waited:
    body = selection | {"labels": ["quality"]}
    began = time.monotonic()
    async with manager.session.post(f"{API}/selection/preview", json=body) as answer:
        found = await answer.json()
    seconds = time.monotonic() - began
    if not answer.ok:
        return Waited(seconds, 0, str(found.get("detail", answer.status)))
    return Waited(seconds, found["data"]["count"])


async def _download(manager: Caller, path: str, kind: str) -> Waited:
    began = time.monotonic()
    url = f"{API}{path}/download"
    async with manager.session.get(url, params={"format": kind}) as answer:
        answer.raise_for_status()
        size = 0
        async for part in answer.content.iter_chunked(1 << 20):
            size += len(part)
    return Waited(time.monotonic() - began, size)


async def _answer(server: Server, queue_id: int, items: int) -> None:
    """Let two people have answered the first *items* questions of the queue."""
    async with connected(server.database_url) as connection:
        await connection.execute(_COPIES, queue_id, items)
        for slot, person in enumerate(_PEOPLE, 1):
            share = 10 if slot == 1 else _AGREED
            await connection.execute(_ANSWERS, queue_id, items, slot, person, share)
        await connection.execute(_DONE, queue_id, items)
        await connection.execute("ANALYZE tracequill.annotation_answers")
        await connection.execute("ANALYZE tracequill.annotation_inputs")


_COPIES = """
INSERT INTO tracequill.annotation_inputs (item_id, source, question, answer)
SELECT i.item_id, jsonb_build_object(
           'attributes', s.attributes, 'name', s.name, 'start_time', s.start_time,
           'end_time', s.end_time, 'earlier', '[]'::jsonb, 'beside', '[]'::jsonb),
       s.attributes #>> '{input,value}', s.attributes #>> '{output,value}'
FROM tracequill.annotation_items AS i JOIN spans AS s ON s.span_id = i.span_id
WHERE i.queue_id = $1 AND i.number <= $2
"""
_ANSWERS = """
WITH used AS (
    UPDATE tracequill.annotation_slots AS s SET state = 'answered', person = $4
    FROM tracequill.annotation_items AS i
    WHERE i.item_id = s.item_id AND i.queue_id = $1 AND i.number <= $2 AND s.slot = $3::int
    RETURNING s.item_id, s.slot, i.number)
INSERT INTO tracequill.annotation_answers (
    answer_id, queue_id, item_id, slot, person, "values", shown_at, submitted_at, keys)
SELECT gen_random_uuid(), $1, item_id, slot, $4,
       jsonb_build_object('quality', jsonb_build_object('label',
           CASE WHEN (number % 3 = 0) = (number % 10 < $5::int) THEN 'bad' ELSE 'good' END)),
       now() - interval '3 seconds', now(), 2
FROM used
"""
_DONE = """
UPDATE tracequill.annotation_items SET done_at = now() WHERE queue_id = $1 AND number <= $2
"""


def seconds_of(waited: Waited) -> dict[str, Any]:
    """Give it as it stands in the JSON file."""
    found: dict[str, Any] = {"seconds": round(waited.seconds, 3), "count": waited.count}
    return found | ({"refused": waited.refused} if waited.refused else {})
