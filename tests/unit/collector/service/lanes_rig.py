"""Lanes over a real queue: opened, filled and worked off, turn by turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.unit.collector.queue.records import CAP, record, texts
from tracequill_collector.queue import checkpoint as checkpoints
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.service.lanes import Lanes
from tracequill_collector.service.work import Batch, Outcome

NAME = "postgres"
SPLIT_BYTES = 2_000


@asynccontextmanager
async def opened(folder: Path, split_bytes: int = SPLIT_BYTES) -> AsyncIterator[Lanes]:
    """Open the lanes of the queue in *folder*; leaving is as a crash: nothing more is written."""
    lanes = await Lanes.open(folder, NAME, keep_seconds=0, split_bytes=split_bytes)
    try:
        yield lanes
    finally:
        await lanes.close()


async def put(writer: QueueWriter, prefix: str, count: int) -> list[str]:
    """Write *count* records; give their names."""
    names = [f"{prefix} {number}" for number in range(count)]
    for name in names:
        await writer.consume(record(name, length=100))
    return names


async def give(lanes: Lanes, max_records: int = 1) -> Batch | None:
    """Read one batch without waiting."""
    return await lanes.read(max_records=max_records, max_bytes=CAP, wait_seconds=0)


async def work_off(lanes: Lanes, turns: int = 10_000, max_records: int = 1) -> list[str]:
    """Read and be done, batch by batch, until nothing comes or *turns* are over."""
    found: list[str] = []
    for _ in range(turns):
        batch = await give(lanes, max_records)
        if batch is None:
            # Lanes that have just become one give nothing in that turn.
            batch = await give(lanes, max_records)
            if batch is None:
                break
        found += texts(batch.records)
        await batch.source.done(batch, Outcome())
    return found


def consumers(folder: Path) -> set[str]:
    """Give the names of the consumers of the queue in *folder*."""
    return set(checkpoints.load_all(Disk(), folder))
