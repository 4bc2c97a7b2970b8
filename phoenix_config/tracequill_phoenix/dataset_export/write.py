"""Files that appear whole under their name, or not at all.

In come lines and items, one at a time; out come the training file, its manifest and its report.
Nothing is kept in memory: items that belong into a JSON document wait in a spool on disk. Nothing
here knows what a line means.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import orjson

from tracequill.errors import CommandError, UsageError


class LineFile(ABC):
    """Takes lines and shows them all at once, when committed; a context manager."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._hash = hashlib.sha256()

    @abstractmethod
    def _append(self, line: bytes) -> None: ...

    @abstractmethod
    def commit(self) -> None:
        """Show what was written; without this nothing is ever seen of it."""

    @abstractmethod
    def close(self) -> None:
        """Remove what was not committed."""

    def write(self, line: bytes) -> None:
        """Take one line, its end included."""
        self.size_bytes += len(line)
        self._hash.update(line)
        self._append(line)

    def sha256(self) -> str:
        """The hash of what was written."""
        return self._hash.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class OutputFile(LineFile):
    """A file written beside *path* and renamed to it by ``commit``.

    Raises CommandError where the folder is missing or may not be written, UsageError where
    *path* is there and no ordinary file, such as ``/dev/null``.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path.resolve()
        if self._path.exists() and not self._path.is_file():
            raise UsageError(f"{path} is no ordinary file. Give another, or - for standard output.")
        self._temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        try:
            self._file: IO[bytes] = self._temporary.open("wb")
        except OSError as error:
            raise _cannot_write(path, error) from error

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a full disk fails once more on close
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _append(self, line: bytes) -> None:
        try:
            self._file.write(line)
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def commit(self) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise _cannot_write(self._path, error) from error


class StandardOutput(LineFile):
    """Standard output, which gets nothing before ``commit``."""

    def __init__(self) -> None:
        super().__init__()
        self._spool: IO[bytes] = tempfile.TemporaryFile()

    def close(self) -> None:
        self._spool.close()

    def _append(self, line: bytes) -> None:
        try:
            self._spool.write(line)
        except OSError as error:
            raise _cannot_write(Path(tempfile.gettempdir()), error) from error

    def commit(self) -> None:
        self._spool.seek(0)
        try:
            shutil.copyfileobj(self._spool, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except BrokenPipeError as error:
            raise CommandError("standard output was closed before all was written.") from error


class Document:
    """A JSON object with one long list, whose items come first and whose other keys come last."""

    def __init__(self, list_key: str) -> None:
        self._list_key = list_key
        self._spool: IO[bytes] = tempfile.TemporaryFile()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._spool.close()

    def add(self, item: object) -> None:
        """Take one item of the list."""
        try:
            self._spool.write(orjson.dumps(item) + b"\n")
        except OSError as error:
            raise _cannot_write(Path(tempfile.gettempdir()), error) from error

    def save(self, path: Path, head: dict[str, Any]) -> None:
        """Write *head* and the list to *path*, whole or not at all."""
        with OutputFile(path) as file:
            text = orjson.dumps(head, option=orjson.OPT_INDENT_2)
            comma = b",\n" if head else b"\n"
            file.write(text[: text.rindex(b"}")].rstrip() + comma)
            file.write(b"  " + orjson.dumps(self._list_key) + b": [")
            self._spool.seek(0)
            before = b"\n    "
            for item in self._spool:
                file.write(before + item.rstrip(b"\n"))
                before = b",\n    "
            file.write(b"\n  ]\n}\n")
            file.commit()


def _cannot_write(path: Path, error: OSError) -> CommandError:
    reason = error.strerror or type(error).__name__
    return CommandError(f"{path} cannot be written: {reason}. Give a path that can be.")
