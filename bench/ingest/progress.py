"""How many spans are stored, as time goes on: rows that other transactions see, not answers.

Only the newest rows are counted each time, which costs Postgres as little at any size. Transactions
that run side by side may commit in another order than that of their row ids, so the newest are more
than any of them can hold.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.ingest.servers import APPLICATION, BenchError, Connection, connected
from tracequill_collector.status import write_status

_LOOK_SECONDS = 0.25
# Several batches of the exporter.
_NEWEST_ROWS = 16_000
_COUNT_ALL = "SELECT count(*) FROM spans"
_COUNT = "SELECT count(*), coalesce(max(id), 0) FROM spans WHERE id > $1"
_COUNT_BETWEEN = "SELECT count(*) FROM spans WHERE id > $1 AND id <= $2"
_OTHERS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> $1
"""


@dataclass(slots=True)
class Progress:
    """Moments of the monotonic clock, each with the spans stored by then."""

    samples: list[tuple[float, int]] = field(default_factory=list)

    @property
    def stored(self) -> int:
        return self.samples[-1][1] if self.samples else 0

    def stored_at(self, moment: float) -> float:
        """Give the spans stored at *moment*, between two samples by the straight line."""
        place = bisect.bisect(self.samples, (moment, 1 << 60))
        if place == 0:
            return float(self.samples[0][1])
        if place == len(self.samples):
            return float(self.samples[-1][1])
        (before, low), (after, high) = self.samples[place - 1], self.samples[place]
        return low + (high - low) * (moment - before) / (after - before)

    def moment_of(self, stored: int) -> float:
        """Give when *stored* spans were there."""
        for (before, low), (after, high) in itertools.pairwise(self.samples):
            if high >= stored > low:
                return before + (after - before) * (stored - low) / (high - low)
        raise BenchError(f"{stored} spans were never stored")

    def rate(self, began: float, ended: float) -> float:
        """Give the spans stored a second between two moments."""
        return (self.stored_at(ended) - self.stored_at(began)) / (ended - began)


@contextlib.asynccontextmanager
async def watched(url: str, *, stored_file: Path | None = None) -> AsyncIterator[Progress]:
    """Watch the spans of the database at *url*; tell senders of them in *stored_file*."""
    progress = Progress()
    async with connected(url) as connection, asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(_watch(connection, progress, stored_file))
        try:
            yield progress
        finally:
            watching.cancel()


async def _watch(connection: Connection, progress: Progress, stored_file: Path | None) -> None:
    settled_id = settled = 0
    while True:
        newest, highest = await connection.fetchrow(_COUNT, settled_id) or (0, 0)
        progress.samples.append((time.monotonic(), settled + newest))
        if stored_file is not None:
            write_status(stored_file, {"stored_spans": settled + newest})
        if highest - settled_id > 2 * _NEWEST_ROWS:
            until = highest - _NEWEST_ROWS
            settled += await connection.fetchval(_COUNT_BETWEEN, settled_id, until)
            settled_id = until
        await asyncio.sleep(_LOOK_SECONDS)


async def until_stored(progress: Progress, count: int, seconds: float) -> None:
    """Return when *count* spans are stored."""
    deadline = time.monotonic() + seconds
    while progress.stored < count:
        if time.monotonic() > deadline:
            raise BenchError(f"only {progress.stored} of {count} spans were stored in time")
        await asyncio.sleep(_LOOK_SECONDS / 2)


async def count_spans(url: str) -> int:
    """Count the rows."""
    async with connected(url) as connection:
        return int(await connection.fetchval(_COUNT_ALL))


async def backend_pids(url: str) -> list[int]:
    """Give the processes of Postgres that work for somebody else than the bench."""
    async with connected(url) as connection:
        return [record["pid"] for record in await connection.fetch(_OTHERS, APPLICATION)]
