"""Fakes that keep what they got or fail as told, for tests of a single stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tracequill_collector.exchange import Exchange
from tracequill_collector.pipeline import Record
from tracequill_collector.queue.disk import Disk


class RecordSink:
    """A RecordConsumer that keeps every record in ``records``."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def consume(self, record: Record) -> None:
        """Keep *record*."""
        self.records.append(record)


class FailingConsumer:
    """A RecordConsumer that raises *error* instead of taking anything."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def consume(self, record: Record) -> None:
        """Raise the error this consumer was made with."""
        raise self.error


class MemoryQueue:
    """A queue that the proxy can append to: keeps records, and is full or fails as told."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.backlog_bytes = 0
        self.is_busy = False
        self.error: Exception | None = None

    def append(self, record: Record) -> None:
        """Keep *record*, or raise the error this queue was told to raise."""
        if self.error is not None:
            raise self.error
        self.records.append(record)
        self.backlog_bytes += len(record.payload)

    @property
    def exchanges(self) -> list[Exchange]:
        """What was appended, decoded."""
        return [Exchange.from_bytes(record.payload) for record in self.records]


class FailingDisk(Disk):
    """A disk that fails as told: put an OSError into ``errors`` under the method's name.

    An error is raised once for each time it stands there. ``short_write`` is how many bytes the
    next write takes before the one after it is made, or fails. ``calls`` are all that write, in
    order.
    """

    def __init__(self) -> None:
        self.errors: dict[str, list[OSError]] = {}
        self.short_write: int | None = None
        self.free: int | None = None
        self.calls: list[str] = []

    def _note(self, name: str) -> None:
        self.calls.append(name)
        self._fail(name)

    def _fail(self, name: str) -> None:
        if waiting := self.errors.get(name):
            raise waiting.pop(0)

    def create(self, path: Path) -> int:
        """Create, or fail."""
        self._note("create")
        return super().create(path)

    def write(self, fd: int, buffers: Sequence[bytes | memoryview]) -> int:
        """Write all, a part, or nothing."""
        if self.short_write is not None:
            length, self.short_write = self.short_write, None
            self.calls.append("write")
            return super().write(fd, [b"".join(buffers)[:length]])
        self._note("write")
        return super().write(fd, buffers)

    def sync(self, fd: int) -> None:
        """Sync, or fail."""
        self._note("sync")
        super().sync(fd)

    def sync_folder(self, folder: Path) -> None:
        """Sync, or fail."""
        self._note("sync_folder")
        super().sync_folder(folder)

    def rename(self, source: Path, target: Path) -> None:
        """Rename, or fail."""
        self._note("rename")
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        """Remove, or fail."""
        self._note("remove")
        super().remove(path)

    def names(self, folder: Path) -> list[str]:
        """Give the names, or fail."""
        self._fail("names")
        return super().names(folder)

    def sizes(self, folder: Path, suffix: str) -> dict[str, int]:
        """Give names and sizes, or fail."""
        self._fail("sizes")
        return super().sizes(folder, suffix)

    def size(self, fd: int) -> int:
        """Give the size, or fail."""
        self._fail("size")
        return super().size(fd)

    def free_bytes(self, folder: Path) -> tuple[int, int]:
        """Give what is free, or what it was told is."""
        free, total = super().free_bytes(folder)
        return (free if self.free is None else self.free), total
