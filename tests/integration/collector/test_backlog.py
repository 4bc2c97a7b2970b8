"""A queue full of backlog does not hold up what arrives now."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.integration.collector.replay_rig import execute, queue_now
from tests.integration.collector.test_exporter_process import ExporterProcess
from tests.integration.collector.test_replay import spans_record
from tracequill_collector.queue import checkpoint as checkpoints
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.service import consumers
from tracequill_collector.service.lanes import SPLIT_BYTES, live_name

pytestmark = pytest.mark.integration

_PROMPT = "how long is a piece of string? " * 4_000


async def test_a_fresh_span_is_visible_long_before_the_backlog_is_through_and_a_kill_loses_none(
    phoenix_database: str, tmp_path: Path
) -> None:
    backlog = [
        spans_record(number, 1, "backlog", _PROMPT)
        for number in range(SPLIT_BYTES * 5 // 4 // len(_PROMPT))
    ]
    writer = await QueueWriter.open(tmp_path / "collector" / "queue", max_bytes=1 << 30)
    async with asyncio.TaskGroup() as tasks:
        for share in range(20):
            tasks.create_task(queue_now(writer, backlog[share::20]))
    exporter = ExporterProcess(tmp_path, phoenix_database)
    exporter.start()
    try:
        await _has_lanes(2, tmp_path)
        await queue_now(writer, [spans_record(1_000_000, 1, "fresh")])

        before = await _stored(phoenix_database, 1, "fresh")
        exporter.stop(signal.SIGKILL)
        exporter.start()
        after = await _stored(phoenix_database, len(backlog))
        await _has_lanes(1, tmp_path)
    finally:
        await writer.close()
        code = exporter.stop()

    assert code == 0
    assert before < len(backlog) / 2
    assert after == len(backlog)


async def _has_lanes(count: int, data_dir: Path) -> None:
    """Wait until the exporter has so many lanes."""
    queue = data_dir / "collector" / "queue"
    live = checkpoints.checkpoint_path(queue, live_name(consumers.POSTGRES))
    async with asyncio.timeout(60):
        while True:
            if live.exists() == (count == 2):
                return
            await asyncio.sleep(0.01)


async def _stored(database_url: str, count: int, project: str = "backlog") -> int:
    """Wait for *count* spans of *project*; give how many of the backlog are stored then."""
    async with asyncio.timeout(60):
        while True:
            rows = await execute(
                database_url,
                "SELECT count(*) FILTER (WHERE projects.name = $1) AS wanted, "
                "count(*) FILTER (WHERE projects.name = 'backlog') AS backlog FROM spans "
                "JOIN traces ON traces.id = trace_rowid "
                "JOIN projects ON projects.id = project_rowid",
                project,
            )
            if rows[0]["wanted"] >= count:
                return int(rows[0]["backlog"])
            await asyncio.sleep(0.02)
