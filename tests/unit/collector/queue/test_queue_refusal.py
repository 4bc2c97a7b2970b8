"""What a refused record leaves behind: nothing, at once.

An exception that a frame holds, and that holds the frame by its traceback, is only freed when the
garbage collector comes by. It counts objects and not bytes: hundreds of refused requests would stay
in memory until then.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.collector.queue.records import CAP, record
from tracequill_collector.errors import QueueFullError, RetryableError
from tracequill_collector.pipeline import Record
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.testing import FailingDisk

REFUSALS = 20
# The thread that writes still knows what it was given last.
FEW = 5


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


async def refused(writer: QueueWriter, one: Record) -> RetryableError:
    """Consume *one*, which is refused."""
    try:
        await writer.consume(one)
    except RetryableError as error:
        return type(error)(str(error))
    raise AssertionError("it was not refused")


async def test_a_record_that_a_full_queue_refuses_is_not_held(tmp_path: Path) -> None:
    writer = await QueueWriter.open(tmp_path, max_bytes=100_000)
    one = record(length=60_000)
    await writer.consume(one)
    await asyncio.sleep(0)
    held = sys.getrefcount(one.payload)

    for _ in range(REFUSALS):
        assert isinstance(await refused(writer, one), QueueFullError)

    assert sys.getrefcount(one.payload) - held < FEW
    await writer.close()


async def test_a_record_that_a_failing_disk_refuses_is_not_held(tmp_path: Path) -> None:
    disk = FailingDisk()
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, disk=disk)
    one = record(length=60_000)
    held = sys.getrefcount(one.payload)

    for _ in range(REFUSALS):
        disk.errors["sync"] = [OSError(errno.EIO, "Input/output error")]
        await refused(writer, one)
        await asyncio.sleep(0)

    assert sys.getrefcount(one.payload) - held < FEW
    await writer.close()
