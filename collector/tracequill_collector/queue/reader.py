"""Records of a queue come out in order, each with its sequence; a consumer says how far it is done.

Constraints:

1. A record is handed out only when it is complete and its checksums are right, also while its
   writer is writing. It may not be durable yet; handing it out twice must do no harm.
2. After a restart reading goes on at the checkpoint. A lost checkpoint costs only duplicates.
3. What is done is on the medium before anything is removed for it (``position.py``). The writer
   removes passed segments earlier when it needs the room.
4. A record of a kind or in a format that only a newer Tracequill knows is never stepped over:
   reading ends before it, with a StartError.
5. A consumer that may lag holds no room: where its place is gone, it goes on at the oldest record
   and counts what it lost.
6. Damaged bytes are stepped over and kept in quarantine. In the last segment they may be a record
   in the making, so there they are only stepped over when a sound record follows them.
7. One process reads a queue for one consumer.

The format of what is read stands in ``segment.py``, that of what is done in ``checkpoint.py``.

Operations: ``open`` takes the lock and goes on at the checkpoint; ``read`` hands records out;
``commit`` says how far they are done; ``continue_from`` takes over from a consumer that is ahead;
``retire`` ends a consumer; ``close`` only ends its reader.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from tracequill_collector.errors import RetryableError, StartError
from tracequill_collector.pipeline import QueuedRecord
from tracequill_collector.queue import checkpoint as checkpoints
from tracequill_collector.queue import quarantine, recovery
from tracequill_collector.queue.checkpoint import Checkpoint
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.lock import WAIT_SECONDS, FolderLock
from tracequill_collector.queue.position import Position, beginning
from tracequill_collector.queue.segment import (
    SEGMENT_HEADER_BYTES,
    Damage,
    Frame,
    SegmentReader,
    Tail,
    list_firsts,
    list_segments,
    newest_name,
)
from tracequill_collector.queue.shielded import in_thread

_POLL_SECONDS = 0.005
_POLL_MAX_SECONDS = 0.05

_Look = tuple[int, bool, str]
"""Size of the open segment, whether it was removed, and the name of the newest one."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where reading goes on: the next record has at least ``sequence``."""

    sequence: int
    segment: int | None
    """First sequence of the segment; None where no segment was found yet."""
    offset: int = SEGMENT_HEADER_BYTES
    doubted: Damage | None = None
    """Damage seen once in the segment that is being written; believed when seen again."""


@dataclass(slots=True)
class _Found:
    """What one turn of reading gave."""

    place: _Place
    records: list[QueuedRecord] = field(default_factory=list)
    places: list[_Place] = field(default_factory=list)
    """The place after each record."""
    size: int = 0
    lost: int = 0
    seen: _Look | None = None
    """What the end of the queue looked like, when it was reached."""


class QueueReader:
    """The one process that reads a queue for one consumer."""

    def __init__(
        self,
        folder: Path,
        lock: FolderLock,
        disk: Disk,
        position: Position,
    ) -> None:
        start = position.checkpoint
        self._folder = folder
        self._lock = lock
        self._disk = disk
        self._done = position
        self._place = _Place(sequence=start.next_sequence, segment=None)
        self._handed_out: deque[_Place] = deque()
        self._lost_records = 0
        self._segment: SegmentReader | None = None
        self._busy = asyncio.Lock()
        self._seen: _Look | None = None

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        consumer: str,
        keep_seconds: float = 0.0,
        wait_seconds: float = WAIT_SECONDS,
        disk: Disk | None = None,
        start_at: Literal["oldest", "end"] = "oldest",
        may_lag: bool = False,
    ) -> QueueReader:
        """Open the queue in *folder* for *consumer*, where it left off.

        A new consumer begins at the oldest record, or behind the newest one. One that *may_lag*
        is not waited for when the queue needs room. Raises a StartError when another process
        reads for that consumer, when a segment has an unknown format, and when the folder cannot
        be used.
        """
        checkpoints.check_name(consumer)
        disk = disk or Disk()
        consumers = folder / checkpoints.FOLDER
        try:
            disk.make_folder(consumers)
            lock = await FolderLock.acquire(
                consumers / f"{consumer}.lock",
                role=f"reader for {consumer!r}",
                wait_seconds=wait_seconds,
            )
            try:
                disk.remove_leftovers(consumers)
                disk.remove_leftovers(consumers)
                recovery.check_versions(disk, folder)
                start = stored = checkpoints.load(folder, consumer)
                if start is None:
                    start = await asyncio.to_thread(beginning, disk, folder, start_at)
                if stored is None or start.may_lag != may_lag:
                    start = replace(start, may_lag=may_lag)
                    # From now on nothing is removed that this consumer has not passed.
                    checkpoints.store(disk, folder, consumer, start)
            except BaseException:
                lock.release()
                raise
        except OSError as error:
            raise StartError(
                f"the queue at {folder} cannot be read: {error.strerror}. "
                "Correct the folder, or set another data_dir."
            ) from error
        return cls(folder, lock, disk, Position(disk, folder, consumer, keep_seconds, start))

    @property
    def first_sequence(self) -> int:
        """Where this consumer began when it was new."""
        return self._done.checkpoint.first_sequence

    @property
    def next_sequence(self) -> int:
        """Everything before it is committed."""
        return self._done.checkpoint.next_sequence

    @property
    def position(self) -> int:
        """Everything before it was handed out."""
        return self._place.sequence

    @property
    def lost_records(self) -> int:
        """How many sequences were gone from the queue before they were read, since it was opened.

        Sequences that a damaged record or a restarted writer left out are among them.
        """
        return self._lost_records

    @property
    def backlog_bytes(self) -> int:
        """How many bytes are not committed yet; raises OSError."""
        segments = list_segments(self._disk, self._folder)
        return checkpoints.backlog_bytes(segments, self._done.checkpoint)

    async def read(
        self,
        *,
        max_records: int,
        max_bytes: int,
        wait_seconds: float,
        below: int | None = None,
    ) -> list[QueuedRecord]:
        """Give the next records, at least one of any size, or none when none came in time.

        The next call goes on after the last record handed out, committed or not. With *below*,
        only records before that sequence; ``position`` says when they are all handed out.
        Raises a RetryableError when the disk fails, and a StartError as ``open`` does.
        """
        deadline = time.monotonic() + wait_seconds
        pause = _POLL_SECONDS
        while True:
            async with self._busy:
                if self._may_have_more():
                    # A cancelled call leaves the place as it was; the thread changes nothing.
                    found = await in_thread(self._collect, max_records, max_bytes, below)
                    self._place, self._seen = found.place, found.seen
                    self._lost_records += found.lost
                    self._handed_out.extend(found.places)
                    if found.records:
                        return found.records
            left = deadline - time.monotonic()
            if left <= 0 or (below is not None and self.position >= below):
                return []
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, _POLL_MAX_SECONDS)
            if self._done.removal_is_due:
                async with self._busy:
                    await in_thread(self._done.remove_passed)

    async def commit(self, next_sequence: int) -> None:
        """Say that everything before *next_sequence* is done; returning means it is durable.

        Raises a RetryableError when the disk fails.
        """
        if next_sequence <= self._done.checkpoint.next_sequence:
            return
        if next_sequence > self._place.sequence:
            raise ValueError(
                f"{next_sequence} was not handed out yet; reading is at {self._place.sequence}."
            )
        async with self._busy:
            await in_thread(self._commit, next_sequence)

    async def continue_from(self, ahead: QueueReader) -> None:
        """Go on where *ahead* is; it has done what lies between, and is no consumer any more.

        Nothing that was handed out here may be uncommitted. Cut off in the middle, it can be done
        again from the start.
        """
        if ahead.first_sequence > self.position or self._handed_out:
            raise ValueError(
                f"reading is at {self.position}, and {ahead.first_sequence} was the beginning."
            )
        async with self._busy, ahead._busy:
            await in_thread(self._continue_from, ahead._done.checkpoint)
        await ahead.retire()
        async with self._busy:
            await in_thread(self._done.remove_passed)

    async def retire(self) -> None:
        """Close, and be a consumer no more: what was not committed waits for nobody."""
        async with self._busy:
            await in_thread(self._done.remove)
        await self.close()

    async def close(self) -> None:
        """Give the queue back; what was handed out and not committed comes again."""
        async with self._busy:
            if self._segment is not None:
                self._segment.close()
                self._segment = None
            self._lock.release()

    # --- reading ------------------------------------------------------------------------

    def _may_have_more(self) -> bool:
        """Cheaply say whether anything changed since the end was last reached."""
        try:
            return self._seen is None or self._seen != self._look(self._segment)
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> RetryableError:
        return RetryableError(
            f"the queue at {self._folder} cannot be read: {error.strerror or error}."
        )

    def _look(self, segment: SegmentReader | None) -> _Look:
        """Take what changes when a record is written."""
        newest = newest_name(self._disk, self._folder)
        if segment is None:
            return -1, False, newest
        return segment.size(), segment.is_removed(), newest

    def _collect(self, max_records: int, max_bytes: int, below: int | None) -> _Found:
        """Read on from the place, which stays as it is."""
        found = _Found(place=self._place)
        try:
            while len(found.records) < max_records and found.size < max_bytes:
                if not self._collect_next(found, max_bytes, below):
                    break
        except StartError:  # what stands before it is given first
            if not found.records:
                raise
        except OSError as error:
            if not found.records:
                raise self._unreadable(error) from error
        return found

    def _collect_next(self, found: _Found, max_bytes: int, below: int | None) -> bool:
        """Add what stands at the place to *found*; False when that is all for now."""
        segment = self._open(found.place)
        if segment is None:
            found.seen = self._look(None)
            return self._open(found.place) is not None
        place = found.place
        if place.segment != segment.first_sequence:
            offset = segment.skip(SEGMENT_HEADER_BYTES, place.sequence)
            place = _Place(place.sequence, segment.first_sequence, offset)
        what = segment.read(place.offset)
        if isinstance(what, Frame):
            length = what.end - what.offset
            if what.sequence >= place.sequence:
                if found.records and found.size + length > max_bytes:
                    return False
                if below is not None and what.sequence >= below:
                    found.lost += max(0, below - place.sequence)
                    found.place = replace(place, sequence=max(place.sequence, below))
                    return False
                found.lost += what.sequence - place.sequence
                place = replace(place, sequence=what.sequence + 1)
                found.records.append(QueuedRecord(what.sequence, what.record))
                found.size += length
                found.places.append(replace(place, offset=what.end, doubted=None))
            found.place = replace(place, offset=what.end, doubted=None)
            return True
        look = self._look(segment)
        if segment.read(place.offset) != what:
            found.place = place
            return True
        found.place, goes_on = self._step_over(segment, place, what, look)
        found.seen = None if goes_on or found.place.doubted else look
        return goes_on

    def _step_over(
        self, segment: SegmentReader, place: _Place, what: Damage | Tail, look: _Look
    ) -> tuple[_Place, bool]:
        """Give the place after *what*, and whether there may be more behind it now.

        *look* was taken before *what* was read for the last time: nothing is written to a segment
        once the next one exists, so what a look that shows the next one precedes is final.
        """
        _, is_removed, newest = look
        is_sealed = newest > segment.path.name
        if isinstance(what, Damage):
            if not is_sealed and place.doubted != what:
                return replace(place, doubted=what), False
            quarantine.keep(self._disk, self._folder, segment, what)
            return replace(place, offset=what.end, doubted=None), True
        if not is_sealed and not is_removed:
            return place, False
        if not what.incomplete:
            quarantine.keep(self._disk, self._folder, segment, what)
        if is_removed:
            # Another may stand under its name: a segment without a record is replaced.
            self._forget_segment()
            return _Place(place.sequence, None), True
        following = self._successor(segment.first_sequence)
        return _Place(place.sequence, following), following is not None

    def _open(self, place: _Place) -> SegmentReader | None:
        """Open the segment of *place*, or the one in which its sequence must be."""
        wanted = place.segment
        if self._segment is not None and self._segment.first_sequence == wanted:
            return self._segment
        self._forget_segment()
        while True:
            if wanted is None:
                firsts = list_firsts(self._disk, self._folder)
                if not firsts:
                    return None
                before = [first for first in firsts if first <= place.sequence]
                wanted = before[-1] if before else firsts[0]
            try:
                self._segment = SegmentReader.open(self._disk, self._folder, wanted)
            except FileNotFoundError:  # removed by the writer, which needs the room
                wanted = None
                continue
            return self._segment

    def _successor(self, first: int) -> int | None:
        return next((key for key in list_firsts(self._disk, self._folder) if key > first), None)

    def _forget_segment(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    # --- what is done -------------------------------------------------------------------

    def _continue_from(self, ahead: Checkpoint) -> None:
        self._done.take_over(ahead)
        self._forget_segment()
        self._place = _Place(sequence=self._done.checkpoint.next_sequence, segment=None)
        self._seen = None

    def _commit(self, next_sequence: int) -> None:
        done: list[_Place] = []
        for place in self._handed_out:
            if place.sequence > next_sequence:
                break
            done.append(place)
        place_in_file = (done[-1].segment or 0, done[-1].offset) if done else None
        self._done.commit(next_sequence, place_in_file)
        for _ in done:
            self._handed_out.popleft()
