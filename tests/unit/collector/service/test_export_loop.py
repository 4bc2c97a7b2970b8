"""The exporter's loop: in order, for as long as it takes, and nothing done before it is stored."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from tracequill_collector.errors import PermanentError, RetryableError
from tracequill_collector.exporter.postgres import ExporterCounts, PostgresExporter
from tracequill_collector.exporter.rows import Rejected
from tracequill_collector.pipeline import QueuedRecord, Record, RecordKind, Span
from tracequill_collector.processor.decode import Decoded
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.service import export_loop as service
from tracequill_collector.service import work as work_module
from tracequill_collector.service.export_loop import ExportLoop
from tracequill_collector.service.export_metrics import ExportMetrics, ExportRegistry
from tracequill_collector.service.lanes import Lanes
from tracequill_collector.service.work import Batch, Outcome, interpret

_MAX_BYTES = 1_000_000


def queued(sequence: int, *names: str, kind: RecordKind = RecordKind.OTLP_TRACES) -> QueuedRecord:
    """Give a record of spans with *names*."""
    spans = [
        OtlpSpan(trace_id=b"t" * 16, span_id=name.encode().ljust(8, b"_"), name=name)
        for name in names
    ]
    request = ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])]
    )
    return QueuedRecord(sequence, Record(kind, 0, request.SerializeToString()))


class FakeLanes:
    """Gives its batches of records and keeps what is done."""

    def __init__(self, *batches: list[QueuedRecord]) -> None:
        self.batches = list(batches)
        self.committed: list[int] = []

    async def read(self, *, max_records: int, max_bytes: int, wait_seconds: float) -> Batch | None:
        """Give the next batch; wait when there is none."""
        if self.batches:
            return Batch(self.batches.pop(0), self)
        await asyncio.sleep(wait_seconds)
        return None

    async def done(self, batch: Batch, outcome: Outcome) -> None:
        """Keep it."""
        self.committed.append(batch.records[-1].sequence + 1)


class FakeExporter:
    """Fails as often as told, then keeps the names of spans, and rejects those called bad."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.names: list[str] = []
        self.counts = ExporterCounts()
        self.loop: ExportLoop | None = None

    async def check(self) -> None:
        """Be well."""

    async def consume(self, spans: Sequence[Span], *, is_replacing: bool) -> None:
        """Keep their names."""
        if self.failures:
            self.failures -= 1
            raise RetryableError("the database is away.")
        assert self.loop
        bad = [Rejected(span, "it is bad.") for span in spans if span.name == "bad"]
        if bad:
            await self.loop.reject(bad)
        good = [span.name for span in spans if span.name != "bad"]
        self.names += good
        self.counts.stored_spans += len(good)

    async def announce(self) -> None:
        """Tell nobody."""


def loop_of(reader: FakeLanes, exporter: FakeExporter, folder: Path) -> ExportLoop:
    """Give a loop between fakes."""
    exporter.loop = ExportLoop(
        lanes=cast(Lanes, reader),
        exporter=cast(PostgresExporter, exporter),
        dead_letters=DeadLetters(folder),
        stop=asyncio.Event(),
        max_bytes=_MAX_BYTES,
        metrics=ExportMetrics(ExportRegistry(folder / "metrics"), "postgres"),
    )
    return exporter.loop


async def run_until(loop: ExportLoop, reader: FakeLanes, committed: int) -> None:
    """Run *loop* until *committed* was committed, then stop it."""
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(loop.run())
        while True:
            if committed in reader.committed:
                break
            await asyncio.sleep(0.01)
        loop.stop.set()


async def test_records_are_stored_in_order_and_then_given_back(tmp_path: Path) -> None:
    reader = FakeLanes([queued(0, "a", "b"), queued(1, "c")], [queued(2, "d")])
    exporter = FakeExporter()
    loop = loop_of(reader, exporter, tmp_path)

    await run_until(loop, reader, 3)

    assert exporter.names == ["a", "b", "c", "d"]
    assert reader.committed == [2, 3]
    assert loop.progress.exported_records == 3


async def test_it_waits_for_a_database_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "_FIRST_DELAY_SECONDS", 0.001)
    reader, exporter = FakeLanes([queued(0, "a")]), FakeExporter(failures=4)
    loop = loop_of(reader, exporter, tmp_path)

    with caplog.at_level(logging.INFO, service.__name__):
        await run_until(loop, reader, 1)

    assert exporter.names == ["a"]
    assert [record.getMessage() for record in caplog.records] == [
        "spans are kept in the queue",
        "spans are stored again",
    ]
    assert loop.progress.failed_tries == 4
    assert loop.progress.waiting == ""


async def test_it_stops_while_it_waits_and_gives_nothing_back(tmp_path: Path) -> None:
    reader, exporter = FakeLanes([queued(0, "a")]), FakeExporter(failures=10**9)
    loop = loop_of(reader, exporter, tmp_path)

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(loop.run())
        while True:
            if loop.progress.waiting:
                break
            await asyncio.sleep(0.01)
        loop.stop.set()

    assert reader.committed == []
    assert loop.progress.waiting == "the database is away."


async def test_a_rejected_span_becomes_a_dead_letter_of_its_own(tmp_path: Path) -> None:
    reader, exporter = FakeLanes([queued(0, "a"), queued(1, "b", "bad", "c")]), FakeExporter()
    loop = loop_of(reader, exporter, tmp_path)

    await run_until(loop, reader, 2)

    [letter] = loop.dead_letters.list()
    found = loop.dead_letters.show(letter.letter_id)
    assert found is not None
    assert found[1].payload == queued(0, "bad").record.payload
    assert letter.reason == "it is bad."
    assert exporter.names == ["a", "b", "c"]
    assert loop.progress.dead_letters == 1


def test_a_record_that_cannot_be_read_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    unreadable = QueuedRecord(1, Record(RecordKind.OTLP_TRACES, 0, b"no request"))

    work = interpret(
        Batch(
            [queued(0, "a"), unreadable, queued(2, "x", kind=RecordKind.EXCHANGE), queued(3, "b")],
            FakeLanes(),
        ),
        _MAX_BYTES,
    )

    assert [span.name for span in work.spans] == ["a", "b"]
    assert [type(content) for content in work.contents] == [
        Decoded,
        PermanentError,
        PermanentError,
        Decoded,
    ]


def test_a_mistake_of_ours_in_reading_is_a_dead_letter_without_its_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(record: Record, *, max_bytes: int, policy: object) -> Decoded:
        raise KeyError("a secret prompt")

    monkeypatch.setattr(work_module, "decode", fail)

    [content] = interpret(Batch([queued(0, "a")], FakeLanes()), _MAX_BYTES).contents

    assert str(content) == "the record cannot be read: KeyError."
