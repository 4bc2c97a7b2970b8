"""How long a sender waits for its answer, and how long until its spans are in the tables.

Requests leave by the clock, whether or not the one before was answered. Visible is what another
connection to Postgres sees, looked for fifty times a second.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.ingest.meter import Usage, metered
from bench.ingest.sender import Order, Report
from bench.ingest.sending import new_salt, sending
from bench.ingest.servers import BenchError, Connection, Databases, connected, running_collector
from bench.ingest.spans import SPANS_A_TRACE, ids_of
from bench.ingest.storing import groups_of

_LOOK_SECONDS = 0.02
_WARM_SECONDS = 2.0
_IN_FLIGHT = 64
_PATIENCE_SECONDS = 60.0
_NEW = """
SELECT id, span_id FROM spans WHERE id > $1
UNION ALL
SELECT id, span_id FROM spans WHERE id = ANY($2::int[])
"""


@dataclass(slots=True)
class Answers:
    """What senders saw at one rate."""

    spans_per_second: float
    spans_a_request: int
    acknowledged_ms: list[float] = field(repr=False)
    visible_ms: list[float] = field(repr=False)
    """From the answer until the whole request is in the tables."""
    held_back_requests: int
    refused_requests: int
    usage: Usage


async def measure_answers(
    databases: Databases,
    folder: Path,
    *,
    spans_per_second: float,
    traces: int,
    seconds: float,
    is_synced: bool = True,
) -> Answers:
    """Send requests of *traces* traces at a rate, with the queue's syncs or without them."""
    async with (
        databases.fresh("answers") as url,
        running_collector(folder, url, is_synced=is_synced) as collector,
    ):
        order = Order(
            address=collector.grpc_address,
            salt=new_salt(),
            traces=traces,
            in_flight=_IN_FLIGHT,
            seconds=_WARM_SECONDS + seconds,
            spans_per_second=spans_per_second,
        )
        seen: dict[str, float] = {}
        async with connected(url) as connection, asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(_look(connection, seen))
            async with sending(order, folder) as sender:
                async with metered(groups_of(databases, url, collector, sender.pid)) as usage:
                    report = await sender.result()
            await _until_seen(seen, report.acknowledged_spans)
            looking.cancel()
    return _answers(order, report, seen, usage)


async def _look(connection: Connection, seen: dict[str, float]) -> None:
    highest = 0
    # Transactions that run side by side may commit in another order than that of their row ids.
    left_out: set[int] = set()
    while True:
        found = await connection.fetch(_NEW, highest, list(left_out))
        now = time.monotonic()
        seen.update((record["span_id"], now) for record in found)
        if ids := {record["id"] for record in found}:
            left_out |= set(range(highest + 1, max(ids) + 1))
            left_out -= ids
            highest = max(highest, *ids)
        await asyncio.sleep(_LOOK_SECONDS)


async def _until_seen(seen: dict[str, float], count: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while len(seen) < count:
        if time.monotonic() > deadline:
            raise BenchError(f"only {len(seen)} of {count} acknowledged spans became visible")
        await asyncio.sleep(_LOOK_SECONDS)


def _answers(order: Order, report: Report, seen: dict[str, float], usage: Usage) -> Answers:
    warm = report.began + _WARM_SECONDS
    taken = [one for one in report.acknowledged if one[1] >= warm]
    visible_ms = [
        (max(seen[span] for span in ids_of(order.salt, number, order.traces).span_ids()) - answered)
        * 1000
        for number, _, answered in taken
    ]
    return Answers(
        spans_per_second=order.spans_per_second,
        spans_a_request=order.traces * SPANS_A_TRACE,
        acknowledged_ms=[(answered - sent) * 1000 for _, sent, answered in taken],
        visible_ms=visible_ms,
        held_back_requests=report.held_back_requests,
        refused_requests=sum(report.answers.values()) - len(report.acknowledged),
        usage=usage,
    )
