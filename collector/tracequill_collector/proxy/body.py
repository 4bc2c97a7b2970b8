"""What the proxy keeps of a body that passes: its beginning, up to a cap, and its full length.

Chunks come in, bytes come out once. Past a megabyte, or less where many calls share the memory, the
chunks go to a file without a name. It knows nothing of HTTP.
"""

from __future__ import annotations

import errno
import logging
import os
import tempfile
from io import FileIO
from pathlib import Path

_IN_MEMORY_MAX_BYTES = 1024 * 1024
# Less is not worth a file.
_IN_MEMORY_MIN_BYTES = 64 * 1024
# What the calls in flight share.
_MEMORY_BYTES = 128 * 1024 * 1024
# A chunk of one byte takes fifty more.
_CHUNKS_MAX = 4096

_log = logging.getLogger(__name__)


def memory_share_bytes(calls: int) -> int:
    """Give how much of each body stays in memory while *calls* are in flight."""
    return max(min(_IN_MEMORY_MAX_BYTES, _MEMORY_BYTES // max(calls, 1)), _IN_MEMORY_MIN_BYTES)


class BodyTee:
    """Keeps the first *max_bytes* of a body in order."""

    __slots__ = (
        "_chunks",
        "_file",
        "_folder",
        "_held",
        "_kept",
        "_max_bytes",
        "_memory_bytes",
        "size",
    )

    def __init__(
        self, max_bytes: int, folder: Path, memory_bytes: int = _IN_MEMORY_MAX_BYTES
    ) -> None:
        self.size = 0
        """How many bytes passed."""
        self._max_bytes = max_bytes
        self._memory_bytes = memory_bytes
        self._folder = folder
        self._chunks: list[bytes] = []
        self._held = 0
        self._kept = 0
        self._file: FileIO | None = None

    @property
    def kept_bytes(self) -> int:
        """How many bytes ``take`` will give."""
        return self._kept

    def add(self, chunk: bytes) -> None:
        """Note that *chunk* passed. Never raises: a full disk cuts the record, not the call."""
        self.size += len(chunk)
        room = self._max_bytes - self._kept
        if room <= 0:
            return
        if len(chunk) > room:
            chunk = chunk[:room]
        self._kept += len(chunk)
        self._held += len(chunk)
        self._chunks.append(chunk)
        if self._held > self._memory_bytes:
            self._spill()
        elif len(self._chunks) >= _CHUNKS_MAX:
            self._chunks = [b"".join(self._chunks)]

    def take(self) -> bytes:
        """Give what was kept and forget it."""
        held = b"".join(self._chunks)
        self._chunks = []
        self._held = 0
        if (file := self._file) is None:
            return held
        self._file = None
        with file:
            try:
                file.seek(0)
                return file.read() + held
            except OSError as error:
                _log.warning("a body could not be read back", extra={"error": error.strerror})
                return b""

    def close(self) -> None:
        """Forget everything."""
        self._chunks = []
        if self._file is not None:
            self._file.close()
            self._file = None

    def _spill(self) -> None:
        try:
            if self._file is None:
                # Without a buffer: what is written is not copied twice.
                self._file = tempfile.TemporaryFile(buffering=0, dir=self._folder)
            data = b"".join(self._chunks)
            self._chunks = []
            self._held = 0
            if self._file.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            # What was kept is still the beginning, without a gap, because nothing follows it.
            self._max_bytes = 0
            _log.warning("a large body is recorded in part only", extra={"error": error.strerror})
