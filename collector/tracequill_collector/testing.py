"""Fakes that keep what they got or fail as told, for tests of a single stage."""

from __future__ import annotations

from tracequill_collector.exchange import Exchange
from tracequill_collector.pipeline import Record


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
