"""Fakes that keep what they got or fail as told, for tests of a single stage."""

from __future__ import annotations

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
