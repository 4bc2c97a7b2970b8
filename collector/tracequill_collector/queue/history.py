"""What a queue still holds of the past, read once more: a time enters, records leave, in order.

Takes no lock and keeps no checkpoint, so that it disturbs neither the writer nor a reader. What is
removed under it is skipped; what is damaged is stepped over, as its first reader did.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

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

# The clocks of records and segments may have been set back in between by as much.
_CLOCK_SLACK_NS = 3_600 * 10**9


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
        """Give the next records, at least one of any size; none at the end."""
        return await asyncio.to_thread(self._read, max_records, max_bytes)

    def close(self) -> None:
        """Close the open file."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _read(self, max_records: int, max_bytes: int) -> list[QueuedRecord]:
        records: list[QueuedRecord] = []
        size = 0
        while len(records) < max_records and size < max_bytes:
            segment = self._open()
            if segment is None:
                break
            what = segment.read(self._offset)
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
        return records

    def _is_wanted(self, frame: Frame) -> bool:
        return frame.sequence >= self._next and frame.record.received_unix_ns >= self._since_unix_ns

    def _open(self) -> SegmentReader | None:
        if self._left is None:
            self._left = self._segments_to_read()
        while self._segment is None and self._left:
            try:
                self._segment = SegmentReader(self._disk, self._folder, self._left[0])
            except FileNotFoundError:  # removed meanwhile: its time was over
                self._left.pop(0)
                continue
            self._segment.check_version()
            self._offset = SEGMENT_HEADER_BYTES
        return self._segment

    def _next_segment(self) -> None:
        self._bytes_before += self._offset
        self.close()
        if self._left:
            self._left.pop(0)

    def _segments_to_read(self) -> list[int]:
        """Give those that may hold records of the time that is asked for."""
        sizes = list_segments(self._disk, self._folder)
        firsts = list(sizes)
        begin = 0
        for place, first in enumerate(firsts[1:], start=1):
            created = self._created_unix_ns(first)
            if first <= self._next or (
                created is not None and created < self._since_unix_ns - _CLOCK_SLACK_NS
            ):
                begin = place
        wanted = [first for first in firsts[begin:] if first < self._below]
        self._bytes_in_all = sum(sizes[first] for first in wanted)
        return wanted

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


def oldest_unix_ns(folder: Path, disk: Disk | None = None) -> int | None:
    """Give the receive time of the oldest record that *folder* still holds, None without any."""
    history = HistoryReader(folder, since_unix_ns=0, below_sequence=2**63, disk=disk)
    try:
        records = history._read(1, 1)
    finally:
        history.close()
    return records[0].record.received_unix_ns if records else None
