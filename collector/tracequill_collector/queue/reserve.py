"""A file that takes room until a disk is full, and is then given up for what must be written.

A full disk must not keep a consumer from saying how far it is, for only that gives room again, nor
a dead letter or damaged bytes from being put aside. The reserve is made when there is room.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Callable
from pathlib import Path

from tracequill_collector.queue.disk import Disk

NAME = "reserve"
RESERVE_BYTES = 4 * 1024 * 1024
# A small disk gives less.
_DISK_PARTS = 64

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

_log = logging.getLogger(__name__)


def size(disk: Disk, folder: Path) -> int:
    """Give how large the reserve on the disk of *folder* is; raises OSError."""
    return min(RESERVE_BYTES, disk.free_bytes(folder)[1] // _DISK_PARTS)


def hold(disk: Disk, folder: Path) -> None:
    """Make the reserve in *folder* unless it is there; without room there is none."""
    path = folder / NAME
    if path.exists():
        return
    with contextlib.suppress(OSError):
        try:
            fd = disk.create(path)
        except FileExistsError:
            return
        try:
            disk.allocate(fd, size(disk, folder))
        except OSError:
            disk.remove(path)
            raise
        finally:
            disk.close(fd)


def with_reserve(disk: Disk, folder: Path, write: Callable[[], None]) -> None:
    """Call *write*; when the disk is full, give up the reserve in *folder* and call it again.

    So *write* must be one that can be called twice. Raises what it raises.
    """
    try:
        write()
    except OSError as error:
        if error.errno not in NO_SPACE or not (folder / NAME).exists():
            raise
        _log.warning("the disk is full; the reserve is used up", extra={"folder": str(folder)})
        disk.remove(folder / NAME)
        write()
