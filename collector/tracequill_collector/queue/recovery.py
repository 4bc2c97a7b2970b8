"""What a new writer does with the segments its predecessor left. Folder in, next sequence out.

Only the last segment can have been in the making, so only its tail is looked at: what is
incomplete there was never acknowledged and is cut off. What is complete and yet wrong is copied to
quarantine and left in place; readers step over it. No segment is written to again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from tracequill_collector.queue import checkpoint, quarantine
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.segment import (
    SEGMENT_HEADER_BYTES,
    Damage,
    Frame,
    SegmentReader,
    Tail,
    list_segments,
    segment_name,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where writing goes on."""

    next_sequence: int
    """Above every record that was ever written or passed by a consumer: none is given twice."""
    last_end: int
    """One above the last sound record."""


def check_versions(disk: Disk, folder: Path) -> None:
    """Raise a StartError when a segment in *folder* is of an unknown format version."""
    for first in list_segments(disk, folder):
        try:
            SegmentReader.open(disk, folder, first).close()
        except FileNotFoundError:  # consumed and removed meanwhile
            continue


def recover(disk: Disk, folder: Path) -> Recovered:
    """Make *folder* ready for a new segment; a StartError leaves every file untouched."""
    check_versions(disk, folder)
    consumers = checkpoint.load_all(disk, folder)
    next_sequence = max((item.next_sequence for item in consumers.values()), default=0)
    segments = list(list_segments(disk, folder))
    last_end = segments[-1] if segments else 0
    if segments:
        last_end, seen = _recover_last(disk, folder, segments[-1])
        next_sequence = max(next_sequence, last_end, seen)
    # A damaged segment without a single sound record keeps its name.
    while (folder / segment_name(next_sequence)).exists():
        next_sequence += 1
    disk.sync_folder(folder)
    return Recovered(next_sequence=next_sequence, last_end=last_end)


def _recover_last(disk: Disk, folder: Path, first: int) -> tuple[int, int]:
    """Give one above the last sound record, and one above any whose header was still legible."""
    path = folder / segment_name(first)
    segment = SegmentReader(disk, folder, first)
    end = seen = first
    found: Frame | Damage | Tail | None = None
    offset = SEGMENT_HEADER_BYTES
    try:
        while not isinstance(found, Tail):
            found = segment.read(offset)
            if isinstance(found, Frame):
                end = max(end, found.sequence + 1)
            elif not (isinstance(found, Tail) and found.incomplete):
                if found.sequence is not None:
                    seen = max(seen, found.sequence + 1)
                quarantine.keep(disk, folder, segment, found)
            offset = found.end
        is_empty = end == first and found.incomplete and found.offset <= SEGMENT_HEADER_BYTES
        if is_empty:
            disk.remove(path)
        else:
            _cut(disk, path, found)
    finally:
        segment.close()
    return end, max(end, seen)


def _cut(disk: Disk, path: Path, tail: Tail) -> None:
    """Cut off an incomplete tail, and make durable what a killed writer had not synced."""
    fd = disk.open(path, writable=True)
    try:
        if tail.incomplete and tail.end > tail.offset:
            disk.truncate(fd, tail.offset)
            _log.warning(
                "an incomplete record at the end of the queue was cut off; nobody was told that "
                "it is kept",
                extra={"segment": path.name, "length": tail.end - tail.offset},
            )
        disk.sync(fd)
    finally:
        disk.close(fd)
