"""The exporter's loop: in order, for as long as it takes, and nothing done before it is stored."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from tests.unit.collector.service.onward_rig import until
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
from tracequill_collector.service.replaying import Replaying
from tracequill_collector.service.work import Batch, Outcome, interpret

_MAX_BYTES = 1_000_000


def queued(sequence: int, *names: str, kind: RecordKind = RecordKind.OTLP_TRACES) -> QueuedRecord:
    """Give a record of spans with *names*."""
    spans = [
        OtlpSpan(trace_id=b"t" * 16, span_id=name.encode().ljust(8, b"_")[:8], name=name)
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
        self.outcomes: list[Outcome] = []

    async def read(self, *, max_records: int, max_bytes: int, wait_seconds: float) -> Batch | None:
        """Give the next batch; wait when there is none."""
        if self.batches:
            return Batch(self.batches.pop(0), self)
        await asyncio.sleep(wait_seconds)
        return None

    async def done(self, batch: Batch, outcome: Outcome) -> None:
        """Keep it."""
        self.committed.append(batch.records[-1].sequence + 1)
        self.outcomes.append(outcome)


class FakeReplaying:
    """Gives batches that are marked as a replay's."""

    def __init__(self, *batches: list[QueuedRecord]) -> None:
        self.batches = list(batches)
        self.outcomes: list[Outcome] = []

    async def read(self, *, max_records: int, max_bytes: int) -> Batch | None:
        """Give the next batch at once."""
        if not self.batches:
            return None
        return Batch(self.batches.pop(0), self, is_replacing=True, project_name="default")

    async def done(self, batch: Batch, outcome: Outcome) -> None:
        """Keep what became of it."""
        self.outcomes.append(outcome)


class FakeExporter:
    """Fails as often as told, then keeps the names of spans, and rejects those called bad."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.names: list[str] = []
        self.counts = ExporterCounts()
        self.loop: ExportLoop | None = None
        self.stores_before_it_fails = 0
        self.replacing: list[str] = []

    async def check(self) -> None:
        """Be well."""

    async def consume(self, spans: Sequence[Span], *, is_replacing: bool) -> None:
        """Keep their names."""
        if self.failures:
            self.failures -= 1
            new = [span.name for span in spans if span.name not in self.names]
            self._store(new[: self.stores_before_it_fails])
            raise RetryableError("the database is away.")
        assert self.loop
        bad = [Rejected(span, "it is bad.") for span in spans if span.name == "bad"]
        if bad:
            await self.loop.reject(bad)
        good = [span.name for span in spans if span.name != "bad"]
        new = [name for name in good if name not in self.names]
        self.counts.seen_before_spans += len(good) - len(new)
        self._store(new)
        if is_replacing:
            self.replacing += good

    def _store(self, names: Sequence[str]) -> None:
        self.names += names
        self.counts.stored_spans += len(names)

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


async def test_many_bad_spans_of_a_record_are_one_letter_whoever_found_them(
    tmp_path: Path,
) -> None:
    unnamed = [queued(0, *["bad"] * 40, "a").record, queued(1, "b").record]
    request = ExportTraceServiceRequest.FromString(unnamed[0].payload)
    for span in request.resource_spans[0].scope_spans[0].spans[:30]:
        span.span_id = bytes(8)
    mixed = QueuedRecord(0, replace(unnamed[0], payload=request.SerializeToString()))
    reader, exporter = FakeLanes([mixed, QueuedRecord(1, unnamed[1])]), FakeExporter()
    loop = loop_of(reader, exporter, tmp_path)

    await run_until(loop, reader, 2)

    [letter] = loop.dead_letters.list()
    found = loop.dead_letters.show(letter.letter_id)
    assert found is not None and found[1] == mixed.record
    assert (letter.what, letter.details["places"]) == ("spans", "0-39")
    assert letter.details["reasons"]["it is bad."] == 10
    assert exporter.names == ["a", "b"]


async def test_good_spans_are_stored_although_the_bad_ones_cannot_be_buried_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "_FIRST_DELAY_SECONDS", 0.001)
    unreadable = QueuedRecord(1, Record(RecordKind.OTLP_TRACES, 0, b"no request"))
    reader, exporter = FakeLanes([queued(0, "a", "bad"), unreadable]), FakeExporter()
    loop = loop_of(reader, exporter, tmp_path)
    loop.dead_letters = DeadLetters(tmp_path / "full", max_bytes=1)
    other = loop.dead_letters.add(queued(9, "other").record, "bad.")

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(loop.run())
        await until(lambda: loop.progress.failed_tries >= 3)
        assert exporter.names == ["a"] and reader.committed == []
        assert "have reached their cap" in loop.progress.waiting
        DeadLetters(tmp_path / "full").remove(other)
        loop.dead_letters = DeadLetters(tmp_path / "full")
        await until(lambda: bool(reader.committed))
        loop.stop.set()

    assert len(loop.dead_letters.list()) == 2
    assert exporter.counts.seen_before_spans == 0
    assert [record.levelname for record in caplog.records if "waiting" in vars(record)] == ["ERROR"]


async def test_a_try_that_stored_a_part_counts_each_span_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_FIRST_DELAY_SECONDS", 0.001)
    reader, exporter = FakeLanes([queued(9, "old")]), FakeExporter()
    loop = loop_of(reader, exporter, tmp_path)
    await run_until(loop, reader, 10)
    reader, replaying = FakeLanes(), FakeReplaying([queued(0, "a", "b", "c", "old")])
    exporter.failures, exporter.stores_before_it_fails = 2, 1
    loop = loop_of(reader, exporter, tmp_path)
    loop.replaying = cast(Replaying, replaying)

    await _run_replay(loop, replaying, 1)

    (outcome,) = replaying.outcomes
    assert (outcome.stored_spans, outcome.seen_before_spans) == (3, 1)


async def _run_replay(loop: ExportLoop, replaying: FakeReplaying, batches: int) -> None:
    """Run *loop* until so many batches of a replay are done, then stop it."""
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(loop.run())
        while True:
            if len(replaying.outcomes) == batches:
                break
            await asyncio.sleep(0.01)
        loop.stop.set()


async def test_new_records_go_before_a_replay_which_still_goes_on(tmp_path: Path) -> None:
    new = [[queued(number, f"new {number}")] for number in range(40)]
    reader = FakeLanes(*new)
    replaying = FakeReplaying(*([queued(number, f"again {number}")] for number in range(3)))
    exporter = FakeExporter()
    loop = loop_of(reader, exporter, tmp_path)
    loop.replaying = cast(Replaying, replaying)

    await _run_replay(loop, replaying, 3)

    again = [place for place, name in enumerate(exporter.names) if name.startswith("again")]
    assert again == [7, 15, 23]
    assert exporter.replacing == ["again 0", "again 1", "again 2"]


async def test_letters_of_a_replay_are_told_to_it(tmp_path: Path) -> None:
    reader, exporter = FakeLanes(), FakeExporter()
    replaying = FakeReplaying([queued(0, "a", "bad")])
    loop = loop_of(reader, exporter, tmp_path)
    loop.replaying = cast(Replaying, replaying)

    await _run_replay(loop, replaying, 1)

    (outcome,) = replaying.outcomes
    assert outcome.letters == {letter.letter_id for letter in loop.dead_letters.list()}
    assert len(outcome.letters) == 1


def test_of_a_project_that_is_asked_for_nothing_else_is_touched() -> None:
    wanted = queued(0, "a", "b")
    headed = QueuedRecord(1, replace(queued(1, "c").record, project_name="other"))
    bad_id = queued(2, "d")
    bad_id = QueuedRecord(2, replace(bad_id.record, payload=_without_ids(bad_id.record.payload)))
    unreadable = QueuedRecord(3, Record(RecordKind.OTLP_TRACES, 0, b"no request"))
    batch = Batch([wanted, headed, bad_id, unreadable], FakeLanes(), project_name="default")

    [work] = interpret(batch, _MAX_BYTES)

    assert [span.name for span in work.spans] == ["a", "b"]
    assert all(isinstance(one, Decoded) and not one.rejected for one in work.contents)
    [other] = interpret(Batch([wanted, headed], FakeLanes(), project_name="other"), _MAX_BYTES)
    assert [span.name for span in other.spans] == ["c"]


def _without_ids(payload: bytes) -> bytes:
    request = ExportTraceServiceRequest.FromString(payload)
    request.resource_spans[0].scope_spans[0].spans[0].span_id = bytes(8)
    return request.SerializeToString()


def test_what_unpacks_to_much_is_interpreted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "WORK_BYTES", 10_000)
    small, large = queued(0, "a"), queued(1, "b" * 9_990)
    packed = replace(
        large.record, payload=gzip.compress(large.record.payload), content_encoding="gzip"
    )
    records = [small, QueuedRecord(1, packed), QueuedRecord(2, packed), queued(3, "c")]

    works = list(interpret(Batch(records, FakeLanes()), _MAX_BYTES))

    assert [[one.sequence for one in work.records] for work in works] == [[0, 1], [2], [3]]
    assert [work.is_last for work in works] == [False, False, True]
    assert [len(work.spans) for work in works] == [2, 1, 1]


def test_many_spans_are_interpreted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "WORK_SPANS", 3)
    records = [queued(number, "a", "b") for number in range(4)]

    works = list(interpret(Batch(records, FakeLanes()), _MAX_BYTES))

    assert [len(work.spans) for work in works] == [4, 4]
    assert [work.is_last for work in works] == [False, True]


async def test_a_batch_is_done_when_its_last_part_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_module, "WORK_SPANS", 1)
    reader = FakeLanes([queued(0, "a"), queued(1, "b", "bad"), queued(2, "c")])
    exporter = FakeExporter(failures=2)
    monkeypatch.setattr(service, "_FIRST_DELAY_SECONDS", 0.001)
    loop = loop_of(reader, exporter, tmp_path)

    await run_until(loop, reader, 3)

    assert exporter.names == ["a", "b", "c"]
    assert reader.committed == [3]
    [outcome] = reader.outcomes
    assert outcome.stored_spans == 3
    assert len(outcome.letters) == 1


def test_a_record_that_cannot_be_read_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    unreadable = QueuedRecord(1, Record(RecordKind.OTLP_TRACES, 0, b"no request"))

    [work] = interpret(
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

    [work] = interpret(Batch([queued(0, "a")], FakeLanes()), _MAX_BYTES)
    [content] = work.contents

    assert str(content) == "the record cannot be read: KeyError."
