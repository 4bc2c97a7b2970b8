from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tracequill_collector.errors import StartError
from tracequill_collector.queue.lock import FolderLock


async def test_a_second_holder_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    lock = await FolderLock.acquire(tmp_path / "writer.lock", role="writer")

    with pytest.raises(StartError, match=f"already has a writer, process {os.getpid()}. Stop"):
        await FolderLock.acquire(tmp_path / "writer.lock", role="writer", wait_seconds=0)

    lock.release()


async def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    first = await FolderLock.acquire(tmp_path / "writer.lock", role="writer")
    first.release()
    first.release()

    second = await FolderLock.acquire(tmp_path / "writer.lock", role="writer", wait_seconds=0)

    second.release()


async def test_a_dying_predecessor_is_waited_for(tmp_path: Path) -> None:
    first = await FolderLock.acquire(tmp_path / "writer.lock", role="writer")
    async with asyncio.TaskGroup() as tasks:
        second = tasks.create_task(
            FolderLock.acquire(tmp_path / "writer.lock", role="writer", wait_seconds=10)
        )
        await asyncio.sleep(0)
        assert not second.done()
        first.release()

    second.result().release()
