"""The room a queue has: a length enters, and why it does not fit leaves; passed segments go for it.

Constraints:

1. All segments together, their headers included, stay under the byte cap.
2. A part of the disk stays free for the others on it: checkpoints, quarantine, the database's WAL.
   It is measured for every record, so that the answer is early, before the disk is full.
3. For room only what every consumer has passed is removed, oldest first, those left out that may
   lag; never the segment that is written. A checkpoint that cannot be read has passed nothing.
4. Room for the next segment is made when one is begun: what is only kept for a replay makes no
   record wait or be refused.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tracequill_collector.errors import QueueFullError
from tracequill_collector.queue import checkpoint as checkpoints
from tracequill_collector.queue import reserve
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.segment import list_segments, segment_name

# What is left to others on the disk.
_OTHERS_BYTES = 256 * 1024 * 1024
_OTHERS_SHARE = 0.05

# How often a full queue looks for segments that were passed meanwhile.
_LOOK_SECONDS = 0.1


class Room:
    """What the segments take, and what may come. Its writer holds its lock where that is said."""

    def __init__(self, disk: Disk, folder: Path, max_bytes: int, last_end: int) -> None:
        """*last_end* is one above the last record of the newest segment."""
        self.disk_bytes = 0
        self._disk = disk
        self._folder = folder
        self._max_bytes = max_bytes
        self._segments: dict[int, int] = {}
        self._looking = threading.Lock()
        self._looked_at = float("-inf")
        self._measure()
        # One above the last record of a segment, where that is not the first of the next.
        self._ends = {max(self._segments): last_end} if self._segments else {}

    def refusal(self, length: int) -> QueueFullError | None:
        """Say why *length* more bytes do not fit, None if they do."""
        if self.disk_bytes + length > self._max_bytes:
            return QueueFullError(
                f"the queue has reached its cap of {self._max_bytes} bytes. It takes more when its "
                "reader catches up; raise queue_max_bytes to bridge longer outages."
            )
        try:
            free, others = self._free()
        except OSError:  # the write will say it
            return None
        if free - length < others:
            return QueueFullError(
                f"the disk of the queue at {self._folder} has {free} bytes free, of which "
                f"{others} are left to others. Free space on it."
            )
        return None

    def hold_reserve(self) -> None:
        """Take back the reserve that a full disk has cost, now that there is room."""
        with contextlib.suppress(OSError):
            free, others = self._free()
            if free - reserve.size(self._disk, self._folder) >= others:
                reserve.hold(self._disk, self._folder)

    def begun(self, first: int) -> None:
        """Take note of a new segment, under the writer's lock."""
        self._ends.pop(first, None)

    def ended(self, first: int, end: int) -> None:
        """Take note of a sealed segment and one above its last record, under the writer's lock."""
        self._ends[first] = end

    # --- making room --------------------------------------------------------------------

    @property
    def look_is_due(self) -> bool:
        """Whether the last look for room is long enough ago; else it is full still."""
        return time.monotonic() - self._looked_at >= _LOOK_SECONDS

    def begin_look(self) -> bool:
        """Say whether the caller may look for room now; if so, it calls ``end_look``."""
        return self._looking.acquire(blocking=False)

    def end_look(self, *, was_ahead: bool) -> None:
        """Say that the look is over; one that was made ahead delays no other."""
        if not was_ahead:
            self._looked_at = time.monotonic()
        self._looking.release()

    def look(self) -> int:
        """Give the sequence before which nothing is needed; under the writer's lock."""
        self._measure()
        self._ends = {first: end for first, end in self._ends.items() if first in self._segments}
        consumers = checkpoints.load_all(self._disk, self._folder, refuse_unknown=False)
        return checkpoints.passed_by_all(consumers.values())

    def removable(
        self, length: int, passed: int, current: int | None, next_sequence: int
    ) -> list[int]:
        """Give the segments to remove until *length* fits; under the writer's lock."""
        firsts = list(self._segments)
        found: list[int] = []
        freed = 0
        for place, first in enumerate(firsts):
            if self.refusal(length - freed) is None or first == current:
                break
            following = firsts[place + 1] if place + 1 < len(firsts) else next_sequence
            if self._ends.get(first, following) > passed:
                break
            found.append(first)
            freed += self._segments[first]
        return found

    def remove(self, firsts: Sequence[int]) -> int:
        """Remove the segments; give how many bytes they had. Without the writer's lock: slow."""
        freed = 0
        for first in firsts:
            self._disk.remove(self._folder / segment_name(first))
            freed += self._segments[first]
        return freed

    def _measure(self) -> None:
        self._segments = list_segments(self._disk, self._folder)
        self.disk_bytes = sum(self._segments.values())

    def _free(self) -> tuple[int, int]:
        """Give what is free on the disk, and how much of it is left to others."""
        free, total = self._disk.free_bytes(self._folder)
        return free, min(_OTHERS_BYTES, int(total * _OTHERS_SHARE))
