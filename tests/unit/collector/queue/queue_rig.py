"""A queue with its processes on a disk that fails, and the book of what it owes. For the machine.

What was acknowledged is an obligation. A consumer that was handed a record and then says that it
is done has done it, whatever becomes of its saying so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import orjson

from tests.unit.collector.queue.losing_disk import LosingDisk
from tests.unit.collector.queue.records import CAP, record, texts
from tracequill_collector.errors import RetryableError
from tracequill_collector.pipeline import QueuedRecord
from tracequill_collector.queue import checkpoint as checkpoints
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.history import HistoryReader
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.queue.segment import (
    SEGMENT_HEADER_BYTES,
    Frame,
    SegmentReader,
    Tail,
    list_firsts,
)
from tracequill_collector.queue.writer import QueueWriter

_T = TypeVar("_T")

MAIN, LAGGING, LIVE, PASSING = "main", "lagging", "main-live", "passing"


class Consumer:
    """One reader, and what it was handed since it was opened."""

    def __init__(self, reader: QueueReader) -> None:
        self.reader = reader
        self.handed_out: list[tuple[int, str]] = []


class QueueRig:
    """The writer and the consumers; every method that may fail raises what the queue raises."""

    def __init__(self, root: Path, *, max_bytes: int, keep_seconds: float) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = root / "queue"
        self.disk = LosingDisk(root)
        self.max_bytes = max_bytes
        self.keep_seconds = keep_seconds
        self.issued = 0
        self.obliged: set[str] = set()
        self.damaged: set[str] = set()
        self.done: dict[str, set[str]] = {MAIN: set(), LAGGING: set()}
        self.seen: set[str] = set()
        """Handed out by the main consumer or its live lane."""
        self.sequences: dict[str, int] = {}
        self.lost_by_lagging = 0
        self.quarantine_due: list[tuple[str, int, int]] = []
        self.consumers: dict[str, Consumer] = {}
        self.open_all()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run *work* to its end."""
        return self.loop.run_until_complete(work)

    # --- processes ----------------------------------------------------------------------

    def open_all(self) -> None:
        """Start every process, where there was one."""
        self.open_writer()
        self.open_consumers()

    def open_writer(self) -> None:
        """Start the writer; recovery takes no record away."""
        before = list(self.frames()) if self.disk.calls_left is None else None
        self.writer = self.run(
            QueueWriter.open(
                self.folder,
                max_bytes=self.max_bytes,
                segment_bytes=3000,
                disk=self.disk,
                wait_seconds=0,
            )
        )
        if before is not None:
            assert list(self.frames()) == before, "recovery took a whole record away"

    def open_consumers(self) -> None:
        """Start the readers."""
        self.open(MAIN)
        self.open(LAGGING)
        for name in (LIVE, PASSING):
            if checkpoints.load(self.folder, name) is not None:
                self.open(name)

    def open(self, name: str) -> None:
        """Start one reader."""
        self.consumers[name] = Consumer(
            self.run(
                QueueReader.open(
                    self.folder,
                    consumer=name,
                    disk=self.disk,
                    wait_seconds=0,
                    keep_seconds=self.keep_seconds,
                    may_lag=name == LAGGING,
                    start_at="end" if name == LIVE else "oldest",
                )
            )
        )

    def kill_writer(self) -> None:
        """End it as kill -9 does: nothing is finished, the kernel closes the files."""
        writer = self.writer
        if writer._timer is not None:
            writer._timer.cancel()
        writer._thread.shutdown()
        for segment in {*writer._unsynced, *([writer._current] if writer._current else [])}:
            segment.close()
        writer._lock.release()

    def kill_consumers(self) -> None:
        """End the readers in the same way."""
        for name, consumer in self.consumers.items():
            if name == LAGGING:
                self.lost_by_lagging += consumer.reader.lost_records
            self.run(consumer.reader.close())
        self.consumers = {}

    def kill_all(self) -> None:
        """End all."""
        self.kill_writer()
        self.kill_consumers()

    def repair(self) -> None:
        """There is power and room, and the disk does not fail."""
        disk = self.disk
        disk.calls_left, disk.sync_errors, disk.capacity = None, 0, None
        disk.hides_that_it_is_full = False

    # --- what they do -------------------------------------------------------------------

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

        self.run(all_of([self._new() for _ in range(count)]))

    def append(self, length: int) -> None:
        """Nobody was told that it is kept: it survives the process, not the power."""

        async def one() -> None:
            self.writer.append(record(self._new(), length=length))

        try:
            self.run(one())
        except RetryableError:
            return

    def _new(self) -> str:
        self.issued += 1
        return str(self.issued)

    def read(self, name: str, count: int) -> list[QueuedRecord]:
        """Take some records."""
        consumer = self.consumers[name]
        live = self.consumers.get(LIVE)
        below = live.reader.first_sequence if live is not None and name == MAIN else None
        found = self.run(
            consumer.reader.read(max_records=count, max_bytes=CAP, wait_seconds=0, below=below)
        )
        for item, text in zip(found, texts(found), strict=True):
            self._note(item.sequence, text)
            consumer.handed_out.append((item.sequence, text))
            if name in (MAIN, LIVE):
                self.seen.add(text)
        sequences = [sequence for sequence, _ in consumer.handed_out]
        assert sequences == sorted(set(sequences)), "out of order"
        return found

    def _note(self, sequence: int, text: str) -> None:
        assert 1 <= int(text) <= self.issued, "a record was invented"
        if text in self.obliged:
            known = self.sequences.setdefault(text, sequence)
            assert known == sequence, "an acknowledged record moved"

    def commit(self, name: str, share: float) -> None:
        """Say that some of what was handed out is done."""
        consumer = self.consumers[name]
        done = consumer.handed_out[: round(len(consumer.handed_out) * share)]
        if done:
            self.done.setdefault(MAIN if name == LIVE else name, set()).update(
                text for _, text in done
            )
            self.run(consumer.reader.commit(done[-1][0] + 1))
            consumer.handed_out = consumer.handed_out[len(done) :]

    def do_before_durable(self) -> None:
        """A consumer is done with a record that no sync has made durable."""
        self.append(600)
        self.read(MAIN, 100)
        self.commit(MAIN, 1.0)

    def split(self) -> None:
        """Give the main consumer a live lane that begins at the end."""
        if LIVE not in self.consumers:
            self.open(LIVE)

    def join(self) -> None:
        """Read the backlog to its end, and go on where the live lane is."""
        if LIVE not in self.consumers:
            return
        main, live = self.consumers[MAIN], self.consumers[LIVE]
        while self.read(MAIN, 1000):
            pass
        self.commit(MAIN, 1.0)
        if main.reader.position >= live.reader.first_sequence:
            self.run(main.reader.continue_from(live.reader))
            main.handed_out = []
            del self.consumers[LIVE]

    def pass_by(self) -> None:
        """A consumer comes, reads a little, and is none any more."""
        if PASSING not in self.consumers:
            self.open(PASSING)
            return
        self.read(PASSING, 5)
        self.commit(PASSING, 0.5)
        self.run(self.consumers[PASSING].reader.retire())
        del self.consumers[PASSING]

    def read_history(self) -> None:
        """The past holds all that the main consumer still owes."""
        history = HistoryReader(self.folder, since_unix_ns=0, below_sequence=2**62, disk=self.disk)
        found: list[QueuedRecord] = []
        while some := self.run(history.read(max_records=7, max_bytes=5000)):
            found += some
        history.close()
        sequences = [item.sequence for item in found]
        assert sequences == sorted(set(sequences))
        for item, text in zip(found, texts(found), strict=True):
            self._note(item.sequence, text)
        owed = self.obliged - self.done[MAIN] - self.damaged
        assert owed <= set(texts(found)), "what is owed is not in the past"

    # --- the medium ---------------------------------------------------------------------

    def frames(self) -> Iterator[tuple[int, Frame]]:
        """Give every sound record of every segment, with the segment."""
        if not self.folder.is_dir():
            return
        for first in list_firsts(self.disk, self.folder):
            segment = SegmentReader(Disk(), self.folder, first)
            try:
                offset = SEGMENT_HEADER_BYTES
                while not isinstance(what := segment.read(offset), Tail):
                    if isinstance(what, Frame):
                        yield first, what
                    offset = what.end
            finally:
                segment.close()

    def damage(self, which: int, place: int) -> None:
        """Flip a bit of one durable record; its obligation is to be put aside."""
        durable = [
            (first, frame)
            for first, frame in self.frames()
            if self.disk.is_durable(self.folder / f"{first:020d}.segment", frame.end)
        ]
        if not durable:
            return
        first, frame = durable[which % len(durable)]
        (text,) = texts([QueuedRecord(frame.sequence, frame.record)])
        with (self.folder / f"{first:020d}.segment").open("r+b") as file:
            file.seek(frame.offset + place % (frame.end - frame.offset))
            (old,) = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([old ^ 0x10]))
        self.damaged.add(text)
        if text not in self.seen:
            self.quarantine_due.append((text, first, frame.offset))

    def is_in_quarantine(self, first: int, offset: int) -> bool:
        """Say whether the bytes at *offset* were put aside."""
        for path in (self.folder / "quarantine").glob("*.json"):
            facts = orjson.loads(path.read_bytes())
            begin = facts["offset"]
            is_same = facts["segment"] == f"{first:020d}.segment"
            if is_same and begin <= offset < begin + facts["length"]:
                return True
        return False

    # --- the end ------------------------------------------------------------------------

    def drain(self, name: str) -> None:
        """Read all there is, and say that it is done."""
        consumer = self.consumers[name]
        while True:
            found = self.read(name, 1000)
            # Damage in the segment that is being written is believed at the second look.
            if not found and consumer.reader._place.doubted is None:
                break
        self.commit(name, 1.0)

    def drain_all(self) -> None:
        """Let every consumer come to its end."""
        if LIVE in self.consumers:
            self.drain(LIVE)
            self.join()
        for name in (MAIN, LAGGING):
            self.drain(name)

    def settle(self) -> None:
        """After all faults: every obligation is done, and a fresh record flows."""
        self.repair()
        self.kill_all()
        self.open_all()
        if PASSING in self.consumers:
            self.pass_by()
        self.drain_all()
        fresh = self.issued + 1
        self.consume(1, 1)
        assert str(fresh) in self.obliged, "a fresh record is refused"
        self.drain_all()
        for name in (MAIN, LAGGING):
            assert str(fresh) in self.done[name], "a fresh record does not flow"
        owed = self.obliged - self.damaged
        assert owed <= self.done[MAIN], "acknowledged and lost"
        lost = self.lost_by_lagging + self.consumers[LAGGING].reader.lost_records
        assert owed <= self.done[LAGGING] or lost, "lost without a word"
        for text, first, offset in self.quarantine_due:
            assert text in self.seen or self.is_in_quarantine(first, offset), "damage was forgotten"
        used = sum(path.stat().st_size for path in self.folder.glob("*.segment"))
        assert used <= self.max_bytes

    def close(self) -> None:
        """End everything."""
        self.repair()
        self.kill_all()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
