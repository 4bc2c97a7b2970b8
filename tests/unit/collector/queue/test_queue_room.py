"""The byte cap, the part of the disk that is left to others, the reserve; and what gives room."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.unit.collector.queue.records import CAP, read_all, record, texts
from tests.unit.collector.queue.small_disk import SmallDisk
from tracequill_collector.errors import QueueFullError, RetryableError
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.queue.segment import list_segments, segment_name
from tracequill_collector.queue.writer import QueueWriter


class _Measuring(Disk):
    """Notes what all segments take after each write."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.most = 0

    def write(self, fd: int, buffers: Sequence[bytes | memoryview]) -> int:
        taken = super().write(fd, buffers)
        self.most = max(self.most, sum(list_segments(Disk(), self._folder).values()))
        return taken


async def test_under_tenfold_overload_the_cap_holds_and_nothing_acknowledged_is_lost(
    tmp_path: Path,
) -> None:
    """Ten senders for each record that is read; those that are refused send again."""
    cap = 50_000
    disk = _Measuring(tmp_path)
    writer = await QueueWriter.open(tmp_path, max_bytes=cap, disk=disk, segment_bytes=5_000)
    reader = await QueueReader.open(tmp_path, consumer="test", keep_seconds=3600)
    acknowledged: list[str] = []
    got: list[str] = []
    refused = 0
    is_over = False

    async def send(sender: int) -> None:
        nonlocal refused
        number = 0
        while not is_over:
            name = f"{sender}/{number}"
            try:
                if sender % 10:
                    await writer.consume(record(name, length=1000))
                else:
                    writer.append(record(name, length=1000))
            except QueueFullError:
                refused += 1
                await asyncio.sleep(0.001)
            else:
                acknowledged.append(name)
                number += 1

    async def read() -> None:
        nonlocal is_over
        try:
            while len(got) < 200 or not refused:
                got.extend(texts(await reader.read(max_records=4, max_bytes=CAP, wait_seconds=5)))
                await reader.commit(reader.position)
        finally:
            is_over = True

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(read())
        for sender in range(40):
            tasks.create_task(send(sender))
    got += texts(await read_all(reader))
    await reader.close()
    await writer.close()

    assert 0.8 * cap < disk.most <= cap
    assert sorted(got) == sorted(acknowledged)


async def test_the_headers_of_segments_count_too(tmp_path: Path) -> None:
    """Every record gets a segment of its own here."""
    writer = await QueueWriter.open(tmp_path, max_bytes=10_000, segment_bytes=1)

    results = await asyncio.gather(
        *(writer.consume(record(length=100)) for _ in range(100)), return_exceptions=True
    )

    sizes = list_segments(Disk(), tmp_path)
    assert len(sizes) == results.count(None) > 30
    assert sum(sizes.values()) <= 10_000
    await writer.close()


async def test_a_refusal_waits_for_no_sync(tmp_path: Path) -> None:
    """A full queue looks for room ten times a second, and in between it answers at once."""
    writer = await QueueWriter.open(tmp_path, max_bytes=20_000)
    with pytest.raises(QueueFullError):
        while True:
            await writer.consume(record(length=1000))
    is_held, goes_on = threading.Event(), threading.Event()
    writer._room._looked_at = time.monotonic() + 60

    def hold() -> None:
        is_held.set()
        goes_on.wait(60)

    writer._thread.submit(hold)
    await asyncio.to_thread(is_held.wait, 10)

    async with asyncio.timeout(20):
        with pytest.raises(QueueFullError):
            await writer.consume(record(length=1000))

    goes_on.set()
    await writer.close()


async def test_what_is_only_kept_for_a_replay_refuses_no_record(tmp_path: Path) -> None:
    writer = await QueueWriter.open(tmp_path, max_bytes=80_000, segment_bytes=10_000)
    reader = await QueueReader.open(tmp_path, consumer="test", keep_seconds=3600)
    for number in range(200):
        await writer.consume(record(str(number), length=1000))
        await read_all(reader, 1)
        await reader.commit(number + 1)

    kept = list_segments(Disk(), tmp_path)

    assert 40_000 < sum(kept.values()) <= 80_000
    assert min(kept) > 0
    await reader.close()
    await writer.close()


async def test_a_disk_that_fills_up_takes_what_is_only_kept_before_a_record_is_refused(
    tmp_path: Path,
) -> None:
    disk = SmallDisk(tmp_path, capacity=100_000)
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, disk=disk, segment_bytes=10_000)
    reader = await QueueReader.open(tmp_path, consumer="test", disk=disk, keep_seconds=3600)
    for number in range(200):
        await writer.consume(record(str(number), length=1000))
        await read_all(reader, 1)
        await reader.commit(number + 1)

    assert disk.most_used <= 100_000 * 0.96
    await reader.close()
    await writer.close()


async def test_a_disk_that_others_fill_is_refused_early_and_taken_again_alone(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "queue"
    disk = SmallDisk(tmp_path, capacity=1_000_000)
    writer = await QueueWriter.open(folder, max_bytes=CAP, disk=disk, segment_bytes=20_000)
    reader = await QueueReader.open(folder, consumer="test", disk=disk)
    await writer.consume(record("before"))
    other = tmp_path / "other"
    other.write_bytes(bytes(1_000_000 - disk.used - 30_000))
    used = disk.used

    with pytest.raises(QueueFullError, match="30000 bytes free, of which 50000 are left to others"):
        await writer.consume(record("refused"))
    with pytest.raises(QueueFullError, match="are left to others"):
        writer.append(record("refused"))
    assert disk.used == used, "something was written"
    assert texts(await read_all(reader)) == ["before"]
    await reader.commit(1)
    other.unlink()

    await writer.consume(record("after"))

    assert texts(await read_all(reader, 1)) == ["after"]
    await reader.close()
    await writer.close()


# --- the reserve ------------------------------------------------------------------------


def _fill(disk: SmallDisk) -> None:
    """Leave not one byte."""
    with (disk.root / "others").open("ab") as file:
        file.write(bytes((disk.capacity or 0) - disk.used))


async def _idle(writer: QueueWriter) -> None:
    """Wait until room was made ahead, and the reserve with it."""
    await asyncio.to_thread(writer._thread.submit(lambda: None).result)


async def test_on_a_full_disk_a_checkpoint_is_still_written_and_gives_room(tmp_path: Path) -> None:
    folder = tmp_path / "queue"
    disk = SmallDisk(tmp_path, capacity=1_000_000)
    writer = await QueueWriter.open(folder, max_bytes=CAP, disk=disk, segment_bytes=20_000)
    reader = await QueueReader.open(folder, consumer="test", disk=disk)
    for number in range(100):
        await writer.consume(record(str(number), length=1000))
    await read_all(reader, 100)
    await _idle(writer)
    assert (folder / "reserve").exists()
    _fill(disk)

    await reader.commit(100)

    assert not (folder / "reserve").exists()
    assert list(list_segments(disk, folder)) == [95]
    await reader.close()
    reader = await QueueReader.open(folder, consumer="test", disk=disk)
    assert reader.next_sequence == 100
    (tmp_path / "others").unlink()
    for number in range(50):
        await writer.consume(record(str(number), length=1000))
    await reader.close()
    await _idle(writer)
    await writer.close()
    assert (folder / "reserve").exists(), "the reserve did not come back"


async def test_without_a_reserve_a_checkpoint_on_a_full_disk_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "queue"
    disk = SmallDisk(tmp_path, capacity=1_000_000)
    writer = await QueueWriter.open(folder, max_bytes=CAP, disk=disk)
    reader = await QueueReader.open(folder, consumer="test", disk=disk)
    await writer.consume(record("one"))
    await read_all(reader, 1)
    await _idle(writer)
    (folder / "reserve").unlink()
    _fill(disk)

    with pytest.raises(RetryableError, match=r"cannot be written: No space left on device"):
        await reader.commit(1)
    (tmp_path / "others").unlink()
    await reader.commit(1)

    assert reader.next_sequence == 1
    await reader.close()
    await writer.close()


async def test_on_a_full_disk_damaged_bytes_are_still_put_aside(tmp_path: Path) -> None:
    folder = tmp_path / "queue"
    disk = SmallDisk(tmp_path, capacity=1_000_000)
    writer = await QueueWriter.open(folder, max_bytes=CAP, disk=disk)
    for name in ("one", "two", "three"):
        await writer.consume(record(name))
    await writer.close()
    path = folder / segment_name(0)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"two", b"t-o"))
    reader = await QueueReader.open(folder, consumer="test", disk=disk)
    _fill(disk)

    found = await read_all(reader, 2)

    assert texts(found) == ["one", "three"]
    (kept,) = (folder / "quarantine").glob("*.bad")
    assert b"t-o" in kept.read_bytes()
    await reader.close()


def test_on_a_full_disk_a_dead_letter_is_still_written(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path, capacity=1_000_000)
    letters = DeadLetters(tmp_path / "dead-letters", disk=disk)
    letters.hold_reserve()
    letters.hold_reserve()
    _fill(disk)

    letter_id = letters.add(record("poison"), "the span has no name.")

    found = letters.show(letter_id)
    assert found is not None
    assert found[1] == record("poison")
    with pytest.raises(RetryableError, match="No space left on device"):
        letters.add(record("too large", length=500_000), "the span has no name.")
    assert len(letters.list()) == 1


def test_the_reserve_takes_little_of_a_small_disk_and_nothing_of_a_full_one(
    tmp_path: Path,
) -> None:
    disk = SmallDisk(tmp_path, capacity=1_000_000)
    letters = DeadLetters(tmp_path / "dead-letters", disk=disk)
    _fill(disk)
    letters.hold_reserve()
    assert not (tmp_path / "dead-letters" / "reserve").exists()
    (tmp_path / "others").unlink()

    letters.hold_reserve()

    assert (tmp_path / "dead-letters" / "reserve").stat().st_size == 1_000_000 // 64
