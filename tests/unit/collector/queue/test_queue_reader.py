from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.unit.collector.queue.records import CAP, read_all, record, texts
from tracequill_collector.errors import StartError
from tracequill_collector.pipeline import QueuedRecord
from tracequill_collector.queue.checkpoint import checkpoint_path
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.frame import encode
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.queue.segment import SegmentWriter, list_segments, segment_name
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.testing import FailingDisk


async def _fill(folder: Path, names: list[str], *, segment_bytes: int | None = None) -> None:
    writer = await QueueWriter.open(folder, max_bytes=CAP, segment_bytes=segment_bytes)
    for name in names:
        await writer.consume(record(name))
    await writer.close()


def _names(count: int) -> list[str]:
    return [str(number) for number in range(count)]


async def test_an_empty_queue_gives_nothing_in_time(tmp_path: Path) -> None:
    reader = await QueueReader.open(tmp_path / "queue", consumer="test")

    assert await reader.read(max_records=1, max_bytes=1, wait_seconds=0) == []
    assert await reader.read(max_records=1, max_bytes=1, wait_seconds=0.05) == []
    assert reader.backlog_bytes == 0
    await reader.close()


async def test_a_reader_that_was_there_first_gets_the_first_record(tmp_path: Path) -> None:
    reader = await QueueReader.open(tmp_path, consumer="test")
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(read_all(reader, 1))
        await _fill(tmp_path, ["first"])

    assert texts(reading.result()) == ["first"]
    await reader.close()


async def test_reading_follows_a_live_writer_through_many_segments(tmp_path: Path) -> None:
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, segment_bytes=2000)
    reader = await QueueReader.open(tmp_path, consumer="test")

    async def write() -> None:
        for name in _names(500):
            await writer.consume(record(name))

    found: list[QueuedRecord] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        while len(found) < 500:
            some = await reader.read(max_records=37, max_bytes=CAP, wait_seconds=10)
            assert some, "a record did not come in time"
            found.extend(some)
            await reader.commit(found[-1].sequence + 1)

    assert texts(found) == _names(500)
    await reader.close()
    await writer.close()
    assert len(list_segments(Disk(), tmp_path)) == 1, "consumed segments were not removed"


async def test_both_limits_of_a_read_are_kept(tmp_path: Path) -> None:
    await _fill(tmp_path, _names(10))
    length = encode(record("0")).frame_length
    reader = await QueueReader.open(tmp_path, consumer="test")

    by_count = await reader.read(max_records=3, max_bytes=CAP, wait_seconds=0)
    by_bytes = await reader.read(max_records=100, max_bytes=2 * length, wait_seconds=0)
    at_least_one = await reader.read(max_records=100, max_bytes=1, wait_seconds=0)

    assert [texts(found) for found in (by_count, by_bytes, at_least_one)] == [
        ["0", "1", "2"],
        ["3", "4"],
        ["5"],
    ]
    await reader.close()


async def test_after_a_restart_reading_goes_on_at_what_was_committed(tmp_path: Path) -> None:
    await _fill(tmp_path, _names(10))
    reader = await QueueReader.open(tmp_path, consumer="test")
    await read_all(reader, 10)
    await reader.commit(4)
    await reader.close()
    reader = await QueueReader.open(tmp_path, consumer="test")

    found = await read_all(reader)

    assert texts(found) == _names(10)[4:]
    await reader.close()


async def test_consumers_have_positions_of_their_own(tmp_path: Path) -> None:
    await _fill(tmp_path, _names(4))
    first = await QueueReader.open(tmp_path, consumer="postgres")
    second = await QueueReader.open(tmp_path, consumer="otlp")
    await read_all(first, 4)
    await first.commit(4)

    assert texts(await read_all(second)) == _names(4)
    assert await read_all(first) == []
    await first.close()
    await second.close()


async def test_two_readers_for_one_consumer_are_refused(tmp_path: Path) -> None:
    reader = await QueueReader.open(tmp_path, consumer="test")

    with pytest.raises(StartError, match="already has a reader for 'test'"):
        await QueueReader.open(tmp_path, consumer="test", wait_seconds=0)

    await reader.close()


async def test_what_was_not_handed_out_cannot_be_committed(tmp_path: Path) -> None:
    await _fill(tmp_path, _names(2))
    reader = await QueueReader.open(tmp_path, consumer="test")
    await reader.read(max_records=1, max_bytes=CAP, wait_seconds=0)

    with pytest.raises(ValueError, match="2 was not handed out yet; reading is at 1"):
        await reader.commit(2)

    await reader.close()


async def test_a_consumers_name_cannot_be_a_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot name a consumer"):
        await QueueReader.open(tmp_path, consumer="../x")


async def test_a_cancelled_read_loses_nothing(tmp_path: Path) -> None:
    await _fill(tmp_path, _names(5))
    reader = await QueueReader.open(tmp_path, consumer="test")
    reading = asyncio.ensure_future(reader.read(max_records=5, max_bytes=CAP, wait_seconds=5))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])

    assert texts(await read_all(reader)) == _names(5)
    await reader.close()


# --- checkpoints ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="lost"),
        pytest.param(b"", id="empty"),
        pytest.param(b'{"version": 1, "crc32c": 1, "checkpoint": "{}"}', id="wrong checksum"),
        pytest.param(b"[]", id="another shape"),
    ],
)
async def test_a_lost_checkpoint_only_costs_duplicates(
    tmp_path: Path, content: bytes | None
) -> None:
    await _fill(tmp_path, _names(5))
    reader = await QueueReader.open(tmp_path, consumer="test")
    await read_all(reader, 5)
    await reader.commit(5)
    await reader.close()
    path = checkpoint_path(tmp_path, "test")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    await _fill(tmp_path, ["5"])
    reader = await QueueReader.open(tmp_path, consumer="test")

    found = await read_all(reader)

    assert texts(found) == _names(6)
    assert [item.sequence for item in found] == list(range(6))
    await reader.close()


async def test_a_checkpoint_of_a_newer_version_is_refused_untouched(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path, "test")
    path.parent.mkdir()
    path.write_bytes(json.dumps({"version": 2}).encode())

    with pytest.raises(StartError, match="has version 2; this Tracequill reads version 1"):
        await QueueReader.open(tmp_path, consumer="test")

    assert json.loads(path.read_bytes()) == {"version": 2}


async def test_the_checkpoint_is_durable_before_a_segment_is_removed(tmp_path: Path) -> None:
    await _fill(tmp_path, _names(100), segment_bytes=1000)
    disk = FailingDisk()
    reader = await QueueReader.open(tmp_path, consumer="test", disk=disk)
    await read_all(reader, 100)
    disk.calls.clear()

    await reader.commit(100)

    assert disk.calls[:5] == ["create", "write", "sync", "rename", "sync_folder"]
    assert set(disk.calls[5:]) == {"remove"}
    await reader.close()


async def test_what_a_killed_reader_left_of_a_checkpoint_is_removed_after_a_while(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "consumers"
    folder.mkdir()
    old, fresh = (folder / f".test.json.1-{number:012x}.new" for number in range(2))
    for path in (old, fresh):
        path.write_bytes(b"{")
    os.utime(old, (0, 0))

    await (await QueueReader.open(tmp_path, consumer="test")).close()

    assert not old.exists()
    assert fresh.exists(), "another process may be writing it"


# --- keeping and removing ---------------------------------------------------------------


async def test_a_passed_segment_stays_as_long_as_it_is_kept(tmp_path: Path) -> None:
    await _fill(tmp_path, _names(100), segment_bytes=1000)
    before = list(list_segments(Disk(), tmp_path))
    reader = await QueueReader.open(tmp_path, consumer="test", keep_seconds=3600)
    await read_all(reader, 100)
    await reader.commit(100)
    await reader.close()

    assert list(list_segments(Disk(), tmp_path)) == before
    reader = await QueueReader.open(tmp_path, consumer="test", keep_seconds=0)
    await _fill(tmp_path, ["more"])
    await read_all(reader, 1)
    await reader.commit(101)

    assert list(list_segments(Disk(), tmp_path)) == [100]
    await reader.close()


async def test_a_segment_waits_for_the_slowest_consumer(tmp_path: Path) -> None:
    await _fill(tmp_path, _names(100), segment_bytes=1000)
    count = len(list_segments(Disk(), tmp_path))
    fast = await QueueReader.open(tmp_path, consumer="fast")
    slow = await QueueReader.open(tmp_path, consumer="slow")
    await read_all(fast, 100)
    await fast.commit(100)
    assert len(list_segments(Disk(), tmp_path)) == count

    await read_all(slow, 100)
    await slow.commit(100)

    assert len(list_segments(Disk(), tmp_path)) == 1
    await fast.close()
    await slow.close()


async def test_a_restarted_writer_goes_on_above_all_that_was_passed(tmp_path: Path) -> None:
    await _fill(tmp_path, _names(3))
    reader = await QueueReader.open(tmp_path, consumer="test")
    await read_all(reader, 3)
    await reader.commit(3)
    for first in list_segments(Disk(), tmp_path):
        (tmp_path / segment_name(first)).unlink()

    await _fill(tmp_path, ["new"])

    found = await read_all(reader, 1)
    assert [(item.sequence, texts([item])) for item in found] == [(3, ["new"])]
    await reader.close()


# --- damage -----------------------------------------------------------------------------


def _flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x55
    path.write_bytes(data)


async def test_a_damaged_record_is_stepped_over_and_kept_in_quarantine(tmp_path: Path) -> None:
    await _fill(tmp_path, ["one", "two", "three"])
    path = tmp_path / segment_name(0)
    length = encode(record("one")).frame_length
    original = path.read_bytes()
    _flip(path, 40 + length + 60)
    reader = await QueueReader.open(tmp_path, consumer="test")

    found = await read_all(reader)

    assert texts(found) == ["one", "three"]
    facts = [json.loads(item.read_bytes()) for item in (tmp_path / "quarantine").glob("*.json")]
    assert [(item["sequence"], item["reason"]) for item in facts] == [
        (1, "the body's checksum is wrong.")
    ]
    (kept,) = (tmp_path / "quarantine").glob("*.bad")
    assert len(kept.read_bytes()) == length
    assert (
        sum(a != b for a, b in zip(kept.read_bytes(), original[40 + length :], strict=False)) == 1
    )
    await reader.close()


async def test_a_damaged_end_is_kept_in_quarantine_once_its_segment_is_sealed(
    tmp_path: Path,
) -> None:
    await _fill(tmp_path, ["one", "two"])
    path = tmp_path / segment_name(0)
    _flip(path, path.stat().st_size - 1)
    reader = await QueueReader.open(tmp_path, consumer="test")
    assert texts(await read_all(reader)) == ["one"]
    assert not (tmp_path / "quarantine").exists(), "it may still have been in the making"

    await _fill(tmp_path, ["three"])

    assert texts(await read_all(reader, 1)) == ["three"]
    assert len(list((tmp_path / "quarantine").glob("*.bad"))) == 1
    await reader.close()


async def test_damage_where_records_are_being_written_is_believed_only_when_it_stays(
    tmp_path: Path,
) -> None:
    """A reader may see a later part of a write before an earlier one."""
    await _fill(tmp_path, _names(3))
    path = tmp_path / segment_name(0)
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + bytes(20) + whole[80:])
    reader = await QueueReader.open(tmp_path, consumer="test")
    assert await reader.read(max_records=9, max_bytes=CAP, wait_seconds=0) == []
    path.write_bytes(whole)

    found = await reader.read(max_records=9, max_bytes=CAP, wait_seconds=0)

    assert texts(found) == _names(3)
    assert not (tmp_path / "quarantine").exists()
    await reader.close()


async def test_a_record_in_the_making_is_waited_for(tmp_path: Path) -> None:
    draft = encode(record("slowly", length=500))
    segment = SegmentWriter.create(Disk(), tmp_path, 0)
    frame = draft.head(segment._segment_id, 0) + draft.payload
    segment.close()
    path = tmp_path / segment_name(0)
    reader = await QueueReader.open(tmp_path, consumer="test")
    for start in range(0, len(frame), 50):
        assert await reader.read(max_records=1, max_bytes=CAP, wait_seconds=0) == []
        with path.open("ab") as file:
            file.write(frame[start : start + 50])

    assert texts(await read_all(reader, 1)) == ["slowly"]
    assert not (tmp_path / "quarantine").exists()
    await reader.close()


async def test_a_missing_segment_costs_only_its_own_records(tmp_path: Path) -> None:
    await _fill(tmp_path, _names(60), segment_bytes=1000)
    firsts = list(list_segments(Disk(), tmp_path))
    (tmp_path / segment_name(firsts[1])).unlink()
    reader = await QueueReader.open(tmp_path, consumer="test")

    found = await read_all(reader)

    assert [item.sequence for item in found] == [
        number for number in range(60) if not firsts[1] <= number < firsts[2]
    ]
    await reader.close()


async def test_an_emptied_segment_costs_only_its_own_records(tmp_path: Path) -> None:
    await _fill(tmp_path, _names(60), segment_bytes=1000)
    firsts = list(list_segments(Disk(), tmp_path))
    (tmp_path / segment_name(firsts[1])).write_bytes(b"")
    reader = await QueueReader.open(tmp_path, consumer="test")

    found = await read_all(reader)

    assert len(found) == 60 - (firsts[2] - firsts[1])
    await reader.close()


async def test_a_duplicated_segment_gives_nothing_twice(tmp_path: Path) -> None:
    await _fill(tmp_path, _names(60), segment_bytes=1000)
    firsts = list(list_segments(Disk(), tmp_path))
    copy = tmp_path / segment_name(firsts[1] + 1)
    copy.write_bytes((tmp_path / segment_name(firsts[1])).read_bytes())
    reader = await QueueReader.open(tmp_path, consumer="test")

    found = await read_all(reader)

    assert [item.sequence for item in found] == list(range(60))
    await reader.close()


async def test_a_segment_of_an_unknown_version_is_refused(tmp_path: Path) -> None:
    import struct

    import google_crc32c

    await _fill(tmp_path, ["one"])
    path = tmp_path / segment_name(0)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 8, 9)
    struct.pack_into("<I", data, 36, google_crc32c.value(bytes(data[:36])))
    path.write_bytes(data)

    with pytest.raises(StartError, match="format version 9"):
        await QueueReader.open(tmp_path, consumer="test")
    with pytest.raises(StartError, match="format version 9"):
        await QueueWriter.open(tmp_path, max_bytes=CAP)

    assert path.read_bytes() == bytes(data)
