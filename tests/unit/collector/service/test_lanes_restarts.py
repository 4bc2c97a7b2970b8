"""No crash, restart or damage leaves a record out of both lanes."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.unit.collector.queue.records import CAP, record, texts
from tests.unit.collector.service.lanes_rig import (
    NAME,
    SPLIT_BYTES,
    consumers,
    give,
    opened,
    put,
    work_off,
)
from tracequill_collector.errors import RetryableError
from tracequill_collector.queue import checkpoint as checkpoints
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.service import lanes as module
from tracequill_collector.service.lanes import Lanes
from tracequill_collector.service.work import Batch, Outcome

pytestmark = pytest.mark.usefixtures("looks_at_every_turn")

_T = TypeVar("_T")


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
    assert consumers(tmp_path) == {NAME, f"{NAME}-live"}
    new = await put(writer, "new", 3)

    async with opened(tmp_path) as lanes:
        found += await work_off(lanes)

    assert found == old + new
    assert consumers(tmp_path) == {NAME}


async def test_on_a_full_disk_the_backlog_goes_on_in_one_lane(
    tmp_path: Path, writer: QueueWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = await put(writer, "a", 40)
    store = checkpoints.store

    def full_for_the_live_lane(disk: Disk, folder: Path, consumer: str, *more: Any) -> None:
        if consumer != NAME:
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
    checkpoints.checkpoint_path(tmp_path, f"{NAME}-live").write_bytes(b"torn")

    async with opened(tmp_path, split_bytes=CAP) as lanes:
        found = await work_off(lanes)

    assert consumers(tmp_path) == {NAME}
    assert set(old[6:]) <= set(found)


async def test_a_lost_checkpoint_of_the_backlog_costs_only_repetitions(
    tmp_path: Path, writer: QueueWriter
) -> None:
    old = await put(writer, "old", 30)
    async with opened(tmp_path) as lanes:
        await work_off(lanes, turns=1)
        new = await put(writer, "new", 5)
        found = await work_off(lanes, turns=10)
    checkpoints.checkpoint_path(tmp_path, NAME).unlink()

    async with opened(tmp_path) as lanes:
        found += await work_off(lanes)

    assert set(found) >= set(old[1:] + new)
    assert consumers(tmp_path) == {NAME}


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
            assert consumers(self._folder) <= {NAME}
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
                self._folder, NAME, keep_seconds=0, split_bytes=SPLIT_BYTES
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
