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
   on it. Past either the answer is a QueueFullError, early, and nothing old is dropped but what
   every consumer has passed, those left out that may lag.
6. Nothing here depends on a clock but the pause before a sync that nobody waits for.
"""

from __future__ import annotations

import asyncio
import errno
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
from tracequill_collector.queue.segment import SegmentWriter, list_segments, segment_name

SEGMENT_BYTES = 64 * 1024 * 1024
# A small cap still gets segments enough that passed ones can be removed one by one.
_SEGMENTS_IN_CAP = 8
_SEGMENT_MIN_BYTES = 64 * 1024

# What others on the disk need to go on: checkpoints, quarantine, the database's WAL.
_RESERVE_BYTES = 256 * 1024 * 1024
_RESERVE_SHARE = 0.05

_SYNC_SECONDS = 0.1
_MEASURE_SECONDS = 1.0
# How often a full queue looks for segments that were passed meanwhile.
_ROOM_SECONDS = 0.1
# How long a failure makes the process not ready; then it is given another try.
_PROBLEM_SECONDS = 5.0

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

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
        # Guards all that is written to files: the loop appends, the thread commits groups.
        self._writing = threading.Lock()
        self._next_sequence = recovered.next_sequence
        self._current: SegmentWriter | None = None
        self._unsynced: list[SegmentWriter] = []
        self._syncing: list[SegmentWriter] = []
        self._folder_changed = False
        segments = list_segments(disk, folder)
        self._disk_bytes = sum(segments.values())
        self._ends = {max(segments): recovered.last_end} if segments else {}
        self._last_room = -_ROOM_SECONDS
        # The thread in which groups are written and synced, one after the other.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="queue-writer")
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._committing = False
        self._sync_wanted = False
        self._timer: asyncio.TimerHandle | None = None
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
            segment_bytes = min(
                SEGMENT_BYTES, max(_SEGMENT_MIN_BYTES, max_bytes // _SEGMENTS_IN_CAP)
            )
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
        if not self._fits(draft.frame_length):
            await loop.run_in_executor(self._thread, self._make_room, draft.frame_length)
            self._refuse_unless_fits(draft.frame_length)
        self._refuse_when_closed()
        waiting = _Waiting(draft, loop.create_future())
        self._waiting.append(waiting)
        self._waiting_bytes += draft.frame_length
        self._commit_soon()
        await waiting.done

    def append(self, record: Record) -> None:
        """Give *record* to the kernel; a sync follows within 100 ms and nobody waits for it.

        Raises as ``consume`` does. Blocks for one write, never for a sync.
        """
        draft = self._draft(record)
        if not self._fits(draft.frame_length):
            self._make_room(draft.frame_length)
            self._refuse_unless_fits(draft.frame_length)
        with self._writing:
            _, error = self._write([draft])
        if error is not None:
            self._note(error)
            raise error
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SYNC_SECONDS, self._sync_soon)

    async def close(self) -> None:
        """Finish what was accepted, make it durable, and give the queue back."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._idle.wait()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._finish)
        self._thread.shutdown()
        self._lock.release()

    def _draft(self, record: Record) -> Draft:
        self._refuse_when_closed()
        draft = encode(record)
        if draft.frame_length > self._max_bytes:
            raise PermanentError(
                f"the record has {draft.frame_length} bytes and the queue holds at most "
                f"{self._max_bytes}. Raise queue_max_bytes."
            )
        return draft

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise RetryableError("the queue is closing. Send again.")

    def _fits(self, length: int) -> bool:
        return self._disk_bytes + self._waiting_bytes + length <= self._max_bytes

    def _refuse_unless_fits(self, length: int) -> None:
        if not self._fits(length):
            full = QueueFullError(
                f"the queue has reached its cap of {self._max_bytes} bytes. It takes more when its "
                "reader catches up; raise queue_max_bytes to bridge longer outages."
            )
            self._note(full)
            raise full

    def _note(self, problem: RetryableError) -> None:
        self._problem = (str(problem), time.monotonic())

    # --- committing in groups (the loop) ------------------------------------------------

    def _commit_soon(self) -> None:
        """Commit what waits, after all that is ready to run now has had its chance to join."""
        if not self._committing:
            self._committing = True
            self._idle.clear()
            asyncio.get_running_loop().call_soon(self._start_commit)

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
        self._waiting_bytes -= sum(waiting.draft.frame_length for waiting in group)
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
            self._note(problem)
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
            self._check_free(sum(draft.frame_length for draft in drafts))
            while whole < len(drafts):
                segment = self._segment()
                fitting = self._fitting(segment, drafts[whole:])
                before = segment.size
                written, error = segment.write(fitting, self._next_sequence)
                self._disk_bytes += segment.size - before
                self._next_sequence += written
                whole += written
                if segment not in self._unsynced:
                    self._unsynced.append(segment)
                if error is not None:
                    self._seal()
                    raise error
        except OSError as error:
            return whole, self._failure(error, "written")
        except QueueFullError as full:
            return whole, full
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
        if self._current is None:
            self._current = SegmentWriter.create(self._disk, self._folder, self._next_sequence)
            self._disk_bytes += self._current.size
            self._folder_changed = True
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
            self._disk_bytes -= segment.size
        else:
            self._ends[int(segment.path.stem)] = self._next_sequence
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
        if error.errno in _NO_SPACE:
            return QueueFullError(
                f"the disk of the queue at {self._folder} is full. Free space on it."
            )
        return RetryableError(
            f"the queue at {self._folder} cannot be {verb}: {error.strerror or error}."
        )

    def _check_free(self, length: int) -> None:
        """Refuse before the disk is full: checkpoints and the database must go on."""
        free, total = self._disk.free_bytes(self._folder)
        reserve = min(_RESERVE_BYTES, int(total * _RESERVE_SHARE))
        if free - length < reserve:
            raise QueueFullError(
                f"the disk of the queue at {self._folder} has {free} bytes free, of which "
                f"{reserve} are left to others. Free space on it."
            )

    def _finish(self) -> None:
        with self._writing:
            self._seal()
        self._sync()

    # --- making room --------------------------------------------------------------------

    def _make_room(self, length: int) -> None:
        """Remove passed segments, oldest first, until *length* more bytes fit."""
        now = time.monotonic()
        if now - self._last_room < _ROOM_SECONDS:
            return
        self._last_room = now
        with self._writing:
            segments = list_segments(self._disk, self._folder)
            self._disk_bytes = sum(segments.values())
            self._ends = {first: end for first, end in self._ends.items() if first in segments}
            consumers = checkpoints.load_all(
                self._disk, self._folder, refuse_unknown=False
            ).values()
            passed = checkpoints.passed_by_all(consumers)
            if self._current is not None and self._next_sequence <= passed:
                self._seal()
            firsts = list(segments)
            for place, first in enumerate(firsts):
                if self._fits(length) or first == self._current_first():
                    break
                following = firsts[place + 1] if place + 1 < len(firsts) else self._next_sequence
                if self._ends.get(first, following) > passed:
                    break
                self._disk.remove(self._folder / segment_name(first))
                self._disk_bytes -= segments[first]
                self._ends.pop(first, None)

    def _current_first(self) -> int | None:
        return None if self._current is None else int(self._current.path.stem)
