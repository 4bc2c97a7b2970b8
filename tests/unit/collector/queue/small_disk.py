"""A disk that is small: what is written past its end is refused, in the middle of a write, too."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from tracequill_collector.queue.disk import Disk


class SmallDisk(Disk):
    """Real files in one folder tree, which takes ``capacity`` bytes in all."""

    def __init__(self, root: Path, capacity: int | None = None) -> None:
        self.root = root
        self.capacity = capacity
        self.most_used = 0

    @property
    def used(self) -> int:
        """What all files take."""
        used = 0
        for path in self.root.rglob("*"):
            try:
                used += path.stat().st_size if path.is_file() else 0
            except FileNotFoundError:
                continue
        return used

    def _room(self) -> int:
        return 1 << 40 if self.capacity is None else max(0, self.capacity - self.used)

    def write(self, fd: int, buffers: Sequence[bytes | memoryview]) -> int:
        """Write as much as there is room for."""
        data = b"".join(buffers)
        room = self._room()
        if data and room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = super().write(fd, [data[:room]])
        self.most_used = max(self.most_used, self.used) if self.capacity is not None else 0
        return taken

    def allocate(self, fd: int, length: int) -> None:
        """Take room, or refuse."""
        if self._room() < length:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().allocate(fd, length)

    def free_bytes(self, folder: Path) -> tuple[int, int]:
        """Give the room that is left."""
        if self.capacity is None:
            return super().free_bytes(folder)
        return self._room(), self.capacity
