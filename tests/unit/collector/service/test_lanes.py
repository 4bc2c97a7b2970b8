"""Lanes over a real queue: live records beside a backlog, and nothing left out by any crash."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.unit.collector.queue.records import CAP, record, texts
from tracequill_collector.errors import RetryableError
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.queue import checkpoint as checkpoints
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.segment import list_firsts, segment_name
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.service import lanes as module
from tracequill_collector.service.lanes import Lanes, done_by
from tracequill_collector.service.work import Batch, Outcome

_NAME = "postgres"
_SPLIT_BYTES = 2_000
_T = TypeVar("_T")


@pytest.fixture(autouse=True)
def _looks_at_every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.0)


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[QueueWriter]:
    """The writer of the queue in the test's folder."""
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, segment_bytes=1_000)
    yield writer
    await writer.close()


@asynccontextmanager
async def opened(folder: Path, split_bytes: int = _SPLIT_BYTES) -> AsyncIterator[Lanes]:
    """Open the lanes of the queue in *folder*; leaving is as a crash: nothing more is written."""
    lanes = await Lanes.open(folder, _NAME, keep_seconds=0, split_bytes=split_bytes)
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


async def test_a_short_backlog_is_one_lane_in_order(tmp_path: Path, writer: QueueWriter) -> None:
    names = await put(writer, "a", 5)

    async with opened(tmp_path) as lanes:
        found = await work_off(lanes)

        assert not lanes.is_split
    assert found == names


async def test_new_records_do_not_wait_for_a_backlog(tmp_path: Path, writer: QueueWriter) -> None:
    old = await put(writer, "old", 60)
    async with opened(tmp_path) as lanes:
        first = await work_off(lanes, turns=1)
        new = await put(writer, "new", 12)

        found = await work_off(lanes, turns=16)
        assert lanes.is_split
        found += first + await work_off(lanes)

        assert [name for name in found[:16] if name in new] == new
        assert not lanes.is_split
    assert sorted(found) == sorted(old + new)


@pytest.mark.parametrize(("age_seconds", "is_split"), [(60, True), (0, False), (-3600, False)])
async def test_new_records_do_not_wait_for_a_smaller_backlog_that_is_old(
    tmp_path: Path,
    writer: QueueWriter,
    monkeypatch: pytest.MonkeyPatch,
    age_seconds: int,
    is_split: bool,
) -> None:
    monkeypatch.setattr(module, "_OLD_SPLIT_BYTES", _SPLIT_BYTES)
    received = time.time_ns() - age_seconds * 10**9
    for _ in range(40):
        await writer.consume(Record(RecordKind.OTLP_TRACES, received, b"x" * 100))
    async with opened(tmp_path, split_bytes=CAP) as lanes:
        await give(lanes)
        assert not lanes.is_split, "no age is known before the first record"

        await give(lanes)

        assert lanes.is_split is is_split


async def test_a_few_old_records_are_one_lane(tmp_path: Path, writer: QueueWriter) -> None:
    names = await put(writer, "old", 40)
    async with opened(tmp_path, split_bytes=CAP) as lanes:
        found = [await give(lanes) for _ in range(40)]

        assert lanes.age_seconds > 3600
        assert not lanes.is_split
    assert [name for batch in found if batch for name in texts(batch.records)] == names


async def test_lost_records_are_counted_in_both_lanes_and_after_they_joined(
    tmp_path: Path, writer: QueueWriter
) -> None:
    await put(writer, "old", 40)
    async with opened(tmp_path) as lanes:
        found = await work_off(lanes, turns=2)
        assert lanes.is_split
        await put(writer, "new", 30)
        firsts = list_firsts(Disk(), tmp_path)
        # In the midst of the backlog, at its end, and of what came since.
        gone = [firsts[2], max(first for first in firsts if first < 40), firsts[-2]]
        for first in gone:
            (tmp_path / segment_name(first)).unlink()

        found += await work_off(lanes)

        assert not lanes.is_split
    assert lanes.lost_records == 70 - len(found) >= len(gone)


async def test_each_lane_keeps_its_order(tmp_path: Path, writer: QueueWriter) -> None:
    old = await put(writer, "old", 40)
    async with opened(tmp_path) as lanes:
        found = await work_off(lanes, turns=1)
        new = await put(writer, "new", 30)
        found += await work_off(lanes)

    assert [name for name in found if name in old] == old
    assert [name for name in found if name in new] == new


async def test_a_backlog_gets_every_fourth_turn_while_new_records_never_end(
    tmp_path: Path, writer: QueueWriter
) -> None:
    await put(writer, "old", 60)
    async with opened(tmp_path) as lanes:
        await work_off(lanes, turns=1)
        found = []
        for number in range(40):
            await put(writer, f"new {number}", 2)
            found += await work_off(lanes, turns=1)

        assert lanes.is_split
    old_turns = [turn for turn, name in enumerate(found) if name.startswith("old")]
    gaps = [after - before for before, after in itertools.pairwise([-1, *old_turns, len(found)])]
    assert max(gaps) <= 4
    assert len(old_turns) <= 11


async def test_the_lanes_join_when_the_backlog_is_through_and_all_that_was_given_is_done(
    tmp_path: Path, writer: QueueWriter
) -> None:
    await put(writer, "old", 30)
    async with opened(tmp_path) as lanes:
        await work_off(lanes, turns=1)
        await put(writer, "new", 4)
        open_batches = deque[Batch]()
        # The backlog is given to its end, a live batch among what is not done.
        while len(texts([record for batch in open_batches for record in batch.records])) < 33:
            batch = await give(lanes)
            assert batch is not None
            open_batches.append(batch)
        await put(writer, "newer", 1)

        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(give(lanes))
            while len(open_batches) > 1:
                batch = open_batches.popleft()
                await batch.source.done(batch, Outcome())
            done, _ = await asyncio.wait({reading}, timeout=0.05)
            assert not done and lanes.is_split
            batch = open_batches.popleft()
            await batch.source.done(batch, Outcome())
            last = await reading

        assert last is not None and texts(last.records) == ["newer 0"]
        assert not lanes.is_split
        assert lanes.next_sequence == 34
        assert consumers(tmp_path) == {_NAME}


def consumers(folder: Path) -> set[str]:
    """Give the names of the consumers of the queue in *folder*."""
    return set(checkpoints.load_all(Disk(), folder))


async def test_a_restart_in_two_lanes_goes_on_in_two(tmp_path: Path, writer: QueueWriter) -> None:
    old = await put(writer, "old", 40)
    async with opened(tmp_path) as lanes:
        found = await work_off(lanes, turns=1)
        new = await put(writer, "new", 8)
        found += await work_off(lanes, turns=5)

    async with opened(tmp_path) as lanes:
        assert lanes.is_split
        ahead = await work_off(lanes, turns=5)
        found += ahead + await work_off(lanes)

    assert len([name for name in ahead if name in new]) >= 3
    assert sorted(found) == sorted(old + new)


async def test_what_was_given_and_not_done_is_given_again(
    tmp_path: Path, writer: QueueWriter
) -> None:
    await put(writer, "old", 40)
    async with opened(tmp_path) as lanes:
        await work_off(lanes, turns=1)
        await put(writer, "new", 8)
        given = [await give(lanes) for _ in range(8)]

    async with opened(tmp_path) as lanes:
        again = await work_off(lanes)

    lost = {name for batch in given if batch for name in texts(batch.records)} - set(again)
    assert lost == set()


async def test_two_lanes_whose_backlog_was_through_join_at_the_first_turn(
    tmp_path: Path, writer: QueueWriter
) -> None:
    old = await put(writer, "old", 30)
    async with opened(tmp_path) as lanes:
        found = await work_off(lanes, turns=1)
        found += await work_off(lanes, turns=29)
        assert lanes.is_split
    new = await put(writer, "new", 3)

    async with opened(tmp_path) as lanes:
        assert lanes.is_split
        found += await work_off(lanes)
        assert not lanes.is_split

    assert found == old + new


async def test_after_a_crash_between_the_two_steps_of_joining_it_is_finished(
    tmp_path: Path, writer: QueueWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await put(writer, "old", 30)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with opened(tmp_path) as lanes:
        found = await work_off(lanes, turns=30)
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "remove", fail)
            with pytest.raises(RetryableError, match="Input/output error"):
                await give(lanes)
    assert consumers(tmp_path) == {_NAME, f"{_NAME}-live"}
    new = await put(writer, "new", 3)

    async with opened(tmp_path) as lanes:
        found += await work_off(lanes)

    assert found == old + new
    assert consumers(tmp_path) == {_NAME}


async def test_on_a_full_disk_the_backlog_goes_on_in_one_lane(
    tmp_path: Path, writer: QueueWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = await put(writer, "a", 40)
    store = checkpoints.store

    def full_for_the_live_lane(disk: Disk, folder: Path, consumer: str, *more: Any) -> None:
        if consumer != _NAME:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        store(disk, folder, consumer, *more)

    monkeypatch.setattr(checkpoints, "store", full_for_the_live_lane)

    async with opened(tmp_path) as lanes:
        found = await work_off(lanes)

        assert not lanes.is_split
    assert found == names


async def test_a_damaged_checkpoint_of_the_live_lane_holds_no_room(
    tmp_path: Path, writer: QueueWriter
) -> None:
    old = await put(writer, "old", 40)
    async with opened(tmp_path) as lanes:
        await work_off(lanes, turns=6)
        assert lanes.is_split
    checkpoints.checkpoint_path(tmp_path, f"{_NAME}-live").write_bytes(b"torn")

    async with opened(tmp_path, split_bytes=CAP) as lanes:
        found = await work_off(lanes)

    assert consumers(tmp_path) == {_NAME}
    assert set(old[6:]) <= set(found)


async def test_a_lost_checkpoint_of_the_backlog_costs_only_repetitions(
    tmp_path: Path, writer: QueueWriter
) -> None:
    old = await put(writer, "old", 30)
    async with opened(tmp_path) as lanes:
        await work_off(lanes, turns=1)
        new = await put(writer, "new", 5)
        found = await work_off(lanes, turns=10)
    checkpoints.checkpoint_path(tmp_path, _NAME).unlink()

    async with opened(tmp_path) as lanes:
        found += await work_off(lanes)

    assert set(found) >= set(old[1:] + new)
    assert consumers(tmp_path) == {_NAME}


async def test_what_is_done_in_any_lane_is_of_the_past(tmp_path: Path, writer: QueueWriter) -> None:
    assert done_by(tmp_path, _NAME) == 0
    await put(writer, "old", 30)
    async with opened(tmp_path) as lanes:
        await work_off(lanes, turns=1)
        await put(writer, "new", 5)
        await work_off(lanes, turns=3)

    # Two of the three turns were live ones.
    assert done_by(tmp_path, _NAME) == 32


async def test_the_age_is_that_of_the_oldest_record_that_is_not_done(
    tmp_path: Path, writer: QueueWriter
) -> None:
    now = time.time_ns()
    async with opened(tmp_path) as lanes:
        assert lanes.age_seconds == 0
        for seconds in (100, 50):
            received = now - seconds * 10**9
            await writer.consume(Record(RecordKind.OTLP_TRACES, received, b"x"))
        first, second = await give(lanes), await give(lanes)
        assert first is not None and second is not None
        assert 100 <= lanes.age_seconds < 140

        await first.source.done(first, Outcome())
        assert 50 <= lanes.age_seconds < 90
        await second.source.done(second, Outcome())
        assert lanes.age_seconds == 0


async def test_beside_a_backlog_the_age_is_the_backlogs(
    tmp_path: Path, writer: QueueWriter
) -> None:
    hour_ago = time.time_ns() - 3600 * 10**9
    for _ in range(40):
        await writer.consume(Record(RecordKind.OTLP_TRACES, hour_ago, b"x" * 100))
    async with opened(tmp_path) as lanes:
        await work_off(lanes, turns=1)
        await writer.consume(Record(RecordKind.OTLP_TRACES, time.time_ns(), b"x"))

        batch = await give(lanes)

        assert lanes.is_split and batch is not None
        assert lanes.age_seconds >= 3600


async def test_an_age_is_never_negative(tmp_path: Path, writer: QueueWriter) -> None:
    ahead = time.time_ns() + 3600 * 10**9
    await writer.consume(Record(RecordKind.OTLP_TRACES, ahead, b"x"))
    async with opened(tmp_path) as lanes:
        assert await give(lanes) is not None

        assert lanes.age_seconds == 0


class _Crash(BaseException):
    """The process ends here."""


class _Lanes(RuleBasedStateMachine):
    """Writing, reading as the export loop does, and crashes before and after each durable step."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._folder = Path(tempfile.mkdtemp())
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(module, "_LOOK_SECONDS", 0.0)
        self._steps_to_crash: int | None = None
        self._crash_after = False
        for name in ("store", "remove"):
            self._patch.setattr(checkpoints, name, self._crashing(getattr(checkpoints, name)))
        self._numbers = itertools.count()
        self._written: set[str] = set()
        self._done: set[str] = set()
        self._open = deque[Batch]()
        self._last: dict[int, int] = {}
        self._lanes: Lanes | None = None
        self._writer = self._run(QueueWriter.open(self._folder, max_bytes=CAP, segment_bytes=1_000))

    def _run(self, awaitable: Awaitable[_T]) -> _T:
        async def run() -> _T:
            async with asyncio.timeout(20):
                return await awaitable

        return self._runner.run(run())

    def _crashing(self, step: Callable[..., None]) -> Callable[..., None]:
        def crashing(*arguments: Any) -> None:
            is_due = self._steps_to_crash == 0
            if self._steps_to_crash is not None:
                self._steps_to_crash -= 1
            if is_due and not self._crash_after:
                raise _Crash
            step(*arguments)
            if is_due:
                raise _Crash

        return crashing

    @rule(count=st.integers(1, 12), length=st.sampled_from([1, 100, 400]))
    def write(self, count: int, length: int) -> None:
        for _ in range(count):
            text = f"r{next(self._numbers)}"
            self._run(self._writer.consume(record(text, length=length)))
            self._written.add(text)

    @rule(max_records=st.integers(1, 8))
    def read(self, max_records: int) -> None:
        # One is stored, one waits, one is interpreted: no more are ever out.
        if len(self._open) < 3:
            self._process(self._read(max_records))

    @precondition(lambda self: self._open)
    @rule()
    def done(self) -> None:
        self._process(self._finish())

    @rule(steps=st.integers(0, 6), after=st.booleans())
    def crash_soon(self, steps: int, after: bool) -> None:
        self._steps_to_crash, self._crash_after = steps, after

    @rule()
    def crash(self) -> None:
        self._end_process()

    def teardown(self) -> None:
        try:
            self._steps_to_crash = None
            for _ in range(2_000):
                self._process(self._read(8))
                while self._open:
                    self._process(self._finish())
                if self._is_through():
                    break
            assert self._written <= self._done
            assert self._is_through()
            assert consumers(self._folder) <= {_NAME}
        finally:
            self._end_process()
            self._run(self._writer.close())
            self._patch.undo()
            self._runner.close()
            shutil.rmtree(self._folder)

    def _is_through(self) -> bool:
        assert self._lanes is not None
        return not self._lanes.is_split and self._lanes.next_sequence == len(self._written)

    def _process(self, action: Awaitable[None]) -> None:
        """Do *action* in the process, which may end by it."""
        try:
            self._run(action)
        except _Crash:
            self._steps_to_crash = None
            self._end_process()

    def _end_process(self) -> None:
        if self._lanes is not None:
            self._run(self._lanes.close())
        self._lanes = None
        self._open.clear()
        self._last.clear()

    async def _read(self, max_records: int) -> None:
        if self._lanes is None:
            self._lanes = await Lanes.open(
                self._folder, _NAME, keep_seconds=0, split_bytes=_SPLIT_BYTES
            )
        # Joining waits for what is out, which is done meanwhile.
        reading = asyncio.ensure_future(give(self._lanes, max_records))
        try:
            while self._open and not (await asyncio.wait({reading}, timeout=0.2))[0]:
                await self._finish()
            batch = await reading
        finally:
            if not reading.done():
                reading.cancel()
                await asyncio.wait({reading})
        if batch is not None:
            sequences = [item.sequence for item in batch.records]
            assert sequences == sorted(sequences)
            assert sequences[0] > self._last.get(id(batch.source), -1)
            self._last[id(batch.source)] = sequences[-1]
            self._open.append(batch)

    async def _finish(self) -> None:
        batch = self._open.popleft()
        # Stored first, then said to be done: a crash between costs a repetition.
        self._done.update(texts(batch.records))
        await batch.source.done(batch, Outcome())


TestLanesUnderCrashes = _Lanes.TestCase
TestLanesUnderCrashes.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
