"""Records into a database by processor and exporter, without queue or process."""

from __future__ import annotations

from collections.abc import Sequence

from tracequill_collector.exporter.postgres import ExporterCounts, PostgresExporter
from tracequill_collector.exporter.rows import Rejected
from tracequill_collector.pipeline import Record, RecordKind, Span
from tracequill_collector.processor.decode import decode


class RejectedSpans(list[Rejected]):
    """Takes what the exporter rejects."""

    async def take(self, rejected: Sequence[Rejected]) -> None:
        """Keep *rejected*."""
        self.extend(rejected)

    @property
    def span_ids(self) -> list[str]:
        """The ids of the rejected spans, in order."""
        return [one.span.span_id for one in self]


def spans_of(records: Sequence[Record]) -> list[Span]:
    """Decode *records*, none of which may hold a bad span."""
    spans: list[Span] = []
    for record in records:
        decoded = decode(record, max_bytes=64 * 1024 * 1024)
        assert not decoded.rejected
        spans.extend(decoded.spans)
    return spans


def record_of(payload: bytes) -> Record:
    """Give *payload* as the receiver queues it."""
    return Record(RecordKind.OTLP_TRACES, 0, payload)


async def export(database: str, *batches: Sequence[Span]) -> tuple[ExporterCounts, RejectedSpans]:
    """Store *batches* one after the other; give what the exporter counted and rejected."""
    rejected = RejectedSpans()
    exporter = PostgresExporter(database, schema=None, reject=rejected.take)
    try:
        for batch in batches:
            await exporter.consume(batch)
    finally:
        await exporter.close()
    return exporter.counts, rejected
