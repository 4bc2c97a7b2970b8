"""Consumers that begin at the end, that may lag, that take over from each other; and the past."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.collector.queue.records import CAP, read_all, record, texts
from tracequill_collector.errors import QueueFullError, RetryableError
from tracequill_collector.queue import checkpoint as checkpoints
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.history import HistoryReader, oldest_record
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.queue.segment import list_segments, segment_name
from tracequill_collector.queue.writer import QueueWriter

_SECOND_NS = 10**9


async def _writer(folder: Path, max_bytes: int = CAP) -> QueueWriter:
    return await QueueWriter.open(folder, max_bytes=max_bytes, segment_bytes=1000)


async def _put(writer: QueueWriter, *names: str) -> None:
    for name in names:
        await writer.consume(record(name, length=100))


async def _put_in_the_end(writer: QueueWriter, name: str) -> None:
    """A full queue looks for room ten times a second."""
    async with asyncio.timeout(10):
        while True:
            with suppress(QueueFullError):
                return await _put(writer, name)
            await asyncio.sleep(0.02)


def _names(count: int, prefix: str = "old") -> list[str]:
    return [f"{prefix} {number}" for number in range(count)]


async def test_a_consumer_that_begins_at_the_end_sees_only_what_comes_later(tmp_path: Path) -> None:
    writer = await _writer(tmp_path)
    await _put(writer, *_names(20))
    live = await QueueReader.open(tmp_path, consumer="live", start_at="end")
    await _put(writer, "new")

    found = await read_all(live)

    assert texts(found) == ["new"]
    assert live.first_sequence == found[0].sequence == 20
    await writer.close()
    await live.close()


async def test_where_a_consumer_began_survives_a_restart(tmp_path: Path) -> None:
    writer = await _writer(tmp_path)
    await _put(writer, *_names(7))
    live = await QueueReader.open(tmp_path, consumer="live", start_at="end")
    await live.close()
    await _put(writer, "new")

    live = await QueueReader.open(tmp_path, consumer="live", start_at="end")

    assert live.first_sequence == 7
    assert texts(await read_all(live)) == ["new"]
    await live.close()
    await writer.close()


async def test_a_consumer_that_began_at_the_end_holds_no_older_segment(tmp_path: Path) -> None:
    writer = await _writer(tmp_path)
    main = await QueueReader.open(tmp_path, consumer="main")
    await _put(writer, *_names(40))
    live = await QueueReader.open(tmp_path, consumer="live", start_at="end")
    await read_all(main, 40)

    await main.commit(40)

    assert len(list_segments(Disk(), tmp_path)) == 1
    await live.close()
    await main.close()
    await writer.close()


async def test_reading_below_a_sequence_ends_there(tmp_path: Path) -> None:
    writer = await _writer(tmp_path)
    await _put(writer, *_names(10))
    main = await QueueReader.open(tmp_path, consumer="main")

    found = await main.read(max_records=99, max_bytes=CAP, wait_seconds=0, below=6)
    more = await main.read(max_records=99, max_bytes=CAP, wait_seconds=5, below=6)

    assert texts(found) == _names(6)
    assert more == []
    assert main.position == 6
    await main.close()
    await writer.close()


async def test_a_consumer_goes_on_where_the_one_ahead_of_it_is(tmp_path: Path) -> None:
    writer = await _writer(tmp_path)
    main = await QueueReader.open(tmp_path, consumer="main")
    await _put(writer, *_names(30))
    live = await QueueReader.open(tmp_path, consumer="live", start_at="end")
    await _put(writer, *_names(30, "live"))
    await read_all(live, 25)
    await live.commit(55)
    while await main.read(max_records=9, max_bytes=CAP, wait_seconds=0, below=live.first_sequence):
        await main.commit(main.position)

    await main.continue_from(live)

    assert main.next_sequence == 55
    assert list(checkpoints.load_all(Disk(), tmp_path)) == ["main"]
    assert texts(await read_all(main)) == _names(30, "live")[25:]
    await main.commit(60)
    assert len(list_segments(Disk(), tmp_path)) == 1
    await main.close()
    await writer.close()


async def test_a_takeover_cut_off_before_its_last_step_is_done_again(tmp_path: Path) -> None:
    class Failing(Disk):
        fails = False

        def remove(self, path: Path) -> None:
            if self.fails and path.name == "live.json":
                raise OSError("gone")
            super().remove(path)

    disk = Failing()
    writer = await _writer(tmp_path)
    main = await QueueReader.open(tmp_path, consumer="main", disk=disk)
    live = await QueueReader.open(tmp_path, consumer="live", start_at="end", disk=disk)
    await _put(writer, *_names(5))
    await read_all(live, 5)
    await live.commit(5)
    disk.fails = True
    with pytest.raises(RetryableError, match="gone"):
        await main.continue_from(live)
    await main.close()
    await live.close()
    disk.fails = False

    main = await QueueReader.open(tmp_path, consumer="main")
    live = await QueueReader.open(tmp_path, consumer="live", start_at="end")
    await main.continue_from(live)

    assert main.next_sequence == 5
    assert await read_all(main) == []
    await main.close()
    await writer.close()


async def test_a_takeover_before_its_time_is_refused(tmp_path: Path) -> None:
    writer = await _writer(tmp_path)
    main = await QueueReader.open(tmp_path, consumer="main")
    await _put(writer, "old")
    live = await QueueReader.open(tmp_path, consumer="live", start_at="end")

    with pytest.raises(ValueError, match="1 was the beginning"):
        await main.continue_from(live)

    await main.close()
    await live.close()
    await writer.close()


async def test_a_consumer_that_may_lag_is_not_waited_for_when_room_is_needed(
    tmp_path: Path,
) -> None:
    writer = await _writer(tmp_path, max_bytes=5_000)
    main = await QueueReader.open(tmp_path, consumer="main", keep_seconds=3600)
    slow = await QueueReader.open(tmp_path, consumer="slow", may_lag=True, keep_seconds=3600)
    for name in _names(60):
        await _put_in_the_end(writer, name)
        await read_all(main, 1)
        await main.commit(main.position)

    found = await read_all(slow)

    assert slow.lost_records == 60 - len(found) > 0
    assert texts(found) == _names(60)[-len(found) :]
    await slow.close()
    await main.close()
    await writer.close()


async def test_when_all_may_lag_they_are_waited_for(tmp_path: Path) -> None:
    writer = await _writer(tmp_path, max_bytes=3_000)
    slow = await QueueReader.open(tmp_path, consumer="slow", may_lag=True)

    with pytest.raises(RetryableError, match="cap"):
        await _put(writer, *_names(60))

    await slow.close()
    await writer.close()


async def test_may_lag_can_be_changed(tmp_path: Path) -> None:
    for may_lag in (True, False):
        reader = await QueueReader.open(tmp_path, consumer="test", may_lag=may_lag)
        await reader.close()

        stored = checkpoints.load(tmp_path, "test")

        assert stored is not None
        assert stored.may_lag is may_lag


async def _history(folder: Path, since: int = 0, below: int = 2**62) -> list[str]:
    history = HistoryReader(folder, since_unix_ns=since, below_sequence=below)
    found = []
    while some := await history.read(max_records=3, max_bytes=CAP):
        found += texts(some)
    assert history.progress == 1.0
    history.close()
    return found


async def test_the_past_is_read_from_a_moment_up_to_a_sequence(tmp_path: Path) -> None:
    writer = await _writer(tmp_path)
    start = record().received_unix_ns
    for number, name in enumerate(_names(40)):
        sent = record(name, length=100)
        await writer.consume(replace(sent, received_unix_ns=start + number * _SECOND_NS))

    found = await _history(tmp_path, since=start + 11 * _SECOND_NS, below=33)

    assert found == _names(40)[11:33]
    oldest = oldest_record(tmp_path)
    assert oldest is not None and oldest.record.received_unix_ns == start
    await writer.close()


async def test_the_past_goes_on_where_it_was_left(tmp_path: Path) -> None:
    writer = await _writer(tmp_path)
    await _put(writer, *_names(40))
    first = HistoryReader(tmp_path, since_unix_ns=0, below_sequence=40)
    given = texts(await first.read(max_records=17, max_bytes=CAP))
    first.close()

    second = HistoryReader(
        tmp_path, since_unix_ns=0, below_sequence=40, from_sequence=first.next_sequence
    )
    rest = texts(await second.read(max_records=99, max_bytes=CAP))
    second.close()

    assert given + rest == _names(40)
    await writer.close()


async def test_a_segment_that_is_removed_meanwhile_is_skipped(tmp_path: Path) -> None:
    writer = await _writer(tmp_path)
    await _put(writer, *_names(40))
    history = HistoryReader(tmp_path, since_unix_ns=0, below_sequence=40)
    begun = texts(await history.read(max_records=1, max_bytes=CAP))
    second = list(list_segments(Disk(), tmp_path))[1]
    (tmp_path / segment_name(second)).unlink()
    third = list(list_segments(Disk(), tmp_path))[1]

    rest = texts(await history.read(max_records=99, max_bytes=CAP))

    assert begun + rest == _names(40)[:second] + _names(40)[third:]
    history.close()
    await writer.close()


async def test_an_empty_queue_has_no_past(tmp_path: Path) -> None:
    assert await _history(tmp_path) == []
    assert oldest_record(tmp_path) is None
