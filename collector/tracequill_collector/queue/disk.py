"""What the queue does to the disk, in one place: writing, syncing, renaming, removing, reading.

The queue calls a ``Disk`` for it, so that a test can put one underneath that forgets what was not
synced, tears writes and fails. Past it go only locks, the question whether a file is there, and
the reading of small files that are replaced whole: checkpoints, letters, descriptions.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

# The kernel takes at most this many buffers in one call (IOV_MAX of Linux and macOS).
MAX_BUFFERS = 1024

_NEW = ".new"
_LEFTOVER_SECONDS = 60.0


class Disk:
    """The real file system. Every method raises OSError as the kernel says it."""

    def make_folder(self, folder: Path) -> None:
        """Create *folder* and what is missing above it, for this user alone and durably."""
        missing: list[Path] = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
            self.sync_folder(path.parent)

    def create(self, path: Path) -> int:
        """Create the file at *path*, which must not exist, for reading and appending."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)

    def open(self, path: Path, *, writable: bool = False) -> int:
        """Open an existing file."""
        return os.open(path, os.O_RDWR if writable else os.O_RDONLY)

    def close(self, fd: int) -> None:
        """Close *fd*."""
        os.close(fd)

    def write(self, fd: int, buffers: Sequence[bytes | memoryview]) -> int:
        """Append *buffers* in one call; give how many bytes the kernel took, maybe fewer."""
        return os.writev(fd, buffers)

    def read_at(self, fd: int, length: int, offset: int) -> bytes:
        """Read up to *length* bytes at *offset*."""
        return os.pread(fd, length, offset)

    def size(self, fd: int) -> int:
        """Give the size of the open file in bytes."""
        return os.fstat(fd).st_size

    def is_removed(self, fd: int) -> bool:
        """Say whether the open file has no name any more."""
        return os.fstat(fd).st_nlink == 0

    def truncate(self, fd: int, length: int) -> None:
        """Cut the open file to *length* bytes."""
        os.ftruncate(fd, length)

    def allocate(self, fd: int, length: int) -> None:
        """Take *length* bytes of the disk for the open, empty file."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, length)
        else:  # macOS
            os.write(fd, bytes(length))

    def sync(self, fd: int) -> None:
        """Return when the file's data, and its size, are on the medium."""
        if sys.platform == "darwin":
            # fsync leaves the data in the drive's cache there.
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(fd)

    def sync_folder(self, folder: Path) -> None:
        """Return when what was created, renamed and removed in *folder* is on the medium."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Move *source* over *target* in one step."""
        source.rename(target)

    def remove(self, path: Path) -> None:
        """Remove the file at *path*; one that is gone already is no error."""
        path.unlink(missing_ok=True)

    def sizes(self, folder: Path, suffix: str) -> dict[str, int]:
        """Give names and sizes of the files in *folder* that end in *suffix*."""
        found: dict[str, int] = {}
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(suffix):
                    try:
                        found[entry.name] = entry.stat().st_size
                    except FileNotFoundError:  # removed meanwhile by the other process
                        continue
        return found

    def names(self, folder: Path) -> list[str]:
        """Give the names of the files in *folder*."""
        return os.listdir(folder)

    def free_bytes(self, folder: Path) -> tuple[int, int]:
        """Give what is free to us on the disk of *folder*, and how large that disk is."""
        usage = os.statvfs(folder)
        return usage.f_bavail * usage.f_frsize, usage.f_blocks * usage.f_frsize

    def replace_whole(self, path: Path, content: bytes) -> None:
        """Put *content* at *path*: after a crash it is the old or the new content, whole.

        Returning means that the new one is on the medium.
        """
        # Two may do so at once; nobody touches what another one is writing.
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(6)}{_NEW}")
        try:
            fd = self.create(temporary)
            try:
                left = memoryview(content)
                while left:
                    left = left[self.write(fd, [left]) :]
                self.sync(fd)
            finally:
                self.close(fd)
            self.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                self.remove(temporary)
            raise
        self.sync_folder(path.parent)

    def remove_leftovers(self, folder: Path) -> None:
        """Remove what ``replace_whole`` left in *folder* when its process was killed.

        A write that takes longer than that fails with this, and is tried again.
        """
        for name in self.names(folder):
            if name.startswith(".") and name.endswith(_NEW):
                path = folder / name
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
                        self.remove(path)
