"""Records for the tests of the queue."""

from __future__ import annotations

from collections.abc import Iterable

from tracequill_collector.pipeline import QueuedRecord, Record, RecordKind
from tracequill_collector.queue.reader import QueueReader

CAP = 64 * 1024 * 1024


def record(text: str = "x", *, length: int = 0) -> Record:
    """A record that is recognized by *text*, padded to *length* bytes."""
    return Record(
        kind=RecordKind.OTLP_TRACES,
        received_unix_ns=1_700_000_000_000_000_000,
        payload=text.encode().ljust(length, b"."),
        content_type="application/x-protobuf",
        content_encoding="gzip",
        project_name="support-bot",
    )


def texts(records: Iterable[QueuedRecord]) -> list[str]:
    """What ``record`` was given for each."""
    return [item.record.payload.decode().rstrip(".") for item in records]


async def read_all(reader: QueueReader, count: int | None = None) -> list[QueuedRecord]:
    """Read until nothing comes any more, or *count* records are there."""
    found: list[QueuedRecord] = []
    while count is None or len(found) < count:
        # With a count the test knows that more must come; without one, all is there already.
        wait = 0.1 if count is None else 10.0
        some = await reader.read(max_records=1000, max_bytes=CAP, wait_seconds=wait)
        if not some:
            break
        found.extend(some)
    return found
