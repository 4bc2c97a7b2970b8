"""A disk that loses power: what was not synced may be lost, in part or whole, in any mixture.

After "All File Systems Are Not Created Equal" (OSDI 2014): a file keeps what was synced, and of
what was not any blocks and any length; names keep what was synced, and of what was not any first
part, in the order in which it was done. A sync that fails loses what it was to make durable for
good, although the file still reads as before: a later one succeeds and saves nothing of it.
"""

from __future__ import annotations

import errno
import functools
import os
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.unit.collector.queue.small_disk import SmallDisk

_BLOCK_BYTES = 512


@dataclass
class _Change:
    """A change of a folder that is not durable yet, and how to undo it."""

    folder: Path
    undo: Callable[[], None]


class LosingDisk(SmallDisk):
    """Real files in one folder tree, and the memory of what of them is durable."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.calls_left: int | None = None
        """After so many changes the power is gone: every further one fails."""
        self.sync_errors = 0
        """So many of the next syncs fail."""
        self.hides_that_it_is_full = False
        self._synced: dict[int, int] = {}
        self._never: dict[int, list[tuple[int, int]]] = {}
        self._changes: list[_Change] = []

    def _use(self) -> None:
        if self.calls_left is not None:
            if self.calls_left <= 0:
                raise OSError(errno.EIO, "no power")
            self.calls_left -= 1

    def is_durable(self, path: Path, end: int) -> bool:
        """Say whether the file is durable up to *end*."""
        number = path.stat().st_ino
        return self._synced.get(number, 0) >= end and not self._never.get(number)

    def lose_power(self, chance: random.Random) -> None:
        """Leave of the tree what a power failure might."""
        self.calls_left, self.sync_errors = None, 0
        by_folder: dict[Path, list[_Change]] = {}
        for change in self._changes:
            by_folder.setdefault(change.folder, []).append(change)
        for changes in by_folder.values():
            for change in reversed(changes[chance.randint(0, len(changes)) :]):
                if change.folder.exists():
                    change.undo()
        self._changes = []
        for path in sorted(self.root.rglob("*")):
            if path.is_file() and path.suffix != ".lock":
                self._tear(path, chance)

    def _tear(self, path: Path, chance: random.Random) -> None:
        status = path.stat()
        number, size = status.st_ino, status.st_size
        synced = self._synced.get(number, 0)
        never = self._never.pop(number, [])
        if size <= synced and not never:
            return
        data = bytearray(path.read_bytes())
        length = chance.randint(min(synced, size), size)
        for first, last in [*never, (synced, length)]:
            for block in range(first // _BLOCK_BYTES, -(-last // _BLOCK_BYTES)):
                if chance.random() < 0.3:
                    start = max(block * _BLOCK_BYTES, first)
                    end = min((block + 1) * _BLOCK_BYTES, last, length)
                    data[start:end] = bytes(max(0, end - start))
        with path.open("r+b") as file:
            file.write(data[:length])
            file.truncate(length)
        self._synced[number] = length

    def _durable(self, path: Path) -> bytes:
        return path.read_bytes()[: self._synced.get(path.stat().st_ino, 0)]

    def _begin(self, number: int, synced: int) -> None:
        self._synced[number] = synced
        self._never.pop(number, None)

    def _put(self, path: Path, content: bytes) -> None:
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        self._begin(path.stat().st_ino, len(content))

    def make_folder(self, folder: Path) -> None:
        """Create a folder whose name is not durable before its parent is synced."""
        missing: list[Path] = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for path in reversed(missing):
            self._use()
            path.mkdir(mode=0o700, exist_ok=True)
            self._changes.append(_Change(path.parent, functools.partial(shutil.rmtree, path)))
            self.sync_folder(path.parent)

    def create(self, path: Path) -> int:
        """Create a file whose name is not durable yet."""
        self._use()
        fd = super().create(path)
        self._begin(os.fstat(fd).st_ino, 0)
        self._changes.append(_Change(path.parent, lambda: path.unlink(missing_ok=True)))
        return fd

    def write(self, fd: int, buffers: Sequence[bytes | memoryview]) -> int:
        """Write what is not durable yet."""
        self._use()
        return super().write(fd, buffers)

    def allocate(self, fd: int, length: int) -> None:
        """Take room."""
        self._use()
        super().allocate(fd, length)

    def truncate(self, fd: int, length: int) -> None:
        """Cut a file."""
        self._use()
        super().truncate(fd, length)
        number = os.fstat(fd).st_ino
        self._synced[number] = min(self._synced.get(number, 0), length)
        self._never[number] = [
            (first, min(last, length))
            for first, last in self._never.get(number, [])
            if first < length
        ]

    def sync(self, fd: int) -> None:
        """Make a file's content durable, or fail and lose it."""
        self._use()
        status = os.fstat(fd)
        number, size = status.st_ino, status.st_size
        fails = self.sync_errors > 0
        if fails:
            self.sync_errors -= 1
            self._never.setdefault(number, []).append((self._synced.get(number, 0), size))
        self._synced[number] = size
        if fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

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

    def free_bytes(self, folder: Path) -> tuple[int, int]:
        """Give the room that is left, unless others will have taken it by then."""
        free, total = super().free_bytes(folder)
        return (total, total) if self.hides_that_it_is_full else (free, total)
