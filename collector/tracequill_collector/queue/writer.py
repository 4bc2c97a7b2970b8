"""Records go in and are on the disk when ``consume`` returns. This module knows no reader.

Constraints:

1. ``consume`` returns after the record, and the name of the file it stands in, are on the medium.
   Records that arrive while one sync runs share the next one.
2. ``append`` returns after the kernel has the record: it survives the end of this process by any
   means, and a power failure 100 ms later.
3. A write or a sync that failed is final for its segment. Its waiters are told to send again, and
   the next record opens a new segment. What failed may still be read: twice, never half.
4. No sequence is given twice, also not after a crash.
5. All segments together stay under the byte cap, and a part of the disk stays free for the others
   on it (``room.py``). Past either the answer is a QueueFullError, early, and nothing old is
   dropped but what every consumer has passed, those left out that may lag.
6. Nothing here depends on a clock but the pause before a sync that nobody waits for, and how often
   a full queue looks for room; both are measured by one that is never set.
7. One process writes a queue. It writes to no segment of its predecessor.

The format of what is written stands in ``segment.py``. A queue's folder holds the segments,
``consumers`` (``checkpoint.py``), ``quarantine``, ``writer.lock`` and ``reserve``.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tracequill_collector.errors import (
    PermanentError,
    QueueFullError,
    RetryableError,
    StartError,
)
from tracequill_collector.pipeline import Record
from tracequill_collector.queue import checkpoint as checkpoints
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.frame import Draft, encode
from tracequill_collector.queue.lock import WAIT_SECONDS, FolderLock
from tracequill_collector.queue.recovery import Recovered, recover
from tracequill_collector.queue.reserve import NO_SPACE
from tracequill_collector.queue.room import Room
from tracequill_collector.queue.segment import SEGMENT_HEADER_BYTES, SegmentWriter, list_segments

SEGMENT_BYTES = 64 * 1024 * 1024
# A small cap still gets segments enough that passed ones can be removed one by one.
_SEGMENTS_IN_CAP = 8
_SEGMENT_MIN_BYTES = 64 * 1024

_SYNC_SECONDS = 0.1
_MEASURE_SECONDS = 1.0
# How long a failure makes the process not ready; then it is given another try.
_PROBLEM_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    """A record on its way to the disk, and who waits for it."""

    draft: Draft
    done: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class _Committed:
    """What became of one group of records: how many are whole, and what went wrong."""

    whole: int
    write_error: RetryableError | None
    sync_error: RetryableError | None


class QueueWriter:
    """The one process that writes a queue. A RecordConsumer."""

    def __init__(
        self,
        folder: Path,
        lock: FolderLock,
        disk: Disk,
        max_bytes: int,
        segment_bytes: int,
        recovered: Recovered,
        observe_sync: Callable[[float], None],
    ) -> None:
        self._folder = folder
        self._lock = lock
        self._disk = disk
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._observe_sync = observe_sync
        # Guards all that is written to files: any thread appends, one commits groups.
        self._writing = threading.Lock()
        self._next_sequence = recovered.next_sequence
        self._current: SegmentWriter | None = None
        self._unsynced: list[SegmentWriter] = []
        self._syncing: list[SegmentWriter] = []
        self._folder_changed = False
        self._room = Room(disk, folder, max_bytes, recovered.last_end)
        self._room.hold_reserve()
        # The thread in which groups are written and synced, one after the other.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="queue-writer")
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._committing = False
        self._sync_wanted = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._problem = ("", 0.0)
        self._measured: tuple[float, int, int] | None = None

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        max_bytes: int,
        wait_seconds: float = WAIT_SECONDS,
        segment_bytes: int | None = None,
        disk: Disk | None = None,
        observe_sync: Callable[[float], None] = lambda seconds: None,
    ) -> QueueWriter:
        """Open the queue in *folder* for writing, after whatever end its last writer had.

        Raises a StartError when another process writes it, when a segment has an unknown format,
        and when the folder cannot be used. *observe_sync* is told how long each sync took.
        """
        disk = disk or Disk()
        if segment_bytes is None:
            share = max(_SEGMENT_MIN_BYTES, max_bytes // _SEGMENTS_IN_CAP)
            segment_bytes = min(SEGMENT_BYTES, share)
        try:
            disk.make_folder(folder)
            lock = await FolderLock.acquire(
                folder / "writer.lock", role="writer", wait_seconds=wait_seconds
            )
            try:
                recovered = await asyncio.to_thread(recover, disk, folder)
                return cls(folder, lock, disk, max_bytes, segment_bytes, recovered, observe_sync)
            except BaseException:
                lock.release()
                raise
        except OSError as error:
            raise StartError(
                f"the queue at {folder} cannot be opened: {error.strerror}. "
                "Correct the folder, or set another data_dir."
            ) from error

    @property
    def is_busy(self) -> bool:
        """Whether ``append`` would have to wait for a write in another thread."""
        return self._writing.locked()

    @property
    def problem(self) -> str:
        """Why a record was not kept in the last seconds, in one sentence; else empty."""
        text, since = self._problem
        return text if time.monotonic() - since < _PROBLEM_SECONDS else ""

    @property
    def disk_bytes(self) -> int:
        """What all segments take, those included that are kept for a replay."""
        return self._measure()[2]

    @property
    def backlog_bytes(self) -> int:
        """What the slowest consumer has not passed yet; measured at most once a second."""
        return self._measure()[1]

    def _measure(self) -> tuple[float, int, int]:
        now = time.monotonic()
        if self._measured is None or now - self._measured[0] >= _MEASURE_SECONDS:
            segments = list_segments(self._disk, self._folder)
            consumers = checkpoints.load_all(self._disk, self._folder, refuse_unknown=False) or {
                "": checkpoints.Checkpoint()
            }
            backlog = max(checkpoints.backlog_bytes(segments, item) for item in consumers.values())
            self._measured = (now, backlog, sum(segments.values()))
        return self._measured

    # --- taking records -----------------------------------------------------------------

    async def consume(self, record: Record) -> None:
        """Keep *record*; returning means that it is on the medium.

        Raises a QueueFullError past the byte cap or on a full disk, a RetryableError when the disk
        fails, and a PermanentError for a record that can never be kept.
        """
        draft = self._draft(record)
        loop = asyncio.get_running_loop()
        if self._refusal(draft) is not None:
            if self._room.look_is_due:
                await loop.run_in_executor(self._thread, self._make_room, self._needed(draft))
            self._refuse_unless_fits(draft)
        self._refuse_when_closed()
        waiting = _Waiting(draft, loop.create_future())
        self._waiting.append(waiting)
        self._waiting_bytes += _cost(draft)
        self._commit_soon()
        try:
            await waiting.done
        finally:
            del waiting  # its error holds this frame

    def append(self, record: Record) -> None:
        """Give *record* to the kernel; a sync follows within 100 ms and nobody waits for it.

        Raises as ``consume`` does. Blocks for one write, never for a sync. For any thread.
        """
        draft = self._draft(record)
        if self._refusal(draft) is not None:
            self._make_room(self._needed(draft))
            self._refuse_unless_fits(draft)
        with self._writing:
            _, error = self._write([draft])
        if error is not None:
            self._problem = (str(error), time.monotonic())
            raise error
        if self._timer is None:
            self._loop.call_soon_threadsafe(self._sync_later)

    async def close(self) -> None:
        """Finish what was accepted, make it durable, and give the queue back."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._idle.wait()
        await self._loop.run_in_executor(self._thread, self._finish)
        self._thread.shutdown()
        self._lock.release()

    def _draft(self, record: Record) -> Draft:
        self._refuse_when_closed()
        draft = encode(record)
        if _cost(draft) > self._max_bytes:
            raise PermanentError(
                f"the record has {draft.frame_length} bytes and the queue holds at most "
                f"{self._max_bytes}. Raise queue_max_bytes."
            )
        return draft

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise RetryableError("the queue is closing. Send again.")

    def _needed(self, draft: Draft) -> int:
        """Give how many bytes must be free for *draft*, and for what is on its way before it."""
        return self._waiting_bytes + _cost(draft)

    def _refusal(self, draft: Draft) -> QueueFullError | None:
        return self._room.refusal(self._needed(draft))

    def _refuse_unless_fits(self, draft: Draft) -> None:
        full = self._refusal(draft)
        if full is not None:
            self._problem = (str(full), time.monotonic())
            try:
                raise full
            finally:
                # It holds this frame, and the record. Held by it in turn, both would stay until
                # the garbage collector comes by, which counts objects and not bytes.
                del full

    # --- committing in groups (the loop) ------------------------------------------------

    def _commit_soon(self) -> None:
        """Commit what waits, after all that is ready to run now has had its chance to join."""
        if not self._committing:
            self._committing = True
            self._idle.clear()
            asyncio.get_running_loop().call_soon(self._start_commit)

    def _sync_later(self) -> None:
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(_SYNC_SECONDS, self._sync_soon)

    def _sync_soon(self) -> None:
        self._timer = None
        # A commit that runs now may have begun its sync before the last append.
        self._sync_wanted = True
        self._commit_soon()

    def _start_commit(self) -> None:
        self._sync_wanted = False
        group, self._waiting = self._waiting, []
        drafts = [waiting.draft for waiting in group]
        # Driven by callbacks and not by a task: a caller that is cancelled takes nobody along.
        future = asyncio.get_running_loop().run_in_executor(self._thread, self._commit, drafts)
        future.add_done_callback(lambda done: self._end_commit(group, done))

    def _end_commit(self, group: list[_Waiting], future: asyncio.Future[_Committed]) -> None:
        self._waiting_bytes -= sum(_cost(waiting.draft) for waiting in group)
        try:
            result = future.result()
        except Exception as error:
            _log.exception("the queue failed to commit")
            failure = RetryableError(f"the queue at {self._folder} failed: {error!r}.")
            result = _Committed(0, failure, failure)
        for place, waiting in enumerate(group):
            error_here = result.sync_error if place < result.whole else result.write_error
            if waiting.done.done():
                continue
            if error_here is None:
                waiting.done.set_result(None)
            else:  # each its own: raising one object in many places mixes up their tracebacks
                waiting.done.set_exception(
                    type(error_here)(str(error_here), error_here.delay_seconds)
                )
        problem = result.write_error or result.sync_error
        if problem is not None:
            self._problem = (str(problem), time.monotonic())
        if self._waiting or self._sync_wanted:
            self._start_commit()
        else:
            self._committing = False
            self._idle.set()

    # --- writing and syncing (the thread, and append) -----------------------------------

    def _commit(self, drafts: list[Draft]) -> _Committed:
        with self._writing:
            whole, write_error = self._write(drafts)
        return _Committed(whole, write_error, self._sync())

    def _write(self, drafts: Sequence[Draft]) -> tuple[int, RetryableError | None]:
        """Write *drafts* under the lock; give how many are whole, and what stopped it."""
        whole = 0
        try:
            # Others write to the disk, too: it may have less room than when these were let in.
            full = self._room.refusal(sum(map(_cost, drafts)))
            if full is not None:
                return 0, full
            while whole < len(drafts):
                segment = self._segment()
                fitting = self._fitting(segment, drafts[whole:])
                before = segment.size
                written, error = segment.write(fitting, self._next_sequence)
                self._room.disk_bytes += segment.size - before
                self._next_sequence += written
                whole += written
                if segment not in self._unsynced:
                    self._unsynced.append(segment)
                if error is not None:
                    self._seal()
                    raise error
        except OSError as error:
            return whole, self._failure(error, "written")
        return whole, None

    def _fitting(self, segment: SegmentWriter, drafts: Sequence[Draft]) -> Sequence[Draft]:
        """Give the first of *drafts*, and as many more as the segment has room for."""
        size = segment.size
        for count, draft in enumerate(drafts):
            size += draft.frame_length
            if size > self._segment_bytes and count > 0:
                return drafts[:count]
        return drafts

    def _segment(self) -> SegmentWriter:
        """Give the segment to write to: the current one, or a new one where that is full."""
        if self._current is not None and self._current.size >= self._segment_bytes:
            self._seal()
        while self._current is None:
            first = self._next_sequence
            try:
                self._current = SegmentWriter.create(self._disk, self._folder, first)
            except FileExistsError:  # one that could neither be written nor removed
                self._next_sequence += 1
                continue
            self._room.disk_bytes += self._current.size
            self._room.begun(first)
            self._folder_changed = True
            self._thread.submit(self._make_room_ahead)
        return self._current

    def _seal(self) -> None:
        """End the current segment; it is closed after its last sync."""
        segment, self._current = self._current, None
        if segment is None:
            return
        segment.sealed = True
        if segment.record_count == 0:
            # Its name is that of the next one.
            self._disk.remove(segment.path)
            self._room.disk_bytes -= segment.size
        else:
            self._room.ended(int(segment.path.stem), self._next_sequence)
        self._close_when_done(segment)

    def _close_when_done(self, segment: SegmentWriter) -> None:
        """Close a sealed segment that nobody will sync any more."""
        if segment.sealed and segment not in self._unsynced and segment not in self._syncing:
            segment.close()

    def _sync(self) -> RetryableError | None:
        """Make durable what was written before the call. In the thread only."""
        with self._writing:
            segments = self._syncing = self._unsynced
            self._unsynced = []
            folder_changed, self._folder_changed = self._folder_changed, False
        failure: RetryableError | None = None
        started = time.monotonic()
        for segment in segments:
            try:
                if not segment.failed:
                    segment.sync()
            except OSError as error:
                failure = self._lose(segment, error)
        try:
            if folder_changed:
                self._disk.sync_folder(self._folder)
        except OSError as error:
            for segment in segments:
                failure = self._lose(segment, error)
        if segments:
            self._observe_sync(time.monotonic() - started)
        with self._writing:
            self._syncing = []
            for segment in segments:
                self._close_when_done(segment)
        return failure

    def _lose(self, segment: SegmentWriter, error: OSError) -> RetryableError:
        """Give up a segment whose sync failed: a second sync would succeed and lie."""
        with self._writing:
            segment.failed = True
            if segment is self._current:
                self._seal()
        return self._failure(error, "synced")

    def _failure(self, error: OSError, verb: str) -> RetryableError:
        _log.error(
            "the queue could not be %s; senders were told to send again",
            verb,
            extra={"folder": str(self._folder), "error": error.strerror},
        )
        if error.errno in NO_SPACE:
            return QueueFullError(
                f"the disk of the queue at {self._folder} is full. Free space on it."
            )
        return RetryableError(
            f"the queue at {self._folder} cannot be {verb}: {error.strerror or error}."
        )

    def _finish(self) -> None:
        with self._writing:
            self._seal()
        self._sync()

    # --- making room --------------------------------------------------------------------

    def _make_room(self, length: int) -> None:
        """Remove passed segments, oldest first, until *length* more bytes fit."""
        if self._room.look_is_due and self._room.begin_look():
            self._look_for_room(length, is_ahead=False)

    def _make_room_ahead(self) -> None:
        """Make room for a segment, before anybody waits for it. In the thread."""
        if self._room.begin_look():
            ahead = min(self._segment_bytes, self._max_bytes // _SEGMENTS_IN_CAP)
            self._look_for_room(ahead, is_ahead=True)
            self._room.hold_reserve()

    def _look_for_room(self, length: int, *, is_ahead: bool) -> None:
        try:
            with self._writing:
                passed = self._room.look()
                if not is_ahead and self._next_sequence <= passed and self._room.refusal(length):
                    # All of the current segment is passed, too.
                    self._seal()
                current = None if self._current is None else int(self._current.path.stem)
                removable = self._room.removable(length, passed, current, self._next_sequence)
            freed = self._room.remove(removable)
            with self._writing:
                self._room.disk_bytes -= freed
        except OSError as error:
            _log.warning(
                "the queue could not make room",
                extra={"folder": str(self._folder), "error": error.strerror},
            )
        finally:
            self._room.end_look(was_ahead=is_ahead)


def _cost(draft: Draft) -> int:
    """Give how many bytes *draft* takes at most: it may be the first of a segment."""
    return draft.frame_length + SEGMENT_HEADER_BYTES
