"""The recorder by itself: how many exchanges a second it makes spans of, and what is left waiting.

First from a full queue, with a core of its own. Then at a rate below that, written by the clock:
what has been written and not yet arrived at the collector must not grow.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.ingest.meter import Usage, fixed, metered
from bench.ingest.servers import HOST, BenchError, free_ports, stop
from bench.proxy.exchanges import SEED, fresh, make_templates
from bench.proxy.processes import Process, last_lines, launch
from bench.proxy.upstreams import counts, running_collector
from tracequill_collector.exchange import Exchange
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.status import read_status

RECORDER = "recorder"
_QUEUE_BYTES = 4 * 1024**3
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 120.0
_STEP_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Drained:
    """One full queue."""

    exchanges: int
    seconds: float
    usage: Usage


@dataclass(slots=True)
class Paced:
    """One rate, kept for a while."""

    per_second: float
    seconds: float
    waiting: list[int] = field(default_factory=list)
    """Exchanges written and not yet at the collector, four looks a second."""
    usage: Usage = field(default_factory=Usage)

    @property
    def first(self) -> float:
        """What waited in the first third, as the median."""
        return statistics.median(self.waiting[: max(1, len(self.waiting) // 3)])

    @property
    def last(self) -> float:
        """What waited in the last third, as the median."""
        return statistics.median(self.waiting[-max(1, len(self.waiting) // 3) :])


async def measure_drained(
    folder: Path, *, exchanges: int, rounds: int, say: Callable[[str], None]
) -> list[Drained]:
    """Fill a queue and let the recorder empty it, *rounds* times."""
    templates = await make_templates()
    found = []
    for number in range(rounds):
        one = await _drain(folder / f"drained{number}", templates, exchanges)
        found.append(one)
        say(f"recorder, from a full queue: {one.exchanges / one.seconds:,.0f} exchanges/s")
    return found


async def measure_paced(
    folder: Path, *, per_second: float, seconds: float, say: Callable[[str], None]
) -> Paced:
    """Write *per_second* exchanges for *seconds* beside a recorder."""
    templates = await make_templates()
    data_dir = folder / "paced"
    [port] = free_ports(1)
    paced = Paced(per_second, seconds)
    queue = await _open(data_dir)
    try:
        async with running_collector(data_dir, port):
            recorder = await _start(data_dir, port)
            try:
                await _until_it_records(data_dir)
                async with metered(fixed({RECORDER: recorder.pid})) as usage:
                    await _write_by_the_clock(queue, templates, paced, port)
                paced.usage = usage
            finally:
                await stop(recorder)
    finally:
        await queue.close()
    say(
        f"recorder at {per_second:,.0f} exchanges/s: {paced.first:.0f} waiting at first, "
        f"{paced.last:.0f} at last, {max(paced.waiting)} at most"
    )
    return paced


async def _write_by_the_clock(
    queue: QueueWriter, templates: list[Exchange], paced: Paced, port: int
) -> None:
    source = fresh(templates, random.Random(SEED))
    began = time.monotonic()
    written = 0
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(_look(paced, lambda: written, port))
        while (spent := time.monotonic() - began) < paced.seconds:
            due = int(spent * paced.per_second)
            for exchange in itertools.islice(source, due - written):
                queue.append(_record(exchange))
            written = due
            await asyncio.sleep(_STEP_SECONDS)
        looking.cancel()


async def _look(paced: Paced, written: Callable[[], int], port: int) -> None:
    while True:
        await asyncio.sleep(0.25)
        paced.waiting.append(written() - (await counts(port)).get("traces", 0))


async def _drain(data_dir: Path, templates: list[Exchange], exchanges: int) -> Drained:
    queue = await _open(data_dir)
    try:
        source = fresh(templates, random.Random(SEED))
        for exchange in itertools.islice(source, exchanges):
            queue.append(_record(exchange))
    finally:
        await queue.close()
    [port] = free_ports(1)
    async with running_collector(data_dir, port):
        recorder = await _start(data_dir, port)
        try:
            first = await _until(port, 1)
            async with metered(fixed({RECORDER: recorder.pid})) as usage:
                before, began = (await counts(port))["traces"], time.monotonic()
                await _until(port, exchanges)
                seconds = time.monotonic() - began
        finally:
            await stop(recorder)
    assert first
    return Drained(exchanges - before, seconds, usage)


async def _until_it_records(data_dir: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while read_status(data_dir / "proxy" / "recorder.status.json") is None:
        if time.monotonic() > deadline:
            raise BenchError(f"the recorder did not start: {last_lines(data_dir / 'recorder.log')}")
        await asyncio.sleep(_POLL_SECONDS)


async def _until(port: int, traces: int) -> int:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (found := (await counts(port)).get("traces", 0)) < traces:
        if time.monotonic() > deadline:
            raise BenchError(f"only {found} of {traces} exchanges were recorded")
        await asyncio.sleep(_POLL_SECONDS)
    return found


async def _open(data_dir: Path) -> QueueWriter:
    data_dir.mkdir(parents=True, exist_ok=True)
    return await QueueWriter.open(data_dir / "proxy" / "queue", max_bytes=_QUEUE_BYTES)


async def _start(data_dir: Path, collector_port: int) -> Process:
    return await launch(
        [sys.executable, "-m", "tracequill_collector.service.recorder"],
        data_dir / "recorder.log",
        role="gateway",
        variables={
            "TRACEQUILL_DATA_DIR": str(data_dir),
            "TRACEQUILL_COLLECTOR_URL": f"http://{HOST}:{collector_port}",
        },
    )


def _record(exchange: Exchange) -> Record:
    return Record(RecordKind.EXCHANGE, exchange.start_unix_ns, exchange.to_bytes())
