"""How many spans are stored, as time goes on: rows that other transactions see, not answers.

Ours are counted by the highest row id, which costs Postgres nothing at any size; ids that a failed
transaction has left out would count too, so the count is checked at the end. Phoenix's few rows are
counted one by one.
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
_HIGHEST_ID = "SELECT coalesce(max(id), 0) FROM spans"
_COUNT = "SELECT count(*) FROM spans"
_OTHERS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> $1
ORDER BY backend_start LIMIT 1
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
async def watched(
    url: str, *, is_counted: bool = False, stored_file: Path | None = None
) -> AsyncIterator[Progress]:
    """Watch the spans of the database at *url*; tell senders of them in *stored_file*."""
    progress = Progress()
    async with connected(url) as connection, asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(_watch(connection, progress, is_counted, stored_file))
        try:
            yield progress
        finally:
            watching.cancel()


async def _watch(
    connection: Connection, progress: Progress, is_counted: bool, stored_file: Path | None
) -> None:
    while True:
        stored = await connection.fetchval(_COUNT if is_counted else _HIGHEST_ID)
        progress.samples.append((time.monotonic(), stored))
        if stored_file is not None:
            write_status(stored_file, {"stored_spans": stored})
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
        return int(await connection.fetchval(_COUNT))


async def backend_pid(url: str) -> int:
    """Give the process of Postgres that works for the exporter."""
    async with connected(url) as connection:
        pid = await connection.fetchval(_OTHERS, APPLICATION)
    if pid is None:
        raise BenchError("the exporter has no connection to Postgres")
    return int(pid)
