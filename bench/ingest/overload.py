"""Ten times more than can be stored: what is refused, what is kept, and what it costs.

Senders take no notice of refusals and go on at their rate with new requests. Every span whose
request was acknowledged is an obligation, and is looked for by its id when the queue is empty.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench.ingest.meter import Usage, metered
from bench.ingest.progress import Progress, count_spans, watched
from bench.ingest.sender import Order, Report
from bench.ingest.sending import new_salt, sending
from bench.ingest.servers import (
    BenchError,
    Collector,
    Databases,
    connected,
    running_collector,
)
from bench.ingest.spans import SPANS_A_TRACE, ids_of
from bench.ingest.storing import TRACES, groups_of
from tracequill_collector.queue.reserve import NAME as RESERVE

IN_FLIGHT = 240
_LOOK_SECONDS = 0.25
_PATIENCE_SECONDS = 180.0
_COMPARE = """
SELECT
    (SELECT count(*) FROM obligations o WHERE NOT EXISTS
        (SELECT FROM spans s WHERE s.span_id = o.span_id)) AS lost,
    (SELECT count(*) FROM (SELECT span_id FROM spans GROUP BY span_id HAVING count(*) > 1) AS more)
        AS stored_twice
"""


@dataclass(slots=True)
class Overload:
    """What an overload led to."""

    offered_spans_per_second: float
    """What the clock asked for; the sender could not hold all of it in its hands."""
    sent_spans: int
    acknowledged_spans: int
    answers: dict[str, int]
    permanent_answers: int
    held_back_requests: int
    lost_spans: int
    twice_stored_spans: int
    stored_spans: int
    stored_per_second_meanwhile: float
    drain_seconds: float
    queue_max_bytes: int
    queue_highest_bytes: int
    usage: Usage


async def measure_overload(
    databases: Databases,
    folder: Path,
    *,
    spans_per_second: float,
    seconds: float,
    queue_max_bytes: int,
) -> Overload:
    """Offer *spans_per_second* to a collector whose queue may take *queue_max_bytes*."""
    async with (
        databases.fresh("overload") as url,
        running_collector(
            folder, url, TRACEQUILL_QUEUE_MAX_BYTES=str(queue_max_bytes)
        ) as collector,
        watched(url) as progress,
    ):
        order = Order(
            address=collector.grpc_address,
            salt=new_salt(),
            traces=TRACES,
            in_flight=IN_FLIGHT,
            seconds=seconds,
            spans_per_second=spans_per_second,
            repeats=False,
        )
        highest = [0]
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(_look(collector.queue_dir, highest))
            async with sending(order, folder) as sender:
                async with metered(groups_of(databases, url, collector, sender.pid)) as usage:
                    report = await sender.result()
            began = time.monotonic()
            await _until_drained(collector, progress)
            drain_seconds = time.monotonic() - began
            looking.cancel()
        lost, twice = await _compare(url, order, report)
        stored = await count_spans(url)
    return Overload(
        offered_spans_per_second=(
            report.offered_spans + report.held_back_requests * report.spans_a_request
        )
        / seconds,
        sent_spans=report.offered_spans,
        acknowledged_spans=report.acknowledged_spans,
        answers=report.answers,
        permanent_answers=report.permanent_answers,
        held_back_requests=report.held_back_requests,
        lost_spans=lost,
        twice_stored_spans=twice,
        stored_spans=stored,
        stored_per_second_meanwhile=progress.rate(report.began, report.ended),
        drain_seconds=drain_seconds,
        queue_max_bytes=queue_max_bytes,
        queue_highest_bytes=highest[0],
        usage=usage,
    )


async def _look(folder: Path, highest: list[int]) -> None:
    while True:
        size = 0
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name == RESERVE:
                    continue
                try:
                    size += entry.stat().st_size
                except FileNotFoundError:  # exported and removed meanwhile
                    continue
        highest[0] = max(highest[0], size)
        await asyncio.sleep(_LOOK_SECONDS)


async def _until_drained(collector: Collector, progress: Progress) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        status = collector.exporter_status() or {}
        if status.get("queue_backlog_bytes") == 0:
            return
        if time.monotonic() > deadline:
            raise BenchError(f"the queue was not empty in time: {progress.stored} spans stored")
        await asyncio.sleep(_LOOK_SECONDS)


async def _compare(url: str, order: Order, report: Report) -> tuple[int, int]:
    """Give how many acknowledged spans are not stored, and how many are stored twice."""
    async with connected(url) as connection:
        await connection.execute("CREATE TEMP TABLE obligations (span_id text)")
        for number, _, _ in report.acknowledged:
            await connection.copy_records_to_table(
                "obligations",
                records=[(one,) for one in ids_of(order.salt, number, order.traces).span_ids()],
            )
        found = await connection.fetchrow(_COMPARE)
    assert found is not None
    assert report.spans_a_request == order.traces * SPANS_A_TRACE
    return int(found["lost"]), int(found["stored_twice"])
