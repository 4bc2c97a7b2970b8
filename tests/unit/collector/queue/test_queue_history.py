"""The past of a queue under clocks that were set, damage, removal, a failing disk."""

from __future__ import annotations

import asyncio
import errno
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.collector.queue.records import CAP, record, texts
from tracequill_collector.errors import RetryableError
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.frame import encode
from tracequill_collector.queue.history import HistoryReader, oldest_record
from tracequill_collector.queue.segment import SegmentWriter, segment_name

_HOUR_NS = 3_600 * 10**9
_DAY_NS = 24 * _HOUR_NS
_NOW_NS = 1_790_000_000 * 10**9


def _segments(folder: Path, clocks: list[list[int]]) -> None:
    """Write a segment for each list, whose records are received when it says; each has its time.

    A segment was created when its first record was received. Records are named by their sequence.
    """
    sequence = 0
    for clock in clocks:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("time.time_ns", lambda first=clock[0]: first)
            segment = SegmentWriter.create(Disk(), folder, sequence)
        drafts = [
            encode(replace(record(str(sequence + place), length=100), received_unix_ns=received))
            for place, received in enumerate(clock)
        ]
        segment.write(drafts, sequence)
        segment.close()
        sequence += len(clock)


async def _history(folder: Path, since: int = 0, disk: Disk | None = None) -> list[str]:
    history = HistoryReader(folder, since_unix_ns=since, below_sequence=2**62, disk=disk)
    found = []
    try:
        while some := await history.read(max_records=3, max_bytes=CAP):
            found += texts(some)
    finally:
        history.close()
    return found


class _CountingDisk(Disk):
    """Notes how much was read."""

    read_bytes = 0

    def read_at(self, fd: int, length: int, offset: int) -> bytes:
        """Read."""
        data = super().read_at(fd, length, offset)
        self.read_bytes += len(data)
        return data


async def test_segments_of_an_earlier_time_are_not_read(tmp_path: Path) -> None:
    _segments(tmp_path, [[_NOW_NS + day * _DAY_NS + hour for hour in range(9)] for day in range(9)])
    disk = _CountingDisk()

    found = await _history(tmp_path, since=_NOW_NS + 8 * _DAY_NS, disk=disk)

    assert found == [str(number) for number in range(72, 81)]
    size = (tmp_path / segment_name(0)).stat().st_size
    assert disk.read_bytes < 3 * size


@pytest.mark.parametrize("step", [-3650 * _DAY_NS, -2 * _HOUR_NS, 2 * _HOUR_NS, 3650 * _DAY_NS])
@pytest.mark.parametrize("length", [1, 2])
async def test_a_clock_that_was_wrong_for_a_while_hides_no_record_of_another_time(
    tmp_path: Path, step: int, length: int
) -> None:
    clocks = [[_NOW_NS + hour * _HOUR_NS + minute for minute in range(3)] for hour in range(10)]
    for wrong in range(4, 4 + length):
        clocks[wrong] = [moment + step for moment in clocks[wrong]]
    _segments(tmp_path, clocks)
    received = [moment for clock in clocks for moment in clock]
    for since in sorted(received):
        expected = [str(name) for name, moment in enumerate(received) if moment >= since]

        assert await _history(tmp_path, since=since) == expected


async def test_a_clock_that_was_set_within_a_segment_hides_nothing(tmp_path: Path) -> None:
    early, late = _NOW_NS - 3650 * _DAY_NS, _NOW_NS
    _segments(tmp_path, [[late, early, late + 1], [early, late + 2], [late + 3]])

    assert await _history(tmp_path, since=late) == ["0", "2", "4", "5"]


async def test_damage_costs_only_the_records_it_is_in(tmp_path: Path) -> None:
    _segments(tmp_path, [[_NOW_NS] * 5, [_NOW_NS] * 5, [_NOW_NS] * 5])
    first, second = (tmp_path / segment_name(number) for number in (0, 5))
    data = bytearray(first.read_bytes())
    data[0] ^= 1  # the segment's header
    data[60] ^= 1  # the header of its first frame
    data[-1] ^= 1  # the body of its last frame
    first.write_bytes(data)
    second.write_bytes(second.read_bytes()[:-50])

    assert await _history(tmp_path) == [
        "1",
        "2",
        "3",
        *map(str, range(5, 9)),
        *map(str, range(10, 15)),
    ]
    oldest = oldest_record(tmp_path)
    assert oldest is not None and oldest.record.received_unix_ns == _NOW_NS


async def test_an_emptied_segment_costs_only_its_own_records(tmp_path: Path) -> None:
    _segments(tmp_path, [[_NOW_NS] * 2, [_NOW_NS] * 2, [_NOW_NS] * 2])
    (tmp_path / segment_name(2)).write_bytes(b"")

    assert await _history(tmp_path) == ["0", "1", "4", "5"]


async def test_the_open_segment_is_read_on_when_it_is_removed(tmp_path: Path) -> None:
    _segments(tmp_path, [[_NOW_NS] * 3, [_NOW_NS] * 3])
    history = HistoryReader(tmp_path, since_unix_ns=0, below_sequence=99)
    begun = texts(await history.read(max_records=1, max_bytes=CAP))
    for first in (0, 3):
        (tmp_path / segment_name(first)).unlink()

    rest = texts(await history.read(max_records=9, max_bytes=CAP))

    assert begun + rest == ["0", "1", "2"]
    assert await history.read(max_records=9, max_bytes=CAP) == []
    assert history.progress == 1.0


async def test_what_was_read_before_the_disk_failed_is_given_and_nothing_is_left_out(
    tmp_path: Path,
) -> None:
    class Failing(Disk):
        fails_in = 0

        def read_at(self, fd: int, length: int, offset: int) -> bytes:
            self.fails_in -= 1
            if self.fails_in == 0:
                raise OSError(errno.EIO, "Input/output error")
            return super().read_at(fd, length, offset)

    _segments(tmp_path, [[_NOW_NS] * 3, [_NOW_NS] * 3])
    for fails_in in range(1, 20):
        disk = Failing()
        disk.fails_in = fails_in
        history = HistoryReader(tmp_path, since_unix_ns=0, below_sequence=99, disk=disk)
        found: list[str] = []
        problems: list[str] = []
        while not history.is_at_end:
            try:
                found += texts(await history.read(max_records=9, max_bytes=CAP))
            except RetryableError as error:
                problems.append(str(error))
        history.close()

        assert found == ["0", "1", "2", "3", "4", "5"]
        assert all("cannot be read: Input/output error" in problem for problem in problems)


async def test_a_cancelled_reader_is_closed_only_after_its_last_look(tmp_path: Path) -> None:
    class Slow(Disk):
        def __init__(self) -> None:
            self.is_reading = threading.Event()
            self.goes_on = threading.Event()
            self.outcomes: list[str] = []

        def read_at(self, fd: int, length: int, offset: int) -> bytes:
            self.is_reading.set()
            self.goes_on.wait(10)
            data = super().read_at(fd, length, offset)
            self.outcomes.append("read")
            return data

        def close(self, fd: int) -> None:
            self.outcomes.append("closed")
            super().close(fd)

    _segments(tmp_path, [[_NOW_NS] * 3])
    disk = Slow()
    history = HistoryReader(tmp_path, since_unix_ns=0, below_sequence=99, disk=disk)

    async def read_and_close() -> None:
        try:
            await history.read(max_records=9, max_bytes=CAP)
        finally:
            history.close()

    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(read_and_close())
        await asyncio.to_thread(disk.is_reading.wait, 10)
        reading.cancel()
        await asyncio.sleep(0)
        disk.goes_on.set()

    assert reading.cancelled()
    assert disk.outcomes[-1] == "closed"


async def test_a_long_past_without_a_record_that_is_wanted_comes_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracequill_collector.queue.history._TURN_BYTES", 200)
    _segments(tmp_path, [[_NOW_NS] * 20, [_NOW_NS, _NOW_NS + 5]])

    assert await _history(tmp_path, since=_NOW_NS + 5) == ["21"]
    oldest = oldest_record(tmp_path)
    assert oldest is not None and oldest.record.received_unix_ns == _NOW_NS
