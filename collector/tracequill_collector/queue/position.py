"""How far a consumer is, kept durably: what is done goes in, and what all have passed goes away.

Constraints:

1. The checkpoint is on the medium before a segment that it passed is removed.
2. A segment is removed when every consumer of the queue has passed it for ``keep_seconds``, and
   never the last one. A checkpoint that this program cannot read has passed nothing.
3. How long ago is measured by a clock that is never set while the process runs. The moment that
   is stored is wall time, which is all that outlives a process; one in the future counts as now.
4. A commit costs the same however many segments there are: the folder is looked at only when
   reading went on to another segment, and once a minute.
5. On a full disk the reserve is given up for the checkpoint: only what is passed gives room again.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tracequill_collector.errors import RetryableError
from tracequill_collector.queue import checkpoint as checkpoints
from tracequill_collector.queue import reserve
from tracequill_collector.queue.checkpoint import Checkpoint
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.segment import SegmentReader, list_firsts, segment_name

# How often what is kept for a time is looked at, apart from commits that pass a segment.
_REMOVE_SECONDS = 60.0


class Position:
    """A consumer's place in a queue. Its reader sees to it that one thread uses it at a time."""

    def __init__(
        self, disk: Disk, folder: Path, consumer: str, keep_seconds: float, start: Checkpoint
    ) -> None:
        self.checkpoint = start
        self._disk = disk
        self._folder = folder
        self._consumer = consumer
        self._keep_ns = int(keep_seconds * 1e9)
        self._clock_offset_ns = time.time_ns() - time.monotonic_ns()
        self._removed_at = time.monotonic()

    def commit(self, next_sequence: int, place: tuple[int, int] | None) -> None:
        """Store that everything before *next_sequence* is done; *place* is segment and offset.

        Without a place, no record was done, only sequences that are not there. Raises a
        RetryableError when the disk fails.
        """
        old = self.checkpoint
        segment, offset = place or (old.segment, old.offset)
        is_crossing = place is None or segment != old.segment
        passed = self._passed(next_sequence, old.passed) if is_crossing else old.passed
        self._store(
            replace(old, next_sequence=next_sequence, segment=segment, offset=offset, passed=passed)
        )
        if is_crossing or self.removal_is_due:
            self.remove_passed()

    def take_over(self, ahead: Checkpoint) -> None:
        """Store that this consumer is where *ahead* is; raises as ``commit`` does."""
        old = self.checkpoint
        self._store(
            replace(
                ahead,
                next_sequence=max(ahead.next_sequence, old.next_sequence),
                passed=self._passed(ahead.next_sequence, dict(ahead.passed) | old.passed),
                first_sequence=old.first_sequence,
                may_lag=old.may_lag,
            )
        )

    def remove(self) -> None:
        """Be a consumer no more. Raises a RetryableError when the disk fails."""
        try:
            checkpoints.remove(self._disk, self._folder, self._consumer)
        except OSError as error:
            raise self._unwritten(error, "removed") from error

    @property
    def removal_is_due(self) -> bool:
        """Whether it is time to look again for segments whose time is over."""
        since = time.monotonic() - self._removed_at
        return bool(self.checkpoint.passed) and since >= _REMOVE_SECONDS

    def remove_passed(self) -> None:
        """Remove the segments that every consumer has passed for long enough."""
        self._removed_at = time.monotonic()
        due = self._now_ns() - self._keep_ns
        if min(self.checkpoint.passed.values(), default=due + 1) > due:
            return
        with contextlib.suppress(OSError):  # tried again with the next segment
            consumers = checkpoints.load_all(self._disk, self._folder, refuse_unknown=False)
            for first in list_firsts(self._disk, self._folder)[:-1]:
                since = [item.passed.get(first) for item in consumers.values()]
                if any(moment is None or moment > due for moment in since):
                    break
                self._disk.remove(self._folder / segment_name(first))

    def _now_ns(self) -> int:
        return time.monotonic_ns() + self._clock_offset_ns

    def _passed(self, next_sequence: int, known: dict[int, int]) -> dict[int, int]:
        now = self._now_ns()
        try:
            firsts = list_firsts(self._disk, self._folder)
        except OSError as error:
            raise self._unwritten(error, "written") from error
        return {
            first: min(known.get(first, now), now)
            for first, following in itertools.pairwise(firsts)
            if following <= next_sequence
        }

    def _store(self, new: Checkpoint) -> None:
        def store() -> None:
            checkpoints.store(self._disk, self._folder, self._consumer, new)

        try:
            reserve.with_reserve(self._disk, self._folder, store)
        except OSError as error:
            raise self._unwritten(error, "written") from error
        self.checkpoint = new

    def _unwritten(self, error: OSError, verb: str) -> RetryableError:
        return RetryableError(
            f"the checkpoint in {self._folder} cannot be {verb}: {error.strerror or error}."
        )


def beginning(disk: Disk, folder: Path, start_at: Literal["oldest", "end"]) -> Checkpoint:
    """Give the checkpoint of a consumer that is new."""
    segments = list_firsts(disk, folder)
    if start_at == "oldest" or not segments:
        # Where all was passed and removed, the next record stands where the others wait.
        others = checkpoints.load_all(disk, folder, refuse_unknown=False).values()
        empty = max((item.next_sequence for item in others), default=0)
        first = segments[0] if segments else empty
        return Checkpoint(next_sequence=first, segment=first, first_sequence=first)
    newest = segments[-1]
    segment = SegmentReader(disk, folder, newest)
    try:
        offset, sequence = segment.end()
    finally:
        segment.close()
    now = time.time_ns()
    return Checkpoint(
        next_sequence=sequence,
        segment=newest,
        offset=offset,
        passed=dict.fromkeys(segments[:-1], now),
        first_sequence=sequence,
    )
