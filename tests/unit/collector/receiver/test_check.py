from __future__ import annotations

import tracemalloc

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracequill_collector.errors import PermanentError
from tracequill_collector.otlp import OversizeError
from tracequill_collector.receiver import check as check_module
from tracequill_collector.receiver.check import check


def _payload(*spans: Span) -> bytes:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(spans)
    return request.SerializeToString()


def test_good_spans_are_counted_and_nothing_is_said() -> None:
    span = Span(trace_id=b"t" * 16, span_id=b"s" * 8)

    checked = check(_payload(span, span), "")

    assert (checked.span_count, checked.rejected_count, checked.message) == (2, 0, "")


def test_bad_spans_are_counted_and_the_reasons_are_said_once_each() -> None:
    bad = Span(trace_id=b"t" * 16)
    good = Span(trace_id=b"t" * 16, span_id=b"s" * 8)

    checked = check(_payload(bad, good, bad), "application/x-protobuf")

    assert (checked.span_count, checked.rejected_count) == (3, 2)
    assert checked.message == (
        "2 of 3 spans are kept as dead letters: span_id has 0 bytes instead of 8."
    )


def test_the_answer_stays_short_however_many_reasons_there_are() -> None:
    spans = [Span(trace_id=bytes(length), span_id=b"s" * 8) for length in range(500)]

    assert len(check(_payload(*spans), "").message) < 500


def test_rejected_spans_are_counted_and_not_collected() -> None:
    payload = _payload(*[Span()] * 20_000)
    tracemalloc.start()
    try:
        checked = check(payload, "")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert checked.rejected_count == 20_000
    assert peak_bytes < 100_000  # what protobuf takes is not Python's


def test_more_spans_than_all_stages_can_hold_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "_SPANS_MAX", 3)

    assert check(_payload(*[Span()] * 3), "").span_count == 3
    with pytest.raises(OversizeError, match="the request has 4 spans, more than 3"):
        check(_payload(*[Span()] * 4), "")


def test_an_empty_request_has_no_spans() -> None:
    assert check(b"", "").span_count == 0


def test_what_cannot_be_parsed_is_refused_for_good() -> None:
    with pytest.raises(PermanentError):
        check(b"\xff", "")
