"""Stored spans per second: stock Phoenix, ours with senders going on, ours with a backlog.

Senders keep a bounded number of spans ahead of what is stored, for both systems: there is always
work, and nobody is held up by more requests than it can take.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.ingest.meter import (
    BACKENDS,
    POSTGRES,
    FindGroups,
    Groups,
    Usage,
    fixed,
    metered,
)
from bench.ingest.progress import Progress, backend_pids, count_spans, until_stored, watched
from bench.ingest.sender import Order, Report
from bench.ingest.sending import new_salt, sending
from bench.ingest.servers import (
    BenchError,
    Collector,
    Databases,
    running_collector,
    running_phoenix,
)
from bench.ingest.spans import SPANS_A_TRACE

TRACES = 170
"""Of a request: 510 spans, as many as an SDK sends at once (512)."""
IN_FLIGHT = 4
MAX_BEHIND_SPANS = 12_000
PHOENIX_MAX_BEHIND_SPANS = 1_500
RECEIVER, EXPORTER = "receiver", "exporter"
PHOENIX, SENDER = "Phoenix", "sender"
_WARM_SECONDS = 3.0
_BACKLOG_SECONDS = 300.0


@dataclass(slots=True)
class Stored:
    """What was stored, how fast, and at what cost."""

    spans: int
    spans_per_second: float
    windows: list[float]
    """The rates of equal parts of the time."""
    usage: Usage
    report: Report = field(repr=False)


async def measure_phoenix(
    databases: Databases, folder: Path, *, seconds: float, window_seconds: float
) -> Stored:
    """Measure stock Phoenix on a database of its own.

    No more is ahead of it than it stores in some seconds: flooded it stores less, because accepting
    and storing share its one thread.
    """
    stored_file = folder / "phoenix.stored.json"
    async with (
        databases.fresh("phoenix") as url,
        running_phoenix(url, folder) as phoenix,
        watched(url, stored_file=stored_file) as progress,
    ):
        order = _held_back(
            _order(phoenix.grpc_address, seconds), stored_file, PHOENIX_MAX_BEHIND_SPANS
        )
        pids = {PHOENIX: phoenix.process.pid, POSTGRES: databases.postgres.pid}
        return await _sustain(order, folder, progress, fixed(pids), seconds, window_seconds)


async def measure_sustained(
    databases: Databases, folder: Path, *, seconds: float, window_seconds: float
) -> Stored:
    """Measure receiver and exporter on a fresh database while senders go on."""
    async with (
        databases.fresh("sustained") as url,
        running_collector(folder, url) as collector,
        watched(url) as progress,
    ):
        find = groups_of(databases, url, collector)
        order = _held_back(
            _order(collector.grpc_address, seconds), collector.status_file, MAX_BEHIND_SPANS
        )
        return await _sustain(order, folder, progress, find, seconds, window_seconds)


async def fill_queue(collector: Collector, folder: Path, spans: int) -> Report:
    """Send *spans* to a receiver whose exporter does not run yet."""
    order = _order(collector.grpc_address, _BACKLOG_SECONDS, spans=spans)
    async with sending(order, folder) as sender:
        return await sender.result()


async def measure_drain(databases: Databases, url: str, folder: Path, spans: int) -> Stored:
    """Measure how fast the exporter stores what waits in the queue; the rows stay in *url*."""
    collector = Collector(folder, url, is_synced=True)
    try:
        await collector.start_receiver()
        report = await fill_queue(collector, folder, spans)
        async with watched(url) as progress:
            await collector.start_exporter()
            async with metered(groups_of(databases, url, collector)) as usage:
                count = report.acknowledged_spans
                began = time.monotonic(), progress.stored
                await until_stored(progress, count, _BACKLOG_SECONDS)
            ended = progress.moment_of(count)
    finally:
        await collector.stop()
    await check_count(url, count)
    rate = (count - began[1]) / (ended - began[0])
    return Stored(count - began[1], rate, [rate], usage, report)


async def measure_growth(databases: Databases, folder: Path, *, spans: int, bucket: int) -> Stored:
    """Measure from an empty database to *spans*; the windows are buckets of so many spans."""
    async with (
        databases.fresh("growth") as url,
        running_collector(folder, url) as collector,
        watched(url) as progress,
    ):
        order = _order(collector.grpc_address, 4 * _BACKLOG_SECONDS, spans=spans)
        order = _held_back(order, collector.status_file, MAX_BEHIND_SPANS)
        async with sending(order, folder) as sender:
            async with metered(groups_of(databases, url, collector, sender.pid)) as usage:
                report = await sender.result()
                count = report.acknowledged_spans
                await until_stored(progress, count, _BACKLOG_SECONDS)
        await check_count(url, count)
    moments = [report.began]
    moments += [progress.moment_of(stored) for stored in range(bucket, spans + 1, bucket)]
    windows = [bucket / (ended - began) for began, ended in itertools.pairwise(moments)]
    rate = count / (progress.moment_of(count) - report.began)
    return Stored(count, rate, windows, usage, report)


# --- parts ----------------------------------------------------------------------------------


def groups_of(
    databases: Databases, url: str, collector: Collector, sender_pid: int = 0
) -> FindGroups:
    """Give a way to find the processes that take part."""
    assert collector.receiver is not None and collector.exporter is not None
    receiver_pid, exporter_pid = collector.receiver.pid, collector.exporter.pid

    async def find() -> Groups:
        groups = {
            RECEIVER: [receiver_pid],
            EXPORTER: [exporter_pid],
            BACKENDS: await backend_pids(url),
            POSTGRES: [databases.postgres.pid],
        }
        return groups | {SENDER: [sender_pid]} if sender_pid else groups

    return find


async def check_count(url: str, expected: int) -> None:
    """Raise a BenchError when the rows are not as many as were acknowledged."""
    if (found := await count_spans(url)) != expected:
        raise BenchError(f"{expected} spans were acknowledged and {found} are stored")


def _order(address: str, seconds: float, *, spans: int = 10**12) -> Order:
    return Order(
        address=address,
        salt=new_salt(),
        traces=TRACES,
        in_flight=IN_FLIGHT,
        seconds=_WARM_SECONDS + seconds,
        spans=-(-spans // (TRACES * SPANS_A_TRACE)) * TRACES * SPANS_A_TRACE,
    )


def _held_back(order: Order, stored_file: Path, max_behind_spans: int) -> Order:
    return replace(order, stored_file=str(stored_file), max_behind_spans=max_behind_spans)


async def _sustain(
    order: Order,
    folder: Path,
    progress: Progress,
    find: FindGroups,
    seconds: float,
    window_seconds: float,
) -> Stored:
    async with sending(order, folder) as sender:
        await asyncio.sleep(_WARM_SECONDS)
        began = time.monotonic()
        async with metered(_and_sender(find, sender.pid)) as usage:
            await asyncio.sleep(seconds)
        ended = time.monotonic()
        # Everything is answered for before the server goes away.
        report = await sender.result()
    count = max(1, round(seconds / window_seconds))
    moments = [began + (ended - began) * place / count for place in range(count + 1)]
    windows = [progress.rate(a, b) for a, b in itertools.pairwise(moments)]
    stored = round(progress.stored_at(ended) - progress.stored_at(began))
    return Stored(stored, progress.rate(began, ended), windows, usage, report)


def _and_sender(find: FindGroups, pid: int) -> FindGroups:
    async def find_all() -> Groups:
        return {**await find(), SENDER: [pid]}

    return find_all
