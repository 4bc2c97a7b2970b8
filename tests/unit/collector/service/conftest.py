"""A queue of its own for each test, and waiting shortened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.collector.queue.records import CAP
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.service import lanes, onward


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send on again after next to nothing."""
    monkeypatch.setattr(onward, "_FIRST_DELAY_SECONDS", 0.001)
    monkeypatch.setattr(onward, "_MAX_DELAY_SECONDS", 0.01)


@pytest.fixture
def looks_at_every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for a backlog at each turn of the lanes."""
    monkeypatch.setattr(lanes, "_LOOK_SECONDS", 0.0)


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[QueueWriter]:
    """The writer of the queue in the test's folder."""
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, segment_bytes=1_000)
    yield writer
    await writer.close()
