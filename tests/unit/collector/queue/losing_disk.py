"""A disk that loses power: what was not synced may be lost, in part or whole, in any mixture.

After "All File Systems Are Not Created Equal" (OSDI 2014): a file keeps what was synced, and of
what was not any blocks and any length; names keep what was synced, and of what was not any first
part, in the order in which it was done.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracequill_collector.queue.disk import Disk

_BLOCK_BYTES = 512


@dataclass
class _Change:
    """A change of a folder that is not durable yet, and how to undo it."""

    folder: Path
    undo: Callable[[], None]


class LosingDisk(Disk):
    """Real files in one folder tree, and the memory of what of them is durable."""

    def __init__(self) -> None:
        self.calls_left: int | None = None
        """After so many calls the power is gone: every further one fails."""
        self._synced: dict[int, int] = {}
        self._changes: list[_Change] = []

    def _use(self) -> None:
        if self.calls_left is not None:
            if self.calls_left <= 0:
                raise OSError(errno.EIO, "no power")
            self.calls_left -= 1

    def lose_power(self, root: Path, chance: random.Random) -> None:
        """Leave of *root* what a power failure might."""
        self.calls_left = None
        by_folder: dict[Path, list[_Change]] = {}
        for change in self._changes:
            by_folder.setdefault(change.folder, []).append(change)
        for changes in by_folder.values():
            for change in reversed(changes[chance.randint(0, len(changes)) :]):
                change.undo()
        self._changes = []
        for path in root.rglob("*"):
            if path.is_file() and path.suffix != ".lock":
                self._tear(path, chance)

    def _tear(self, path: Path, chance: random.Random) -> None:
        synced = self._synced.get(path.stat().st_ino, 0)
        data = bytearray(path.read_bytes())
        if len(data) <= synced:
            return
        length = chance.randint(synced, len(data))
        for start in range(synced, length, _BLOCK_BYTES):
            if chance.random() < 0.3:
                end = min(start + _BLOCK_BYTES, length)
                data[start:end] = bytes(end - start)
        with path.open("r+b") as file:
            file.write(data[:length])
            file.truncate(length)
        self._synced[path.stat().st_ino] = length

    def _durable(self, path: Path) -> bytes:
        return path.read_bytes()[: self._synced.get(path.stat().st_ino, 0)]

    def _put(self, path: Path, content: bytes) -> None:
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        self._synced[path.stat().st_ino] = len(content)

    def create(self, path: Path) -> int:
        """Create a file whose name is not durable yet."""
        self._use()
        fd = super().create(path)
        self._synced[os.fstat(fd).st_ino] = 0
        self._changes.append(_Change(path.parent, lambda: path.unlink(missing_ok=True)))
        return fd

    def write(self, fd: int, buffers: Sequence[bytes | memoryview]) -> int:
        """Write what is not durable yet."""
        self._use()
        return super().write(fd, buffers)

    def truncate(self, fd: int, length: int) -> None:
        """Cut a file."""
        self._use()
        super().truncate(fd, length)
        number = os.fstat(fd).st_ino
        self._synced[number] = min(self._synced.get(number, 0), length)

    def sync(self, fd: int) -> None:
        """Make a file's content durable."""
        self._use()
        status = os.fstat(fd)
        self._synced[status.st_ino] = status.st_size

    def sync_folder(self, folder: Path) -> None:
        """Make the names in a folder durable."""
        self._use()
        self._changes = [change for change in self._changes if change.folder != folder]

    def rename(self, source: Path, target: Path) -> None:
        """Rename; not durable yet."""
        self._use()
        before = self._durable(target) if target.exists() else None
        super().rename(source, target)

        def undo() -> None:
            target.rename(source)
            if before is not None:
                self._put(target, before)

        self._changes.append(_Change(target.parent, undo))

    def remove(self, path: Path) -> None:
        """Remove a name; not durable yet."""
        self._use()
        if not path.exists():
            return
        before = self._durable(path)
        super().remove(path)
        self._changes.append(_Change(path.parent, lambda: self._put(path, before)))
