from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from random import Random

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client import CollectorRegistry

from tracequill_collector.errors import PermanentError, QueueFullError, RetryableError
from tracequill_collector.otlp import OversizeError
from tracequill_collector.pipeline import Record, RecordConsumer, RecordKind
from tracequill_collector.receiver import intake as intake_module
from tracequill_collector.receiver.intake import Accepted, InFlight, Intake
from tracequill_collector.receiver.metrics import ReceiverMetrics
from tracequill_collector.testing import FailingConsumer, RecordSink


def _intake(
    consumer: RecordConsumer,
    *,
    registry: CollectorRegistry | None = None,
    patience_seconds: float = 0.0,
) -> Intake:
    return Intake(
        consumer,
        ReceiverMetrics(registry or CollectorRegistry()),
        request_max_bytes=10_000,
        patience_seconds=patience_seconds,
    )


def _payload(*spans: Span) -> bytes:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(spans)
    return request.SerializeToString()


GOOD = Span(trace_id=b"t" * 16, span_id=b"s" * 8)


async def test_the_bytes_are_passed_on_as_they_came() -> None:
    sink = RecordSink()
    payload = gzip.compress(_payload(GOOD))

    accepted = await _intake(sink).take(
        payload,
        transport="http",
        content_type="application/x-protobuf",
        content_encoding="gzip",
        project_name="support-bot",
    )

    (record,) = sink.records
    assert accepted == Accepted()
    assert record.received_unix_ns > 0
    assert record == Record(
        RecordKind.OTLP_TRACES,
        record.received_unix_ns,
        payload,
        "application/x-protobuf",
        "gzip",
        "support-bot",
    )


async def test_a_request_with_bad_spans_is_kept_whole_and_says_how_many() -> None:
    sink = RecordSink()
    payload = _payload(GOOD, Span())

    accepted = await _intake(sink).take(payload, transport="grpc")

    assert accepted.rejected_count == 1
    assert [record.payload for record in sink.records] == [payload]


async def test_an_empty_request_is_answered_and_not_kept() -> None:
    sink = RecordSink()

    assert await _intake(sink).take(b"", transport="grpc") == Accepted()
    assert sink.records == []


@pytest.mark.parametrize(
    ("payload", "encoding", "expected"),
    [
        pytest.param(b"\xff", "", PermanentError, id="no request"),
        pytest.param(b"plain", "gzip", PermanentError, id="no gzip"),
        pytest.param(gzip.compress(bytes(20_000)), "gzip", OversizeError, id="too large"),
    ],
)
async def test_what_can_never_be_read_is_not_kept(
    payload: bytes, encoding: str, expected: type[Exception]
) -> None:
    sink = RecordSink()

    with pytest.raises(expected):
        await _intake(sink).take(payload, transport="http", content_encoding=encoding)

    assert sink.records == []


class _FullAtFirst(RecordSink):
    """Is full for some calls."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    async def consume(self, record: Record) -> None:
        """Refuse at first."""
        self.times -= 1
        if self.times >= 0:
            raise QueueFullError("full")
        await super().consume(record)


async def test_a_queue_that_is_full_for_a_moment_is_not_noticed() -> None:
    sink = _FullAtFirst(2)

    await _intake(sink, patience_seconds=5).take(_payload(GOOD), transport="grpc")

    assert len(sink.records) == 1


async def test_a_queue_that_stays_full_refuses_in_the_end() -> None:
    consumer = FailingConsumer(QueueFullError("full"))

    with pytest.raises(QueueFullError):
        await _intake(consumer, patience_seconds=0.2).take(_payload(GOOD), transport="grpc")


async def test_a_disk_that_fails_refuses_at_once() -> None:
    consumer = FailingConsumer(RetryableError("the disk failed"))

    with pytest.raises(RetryableError, match="the disk failed"):
        await _intake(consumer, patience_seconds=60).take(_payload(GOOD), transport="grpc")


async def test_what_became_of_requests_is_counted() -> None:
    registry = CollectorRegistry()
    labels = {"receiver": "otlp", "transport": "grpc"}
    good = _intake(RecordSink(), registry=registry)
    await good.take(_payload(GOOD, GOOD, Span()), transport="grpc")
    with pytest.raises(PermanentError):
        await good.take(b"\xff", transport="grpc")

    def value(name: str, **more: str) -> float | None:
        return registry.get_sample_value(name, {**labels, **more})

    assert value("otelcol_receiver_accepted_spans_total") == 3
    assert value("tracequill_receiver_rejected_spans_total") == 1
    assert value("tracequill_receiver_requests_total", outcome="accepted") == 1
    assert value("tracequill_receiver_requests_total", outcome="permanent") == 1


# --- the limit on what is held at once --------------------------------------------------


async def test_past_the_limit_a_request_waits_for_room() -> None:
    limit = InFlight(100, patience_seconds=10)
    async with asyncio.TaskGroup() as tasks:
        async with limit.lease() as first:
            await first.grow_to(80)
            second = tasks.create_task(_hold(limit, 50))
            await asyncio.sleep(0)
            assert not second.done()

    assert second.done()
    assert limit.held_bytes == 0


async def test_past_the_limit_for_long_the_sender_shall_send_again() -> None:
    limit = InFlight(100, patience_seconds=0.01)
    async with limit.lease() as first:
        await first.grow_to(80)

        with pytest.raises(RetryableError, match="more than 100 bytes are being received at once"):
            await _hold(limit, 50)

    assert limit.held_bytes == 0


async def test_a_request_larger_than_the_limit_passes_alone() -> None:
    await _hold(InFlight(100, patience_seconds=0.01), 5000)


async def _hold(limit: InFlight, count: int) -> None:
    async with limit.lease() as lease:
        await lease.grow_to(count // 2)
        await lease.grow_to(count)


async def test_a_lease_that_shrinks_gives_room_to_others() -> None:
    limit = InFlight(100, patience_seconds=10)
    async with limit.lease() as first:
        await first.grow_to(80)
        await first.shrink_to(40)
        await first.shrink_to(60)  # it holds less already

        await _hold(limit, 60)
        assert limit.held_bytes == 40


# --- large requests ---------------------------------------------------------------------


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The functions that went to a thread."""
    called: list[str] = []
    to_thread = asyncio.to_thread

    async def noted(function: Callable[..., object], *arguments: object) -> object:
        called.append(function.__name__)
        return await to_thread(function, *arguments)

    monkeypatch.setattr(asyncio, "to_thread", noted)
    return called


def _large_intake(sink: RecordSink) -> Intake:
    return Intake(sink, ReceiverMetrics(CollectorRegistry()), request_max_bytes=4 << 20)


IN_THREAD = ["_decompress", "check"]
RANDOM = Random(1)


def _random_span(size: int) -> Span:
    return Span(attributes=[KeyValue(value=AnyValue(bytes_value=RANDOM.randbytes(size)))])


@pytest.mark.parametrize(
    ("payload", "encoding", "in_thread"),
    [
        pytest.param(_payload(Span(name="x" * 100_000)), "", [], id="small"),
        pytest.param(gzip.compress(_payload(_random_span(1000))), "gzip", [], id="small packed"),
        pytest.param(_payload(Span(name="x" * 2_000_000)), "", IN_THREAD, id="large"),
        pytest.param(
            gzip.compress(_payload(Span(name="x" * 2_000_000))),
            "gzip",
            IN_THREAD,
            id="large when unpacked",
        ),
        pytest.param(
            gzip.compress(_payload(_random_span(100_000))), "gzip", IN_THREAD, id="large packed"
        ),
        pytest.param(_payload(*[Span()] * 20_000), "", IN_THREAD, id="many spans"),
        pytest.param(
            gzip.compress(_payload(*[Span()] * 20_000)), "gzip", IN_THREAD, id="many when unpacked"
        ),
    ],
)
async def test_a_large_request_is_interpreted_in_a_thread_and_kept_as_it_came(
    threads: list[str], payload: bytes, encoding: str, in_thread: list[str]
) -> None:
    sink = RecordSink()

    await _large_intake(sink).take(payload, transport="http", content_encoding=encoding)

    assert threads == in_thread
    assert [record.payload for record in sink.records] == [payload]


@pytest.mark.parametrize(
    ("text", "spans", "in_thread"),
    [
        pytest.param(100, 1, [], id="small"),
        pytest.param(100_000, 1, IN_THREAD, id="large"),
        pytest.param(0, 6000, IN_THREAD, id="many"),
    ],
)
async def test_json_goes_to_a_thread_sooner(
    threads: list[str], text: int, spans: int, in_thread: list[str]
) -> None:
    span = b'{"name": "%s"}' % (b"x" * text) if text else b"{}"
    body = b'{"resourceSpans": [{"scopeSpans": [{"spans": [%s]}]}]}' % b",".join([span] * spans)

    accepted = await _large_intake(RecordSink()).take(
        body, transport="http", content_type="application/json"
    )

    assert accepted.rejected_count == spans
    assert threads == in_thread


async def test_what_is_read_in_threads_waits_for_memory_by_what_it_takes() -> None:
    many = _payload(*[Span()] * 20_000)
    intake = Intake(
        RecordSink(),
        ReceiverMetrics(CollectorRegistry()),
        request_max_bytes=4 << 20,
        patience_seconds=0,
    )
    async with intake.interpreted.lease() as lease:
        await lease.grow_to((256 << 20) - 3_000_000)

        with pytest.raises(RetryableError):
            await intake.take(many, transport="grpc")
        await intake.take(_payload(Span(name="x" * 1_100_000)), transport="grpc")


@pytest.mark.parametrize("count", [10_000, 800_000])
async def test_a_request_that_takes_too_much_memory_is_too_large(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(intake_module, "_READING_MAX_BYTES", 100_000)
    monkeypatch.setattr(intake_module, "_READING_MAX_TIMES", 0)
    sink = RecordSink()

    with pytest.raises(OversizeError, match=r"take about \d+ bytes of memory"):
        await _large_intake(sink).take(b"\x0a\x00" * count, transport="grpc")

    assert sink.records == []


@pytest.mark.parametrize("size", [4 << 20, 40 << 20])
async def test_too_large_is_too_large_in_a_thread_as_well(size: int) -> None:
    with pytest.raises(OversizeError, match=f"larger than {4 << 20} bytes"):
        await _large_intake(RecordSink()).take(
            gzip.compress(bytes(size + 1)), transport="http", content_encoding="gzip"
        )
