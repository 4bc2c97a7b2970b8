"""One process at a time: a lock that dies with its process, however that dies."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from pathlib import Path

from tracequill_collector.errors import StartError

# A predecessor that was told to stop may still finish its requests.
WAIT_SECONDS = 10.0
_POLL_SECONDS = 0.05


class FolderLock:
    """An ``flock`` on a file, with the pid of its holder in it for the message."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    async def acquire(
        cls, path: Path, *, role: str, wait_seconds: float = WAIT_SECONDS
    ) -> FolderLock:
        """Take the lock at *path*, or raise a StartError that names the process that has it.

        *role* is what the holder is to the folder: ``writer`` or ``reader``.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            deadline = time.monotonic() + wait_seconds
            while not _try(fd):
                if time.monotonic() >= deadline:
                    holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
                    raise StartError(
                        f"the queue at {path.parent} already has a {role}, process {holder}. "
                        "Stop that process, or set another data_dir."
                    )
                await asyncio.sleep(_POLL_SECONDS)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd)

    def release(self) -> None:
        """Give the lock back; the file stays, because removing it would race with the next."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _try(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
