"""A whole body, awaited before it is sent on: its hash stands in the signature.

Chunks come in; their SHA-256 and the same bytes come out, once. Past a megabyte, or less
where many wait, they lie in a file without a name. It knows nothing of HTTP.
"""

from __future__ import annotations

import hashlib
import tempfile
from io import FileIO
from pathlib import Path

_IN_MEMORY_MAX_BYTES = 1024 * 1024
_READ_BYTES = 256 * 1024


class Spool:
    """Takes a body of any size and gives it back."""

    __slots__ = ("_chunks", "_file", "_folder", "_held", "_memory_bytes", "_sha256", "size")

    def __init__(self, folder: Path, memory_bytes: int = _IN_MEMORY_MAX_BYTES) -> None:
        self.size = 0
        """How many bytes came."""
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._chunks: list[bytes] = []
        self._held = 0
        self._sha256 = hashlib.sha256()
        self._file: FileIO | None = None

    @property
    def sha256(self) -> str:
        """The hash of what came, in hexadecimal."""
        return self._sha256.hexdigest()

    @property
    def is_in_memory(self) -> bool:
        """Whether ``take`` gives all of it at once."""
        return self._file is None

    def add(self, chunk: bytes) -> None:
        """Keep *chunk*; OSError when the disk takes no more."""
        self.size += len(chunk)
        self._held += len(chunk)
        self._sha256.update(chunk)
        self._chunks.append(chunk)
        if self._held > self._memory_bytes:
            self._spill()

    def take(self) -> bytes:
        """Give all of a body that is in memory, and forget it."""
        data = b"".join(self._chunks)
        self._chunks = []
        return data

    def rewind(self) -> None:
        """Make ``read`` begin with the first byte; no more may be added."""
        assert self._file is not None
        if self._chunks:
            self._spill()
        self._file.seek(0)

    async def read(self) -> bytes:
        """Give the next bytes, and nothing at the end."""
        return self._file.read(_READ_BYTES) if self._file is not None else b""

    def close(self) -> None:
        """Forget everything."""
        self._chunks = []
        if self._file is not None:
            self._file.close()
            self._file = None

    def _spill(self) -> None:
        if self._file is None:
            # Without a buffer: what is written is not copied twice.
            self._file = tempfile.TemporaryFile(buffering=0, dir=self._folder)
        data = memoryview(b"".join(self._chunks))
        self._chunks = []
        self._held = 0
        while data:
            # A disk that is nearly full takes a part, and raises next time.
            data = data[self._file.write(data) :]
