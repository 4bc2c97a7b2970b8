"""The queue over a disk that loses power at any moment, as a state machine.

What was acknowledged is an obligation: it is delivered, however often power or the process is lost.
"""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.unit.collector.queue.losing_disk import LosingDisk
from tests.unit.collector.queue.records import CAP, record, texts
from tracequill_collector.errors import RetryableError
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.queue.writer import QueueWriter

_T = TypeVar("_T")


class _Queue(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        logging.disable(logging.CRITICAL)
        self.loop = asyncio.new_event_loop()
        self.root = Path(tempfile.mkdtemp(prefix="tracequill-queue-"))
        self.folder = self.root / "queue"
        self.disk = LosingDisk()
        self.issued: set[str] = set()
        self.obliged: set[str] = set()
        self.done: set[str] = set()
        self.handed_out: list[tuple[int, str]] = []
        self.count = 0

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run *work* to its end."""
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        """Open both ends."""
        self._open()

    def _open(self) -> None:
        self.writer = self.run(
            QueueWriter.open(
                self.folder, max_bytes=CAP, segment_bytes=3000, disk=self.disk, wait_seconds=0
            )
        )
        self.reader = self.run(
            QueueReader.open(self.folder, consumer="test", disk=self.disk, wait_seconds=0)
        )
        self.handed_out = []

    def _abandon(self) -> None:
        """End both as kill -9 does: nothing is finished, the kernel closes the files."""
        writer = self.writer
        if writer._timer is not None:
            writer._timer.cancel()
        writer._thread.shutdown()
        for segment in {*writer._unsynced, *([writer._current] if writer._current else [])}:
            segment.close()
        writer._lock.release()
        self.run(self.reader.close())

    def _new(self, count: int, length: int) -> list[str]:
        names = [str(self.count + place) for place in range(count)]
        self.count += count
        self.issued.update(names)
        self.lengths = length
        return names

    @rule(count=st.integers(1, 6), length=st.sampled_from([1, 600, 2500]))
    def consume(self, count: int, length: int) -> None:
        """Several callers at once; each that returns is an obligation."""

        async def one(name: str) -> None:
            try:
                await self.writer.consume(record(name, length=length))
            except RetryableError:
                return
            self.obliged.add(name)

        async def all_of(names: list[str]) -> None:
            async with asyncio.TaskGroup() as tasks:
                for name in names:
                    tasks.create_task(one(name))

        self.run(all_of(self._new(count, length)))

    @rule(length=st.sampled_from([1, 600]))
    def append(self, length: int) -> None:
        """Appended records survive the process, not the power."""
        (name,) = self._new(1, length)

        async def one() -> None:
            self.writer.append(record(name, length=length))

        self.run(one())

    @rule(count=st.integers(1, 10))
    def read(self, count: int) -> None:
        """Take some records."""
        found = self.run(self.reader.read(max_records=count, max_bytes=CAP, wait_seconds=0))
        for item, name in zip(found, texts(found), strict=True):
            assert name in self.issued, "a record was invented"
            self.handed_out.append((item.sequence, name))

    @rule(share=st.floats(0, 1))
    def commit(self, share: float) -> None:
        """Say that some of them are done."""
        done = self.handed_out[: round(len(self.handed_out) * share)]
        if done:
            # A consumer is done first and says so then, whatever becomes of its saying so.
            self.done.update(name for _, name in done)
            self.run(self.reader.commit(done[-1][0] + 1))
            self.handed_out = self.handed_out[len(done) :]

    @rule()
    def kill(self) -> None:
        """kill -9 of both processes."""
        self._abandon()
        self._open()

    @rule(seed=st.integers(0, 2**32))
    def lose_power(self, seed: int) -> None:
        """The power is gone, now."""
        self._abandon()
        self.disk.lose_power(self.root, random.Random(seed))
        self._open()

    @rule(seed=st.integers(0, 2**32), calls=st.integers(0, 12), count=st.integers(1, 6))
    def lose_power_while_writing(self, seed: int, calls: int, count: int) -> None:
        """The power is gone in the middle of it."""
        self.disk.calls_left = calls
        self.consume(count, 600)
        self.lose_power(seed)

    @rule(seed=st.integers(0, 2**32), calls=st.integers(0, 12))
    def lose_power_while_committing(self, seed: int, calls: int) -> None:
        """The power is gone while a checkpoint is written or segments are removed."""
        self.read(10)
        self.disk.calls_left = calls
        try:
            self.commit(1.0)
        except RetryableError:
            pass
        self.lose_power(seed)

    @rule(seed=st.integers(0, 2**32), calls=st.integers(0, 12))
    def lose_power_while_recovering(self, seed: int, calls: int) -> None:
        """The power is gone again while the next writer opens."""
        self._abandon()
        self.disk.lose_power(self.root, random.Random(seed))
        self.disk.calls_left = calls
        try:
            self._open()
        except Exception:
            self.disk.calls_left = None
            self.disk.lose_power(self.root, random.Random(seed + 1))
            self._open()
        else:
            self.lose_power(seed + 1)

    def teardown(self) -> None:
        """Every obligation is done, or comes now; and a fresh record flows."""
        try:
            self.disk.calls_left = None
            self.consume(1, 1)
            fresh = str(self.count - 1)
            # What was handed out and not done is done by whoever took it, or comes again.
            self._abandon()
            self._open()
            while True:
                before = len(self.handed_out)
                self.read(1000)
                # Damage in the segment that is being written is believed at the second look.
                if len(self.handed_out) == before and self.reader._place.doubted is None:
                    break
            last = [name for _, name in self.handed_out]
            assert fresh in last, "a fresh record does not flow"
            assert self.obliged <= self.done | set(last), "acknowledged and lost"
            sequences = [sequence for sequence, _ in self.handed_out]
            assert sequences == sorted(set(sequences))
            self._abandon()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            logging.disable(logging.NOTSET)
            shutil.rmtree(self.root)


TestPowerLoss = _Queue.TestCase
TestPowerLoss.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
