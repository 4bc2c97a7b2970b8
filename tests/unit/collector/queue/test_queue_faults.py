"""A catalogue of single faults: each costs what it must and no more."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from tests.unit.collector.queue.records import CAP, read_all, record, texts
from tracequill_collector.errors import PermanentError, QueueFullError, RetryableError
from tracequill_collector.queue import checkpoint as checkpoints
from tracequill_collector.queue import reserve
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.queue.segment import SEGMENT_HEADER_BYTES, list_firsts, segment_name
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.testing import FailingDisk


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


async def _fill(folder: Path, *names: str) -> None:
    writer = await QueueWriter.open(folder, max_bytes=CAP, segment_bytes=1000)
    for name in names:
        await writer.consume(record(name, length=100))
    await writer.close()


@pytest.mark.parametrize("step", ["create", "write", "sync", "sync_folder"])
@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, QueueFullError),
        (errno.EDQUOT, QueueFullError),
        (errno.EIO, RetryableError),
        (errno.EROFS, RetryableError),
        (errno.EMFILE, RetryableError),
    ],
)
async def test_a_step_that_fails_refuses_its_record_and_no_other(
    tmp_path: Path, step: str, number: int, kind: type[Exception]
) -> None:
    disk = FailingDisk()
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, disk=disk)
    disk.errors[step] = [_error(number)]

    with pytest.raises(RetryableError) as refused:
        await writer.consume(record("refused"))
    await writer.consume(record("kept"))

    assert type(refused.value) is kind
    assert refused.value.delay_seconds in (1, 2, 3)
    assert writer.problem == str(refused.value)
    await writer.close()
    reader = await QueueReader.open(tmp_path, consumer="test")
    assert texts(await read_all(reader))[-1] == "kept"
    await reader.close()


@pytest.mark.parametrize("written", [10, SEGMENT_HEADER_BYTES])
async def test_a_segment_that_could_not_be_written_nor_removed_stands_in_nobodys_way(
    tmp_path: Path, written: int
) -> None:
    disk = FailingDisk()
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, disk=disk)
    disk.short_write = written
    disk.errors = {step: [_error(errno.EROFS)] for step in ("write", "remove")}
    with pytest.raises(RetryableError, match="Read-only file system"):
        await writer.consume(record("refused"))

    await writer.consume(record("kept"))

    await writer.close()
    reader = await QueueReader.open(tmp_path, consumer="test")
    assert texts(await read_all(reader)) == ["kept"]
    await reader.close()


async def test_a_record_that_is_too_large_fails_alone(tmp_path: Path) -> None:
    writer = await QueueWriter.open(tmp_path, max_bytes=100_000)

    results = await asyncio.gather(
        writer.consume(record("one")),
        writer.consume(record(length=200_000)),
        writer.consume(record("two")),
        return_exceptions=True,
    )

    assert [type(result) for result in results] == [type(None), PermanentError, type(None)]
    await writer.close()


@pytest.mark.parametrize("step", ["create", "write", "sync", "rename", "sync_folder"])
async def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one_and_every_segment(
    tmp_path: Path, step: str
) -> None:
    await _fill(tmp_path, *map(str, range(30)))
    disk = FailingDisk()
    reader = await QueueReader.open(tmp_path, consumer="test", disk=disk)
    await read_all(reader, 30)
    before = list_firsts(disk, tmp_path)
    disk.errors[step] = [_error(errno.EIO)]

    with pytest.raises(RetryableError, match="cannot be written: Input/output error"):
        await reader.commit(30)

    assert reader.next_sequence == 0
    assert list_firsts(disk, tmp_path) == before
    stored = checkpoints.load(tmp_path, "test")
    assert stored is not None
    assert stored.next_sequence == (30 if step == "sync_folder" else 0)
    await reader.commit(30)
    assert reader.next_sequence == 30
    assert list_firsts(disk, tmp_path) == before[-1:]
    await reader.close()


@pytest.mark.parametrize("step", ["names", "size"])
async def test_reading_that_fails_can_be_tried_again(tmp_path: Path, step: str) -> None:
    disk = FailingDisk()
    reader = await QueueReader.open(tmp_path, consumer="test", disk=disk)
    await _fill(tmp_path, *map(str, range(30)))
    found = await read_all(reader, 30)
    # At the end of the queue, where every turn looks whether there is more.
    assert await reader.read(max_records=1, max_bytes=CAP, wait_seconds=0) == []
    disk.errors[step] = [_error(errno.EMFILE)]

    with pytest.raises(RetryableError, match="cannot be read: Too many open files"):
        await reader.read(max_records=1, max_bytes=CAP, wait_seconds=0)

    await _fill(tmp_path, "more")
    found += await read_all(reader, 1)
    assert texts(found) == [*map(str, range(30)), "more"]
    await reader.close()


async def test_a_commit_that_cannot_list_the_segments_can_be_tried_again(tmp_path: Path) -> None:
    await _fill(tmp_path, *map(str, range(30)))
    disk = FailingDisk()
    reader = await QueueReader.open(tmp_path, consumer="test", disk=disk)
    await read_all(reader, 30)
    disk.errors["names"] = [_error(errno.EMFILE)]

    with pytest.raises(RetryableError, match="Too many open files"):
        await reader.commit(30)

    assert reader.next_sequence == 0
    await reader.commit(30)
    assert reader.next_sequence == 30
    await reader.close()


async def test_a_stale_checkpoint_only_costs_duplicates(tmp_path: Path) -> None:
    await _fill(tmp_path, *map(str, range(30)))
    reader = await QueueReader.open(tmp_path, consumer="test")
    await read_all(reader, 30)
    await reader.commit(5)
    stale = checkpoints.checkpoint_path(tmp_path, "test").read_bytes()
    await reader.commit(20)
    await reader.close()
    checkpoints.checkpoint_path(tmp_path, "test").write_bytes(stale)
    oldest = list_firsts(Disk(), tmp_path)[0]

    reader = await QueueReader.open(tmp_path, consumer="test")

    assert texts(await read_all(reader)) == [str(number) for number in range(oldest, 30)]
    assert oldest <= 20
    await reader.close()


async def test_a_segment_that_holds_nothing_legible_is_kept_and_not_written_over(
    tmp_path: Path,
) -> None:
    garbage = bytes(range(1, 256)) * 20
    (tmp_path / segment_name(0)).write_bytes(garbage)
    reader = await QueueReader.open(tmp_path, consumer="test")

    await _fill(tmp_path, "after")

    assert texts(await read_all(reader, 1)) == ["after"]
    (kept,) = (tmp_path / "quarantine").glob("*.bad")
    assert kept.read_bytes() == garbage[40:]
    assert (tmp_path / segment_name(0)).read_bytes() == garbage
    await reader.close()


async def test_a_new_consumer_of_an_emptied_queue_counts_nothing_as_lost(tmp_path: Path) -> None:
    await _fill(tmp_path, "one", "two")
    first = await QueueReader.open(tmp_path, consumer="first")
    await read_all(first, 2)
    await first.commit(2)
    (tmp_path / segment_name(0)).unlink()

    second = await QueueReader.open(tmp_path, consumer="second")
    await _fill(tmp_path, "three")

    assert texts(await read_all(second, 1)) == ["three"]
    assert second.lost_records == 0
    await first.close()
    await second.close()


async def test_a_checkpoint_that_cannot_be_read_makes_no_room_and_stops_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracequill_collector.queue.room._LOOK_SECONDS", 0.0)
    writer = await QueueWriter.open(tmp_path, max_bytes=20_000, segment_bytes=2_000)
    reader = await QueueReader.open(tmp_path, consumer="test", keep_seconds=3600)
    for number in range(10):
        await writer.consume(record(str(number), length=500))
    await read_all(reader, 10)
    await reader.commit(10)
    path = checkpoints.checkpoint_path(tmp_path, "test")
    content = path.read_bytes()
    path.unlink()
    path.mkdir()

    with pytest.raises(QueueFullError):
        while True:
            await writer.consume(record(length=500))
    path.rmdir()
    path.write_bytes(content)

    await writer.consume(record("after", length=500))
    await reader.close()
    await writer.close()


def test_a_reserve_that_cannot_be_made_whole_is_not_there(tmp_path: Path) -> None:
    class Full(Disk):
        def allocate(self, fd: int, length: int) -> None:
            raise _error(errno.ENOSPC)

    reserve.hold(Full(), tmp_path)

    assert list(tmp_path.iterdir()) == []
