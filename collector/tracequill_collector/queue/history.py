"""What a queue still holds of the past, read once more: a time enters, records leave, in order.

Constraints:

1. No lock is taken and no checkpoint kept: neither the writer nor a reader is disturbed. What is
   removed under it is skipped; what is damaged is stepped over, as its first reader did.
2. The time of a record is what the clock said when it was received. A clock that was set in
   between hides no record of another time: a segment is left out only when it began too early
   and the next one began too early as well.
3. A record that was counted as read was given, also when the disk fails in the middle.
"""

from __future__ import annotations

from pathlib import Path

from tracequill_collector.errors import RetryableError, StartError
from tracequill_collector.pipeline import QueuedRecord
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.segment import (
    SEGMENT_HEADER_BYTES,
    Damage,
    Frame,
    SegmentReader,
    Tail,
    list_segments,
)
from tracequill_collector.queue.shielded import in_thread

# What is received is written soon after; a clock may be set back by little in between.
_CLOCK_SLACK_NS = 3_600 * 10**9
# How much is looked at in one go: a cancelled caller waits for no more.
_TURN_BYTES = 16 * 1024 * 1024


class HistoryReader:
    """Reads the records received at or after a moment, up to a sequence."""

    def __init__(
        self,
        folder: Path,
        *,
        since_unix_ns: int,
        below_sequence: int,
        from_sequence: int = 0,
        disk: Disk | None = None,
    ) -> None:
        """*from_sequence* leaves out what an earlier reader has given already."""
        self._folder = folder
        self._disk = disk or Disk()
        self._since_unix_ns = since_unix_ns
        self._below = below_sequence
        self._next = from_sequence
        self._segment: SegmentReader | None = None
        self._offset = SEGMENT_HEADER_BYTES
        self._left: list[int] | None = None
        self._bytes_in_all = 0
        self._bytes_before = 0

    @property
    def progress(self) -> float:
        """The share of the bytes to look at that was looked at, 0 to 1."""
        if self._left is None:
            return 0.0
        if self._segment is None and not self._left:
            return 1.0
        return min(1.0, (self._bytes_before + self._offset) / max(1, self._bytes_in_all))

    @property
    def next_sequence(self) -> int:
        """Everything before it was given; for ``from_sequence``."""
        return self._next

    async def read(self, *, max_records: int, max_bytes: int) -> list[QueuedRecord]:
        """Give the next records, at least one of any size; none at the end.

        Raises a RetryableError when the disk fails, and a StartError for a segment or a record
        that this Tracequill cannot read; reading goes on before it.
        """
        while True:
            records = await in_thread(self._read, max_records, max_bytes)
            if records or self.is_at_end:
                return records

    @property
    def is_at_end(self) -> bool:
        """Whether there is nothing more to read."""
        return self._left == [] and self._segment is None

    def close(self) -> None:
        """Close the open file."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _read(self, max_records: int, max_bytes: int) -> list[QueuedRecord]:
        """Read on for a turn; an empty answer is the end only if ``is_at_end`` says so."""
        records: list[QueuedRecord] = []
        try:
            self._read_into(records, max_records, max_bytes)
        except StartError:
            if not records:
                raise
        except OSError as error:
            if not records:
                raise RetryableError(
                    f"the queue at {self._folder} cannot be read: {error.strerror or error}."
                ) from error
        return records

    def _read_into(self, records: list[QueuedRecord], max_records: int, max_bytes: int) -> None:
        size = looked_at = 0
        while len(records) < max_records and size < max_bytes and looked_at < _TURN_BYTES:
            segment = self._open()
            if segment is None:
                return
            what = segment.read(self._offset)
            looked_at += what.end - what.offset
            if isinstance(what, Damage):
                self._offset = what.end
            elif isinstance(what, Tail):
                self._next_segment()
            elif what.sequence >= self._below:
                self._left = []
                self._next_segment()
            else:
                if self._is_wanted(what):
                    size += what.end - what.offset
                    records.append(QueuedRecord(what.sequence, what.record))
                self._next = max(self._next, what.sequence + 1)
                self._offset = what.end

    def _is_wanted(self, frame: Frame) -> bool:
        return frame.sequence >= self._next and frame.record.received_unix_ns >= self._since_unix_ns

    def _open(self) -> SegmentReader | None:
        if self._left is None:
            self._left = self._segments_to_read()
        while self._segment is None and self._left:
            try:
                self._segment = SegmentReader.open(self._disk, self._folder, self._left[0])
            except FileNotFoundError:  # removed meanwhile: its time was over
                self._left.pop(0)
                continue
            self._offset = SEGMENT_HEADER_BYTES
        return self._segment

    def _next_segment(self) -> None:
        self._bytes_before += self._offset
        self.close()
        if self._left:
            self._left.pop(0)

    def _segments_to_read(self) -> list[int]:
        """Give those that may hold records that are asked for."""
        sizes = list_segments(self._disk, self._folder)
        firsts = list(sizes)
        early = {first for first in firsts if self._began_too_early(first)}
        wanted: list[int] = []
        for place, first in enumerate(firsts):
            # What the last segment holds came after it began, however long ago that is.
            following = firsts[place + 1] if place + 1 < len(firsts) else None
            is_early = first in early and following in early
            is_given = following is not None and following <= self._next
            if first < self._below and not is_early and not is_given:
                wanted.append(first)
        self._bytes_in_all = sum(sizes[first] for first in wanted)
        return wanted

    def _began_too_early(self, first: int) -> bool:
        created = self._created_unix_ns(first)
        return created is not None and created < self._since_unix_ns - _CLOCK_SLACK_NS

    def _created_unix_ns(self, first: int) -> int | None:
        try:
            segment = SegmentReader(self._disk, self._folder, first)
        except FileNotFoundError:
            return None
        try:
            header = segment.read_header()
        finally:
            segment.close()
        return header.created_unix_ns if header is not None else None


def oldest_record(folder: Path, disk: Disk | None = None) -> QueuedRecord | None:
    """Give the oldest record that *folder* still holds, None without any."""
    history = HistoryReader(folder, since_unix_ns=0, below_sequence=2**63, disk=disk)
    try:
        while not history.is_at_end:
            if records := history._read(1, 1):
                return records[0]
    finally:
        history.close()
    return None
