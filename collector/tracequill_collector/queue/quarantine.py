"""Damaged bytes of a queue, kept for a person: bytes in, two files out. Nothing reads them back.

How many there are is published, and the doctor names the folder.
``<queue>/quarantine/<segment>-<offset>.bad`` holds the bytes, ``….json`` the reason.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import orjson

from tracequill_collector.queue import reserve
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.segment import Damage, SegmentReader, Tail

FOLDER = "quarantine"

_COPY_BYTES = 1024 * 1024

_log = logging.getLogger(__name__)


def keep(disk: Disk, queue: Path, segment: SegmentReader, bad: Damage | Tail) -> None:
    """Copy the bytes of *bad* aside; where they are already there, nothing is done.

    Returning means that the copy is on the medium.
    """
    reserve.with_reserve(disk, queue, lambda: _keep(disk, queue, segment, bad))


def _keep(disk: Disk, queue: Path, segment: SegmentReader, bad: Damage | Tail) -> None:
    folder = queue / FOLDER
    disk.make_folder(folder)
    name = f"{segment.first_sequence:020d}-{bad.offset}"
    described = folder / f"{name}.json"
    if _kept_length(described) >= bad.end - bad.offset:
        return
    copy = folder / f"{name}.bad"
    disk.remove(copy)
    fd = disk.create(copy)
    try:
        for start in range(bad.offset, bad.end, _COPY_BYTES):
            part = memoryview(segment.bytes_at(start, min(_COPY_BYTES, bad.end - start)))
            while part:
                part = part[disk.write(fd, [part]) :]
        disk.sync(fd)
    finally:
        disk.close(fd)
    facts = {
        "segment": segment.path.name,
        "offset": bad.offset,
        "length": bad.end - bad.offset,
        "sequence": bad.sequence,
        "reason": bad.reason,
        "kept_unix_ns": time.time_ns(),
    }
    disk.replace_whole(described, orjson.dumps(facts))
    _log.error("damaged bytes of the queue were put into quarantine", extra={**facts})


def kept_bytes(disk: Disk, queue: Path) -> int:
    """Count what lies in the quarantine of *queue*; raises OSError."""
    try:
        return sum(disk.sizes(queue / FOLDER, ".bad").values())
    except FileNotFoundError:  # nothing was ever damaged
        return 0


def _kept_length(described: Path) -> int:
    """Give how many bytes were put aside; damage may have grown since."""
    try:
        return int(orjson.loads(described.read_bytes())["length"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return -1
