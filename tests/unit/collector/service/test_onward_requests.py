"""Records become requests to send on: nothing added, nothing lost, nothing misplaced."""

from __future__ import annotations

import gzip
from collections import deque

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracequill_collector.otlp import all_spans, count_spans
from tracequill_collector.pipeline import QueuedRecord, Record, RecordKind
from tracequill_collector.processor.policy import Applied, Policy
from tracequill_collector.service.onward_requests import (
    REQUEST_BYTES,
    Parcel,
    halves,
    letter_of,
    next_parcel,
    plain_request,
)

_MAX_BYTES = 10_000_000
_PROJECT_NAME = "openinference.project.name"


def otlp_span(name: str) -> Span:
    """A valid span."""
    return Span(trace_id=b"t" * 16, span_id=name.encode().rjust(8, b"_")[:8], name=name)


def request_of(*names: str, project_name: str = "") -> ExportTraceServiceRequest:
    """A request with a resource and two scopes, the first of which holds one span."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add(schema_url="resource schema")
    resource_spans.resource.attributes.add(key="service.name").value.string_value = "service"
    if project_name:
        added = resource_spans.resource.attributes.add(key=_PROJECT_NAME)
        added.value.string_value = project_name
    for scope_name, some in (("first", names[:1]), ("second", names[1:])):
        scope_spans = resource_spans.scope_spans.add(schema_url="scope schema")
        scope_spans.scope.name = scope_name
        scope_spans.spans.extend(otlp_span(name) for name in some)
    return request


def records_of(*requests: ExportTraceServiceRequest | bytes) -> deque[QueuedRecord]:
    """Queue *requests*."""
    payloads = [item if isinstance(item, bytes) else item.SerializeToString() for item in requests]
    return deque(
        QueuedRecord(7 + place, Record(RecordKind.OTLP_TRACES, 100 - place, payload))
        for place, payload in enumerate(payloads)
    )


def parcel_of(left: deque[QueuedRecord], policy: Policy | None = None) -> Parcel:
    """Take the next parcel."""
    return next_parcel(left, max_bytes=_MAX_BYTES, policy=policy)


def sent(parcel: Parcel) -> ExportTraceServiceRequest:
    """Read the request of *parcel*."""
    return ExportTraceServiceRequest.FromString(parcel.piece.payload)


def names_of(request: ExportTraceServiceRequest) -> list[str]:
    """Give the names of all spans."""
    return [span.name for _, _, span in all_spans(request)]


def test_records_that_follow_one_another_share_a_request() -> None:
    first, second = request_of("a", "b"), request_of("c")

    parcel = parcel_of(records_of(first, second))

    assert list(sent(parcel).resource_spans) == [*first.resource_spans, *second.resource_spans]
    assert (parcel.piece.spans, parcel.count, parcel.next_sequence) == (3, 2, 9)
    assert parcel.received_unix_ns == 99
    assert parcel.letters == []


def test_a_request_is_full_at_its_size_and_a_large_record_goes_alone() -> None:
    large = request_of("x" * REQUEST_BYTES)
    left = records_of(request_of("a"), large, request_of("b"))

    parcels = [parcel_of(left), parcel_of(left), parcel_of(left)]

    assert [parcel.piece.spans for parcel in parcels] == [1, 1, 1]
    assert not left


def test_json_and_gzip_become_plain_protobuf() -> None:
    json = b"""{"resourceSpans": [{"scopeSpans": [{"spans": [{
        "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708", "name": "j"
    }]}]}]}"""
    as_json = Record(RecordKind.OTLP_TRACES, 1, json, content_type="application/json")
    packed = gzip.compress(request_of("z").SerializeToString())
    as_gzip = Record(RecordKind.OTLP_TRACES, 1, packed, content_encoding="gzip")

    parcel = parcel_of(deque([QueuedRecord(0, as_json), QueuedRecord(1, as_gzip)]))

    assert names_of(sent(parcel)) == ["j", "z"]


def test_a_header_that_names_the_project_becomes_the_attribute_and_wins() -> None:
    payload = request_of("a", project_name="in the resource").SerializeToString()
    record = Record(RecordKind.OTLP_TRACES, 1, payload, project_name="by header \udcff")

    [resource_spans] = sent(parcel_of(deque([QueuedRecord(0, record)]))).resource_spans

    named = [
        pair.value.string_value
        for pair in resource_spans.resource.attributes
        if pair.key == _PROJECT_NAME
    ]
    assert named == ["by header \ufffd"]
    assert resource_spans.resource.attributes[0].value.string_value == "service"


def test_what_cannot_be_read_or_sent_is_left_out_with_a_reason() -> None:
    bad_id = request_of("a", "b")
    bad_id.resource_spans[0].scope_spans[0].spans[0].span_id = bytes(8)
    exchange = QueuedRecord(9, Record(RecordKind.EXCHANGE, 1, b"{}"))
    left = records_of(b"no request", bad_id)
    left.append(exchange)

    parcel = parcel_of(left)

    assert names_of(sent(parcel)) == ["b"]
    assert [scope.scope.name for scope in sent(parcel).resource_spans[0].scope_spans] == ["second"]
    unreadable, bad, unknown = parcel.letters
    assert (unreadable.what, unreadable.record.payload) == ("record", b"no request")
    assert bad.what == "span" and "span_id is all zeros" in bad.reason
    alone = ExportTraceServiceRequest.FromString(bad.record.payload)
    assert names_of(alone) == ["a"]
    assert alone.resource_spans[0].schema_url == "resource schema"
    assert unknown.what == "record" and "holds no traces" in unknown.reason


class _Hiding(Policy):
    """Renames every span, and fails on those called bad."""

    def apply(self, request: ExportTraceServiceRequest) -> Applied:
        applied = Applied()
        for place, (_, _, span) in enumerate(all_spans(request)):
            if span.name == "bad":
                applied.failed[place] = "it cannot be redacted."
            span.name = "hidden"
            applied.counts["rule"] += 1
        return applied


def test_the_policy_is_applied_and_what_it_fails_on_goes_nowhere() -> None:
    parcel = parcel_of(records_of(request_of("a", "bad", "c")), _Hiding())

    assert names_of(sent(parcel)) == ["hidden", "hidden"]
    assert parcel.policy_counts == {"rule": 3}
    [letter] = parcel.letters
    assert letter.reason == "it cannot be redacted."
    assert names_of(ExportTraceServiceRequest.FromString(letter.record.payload)) == ["bad"]


def test_a_mistake_of_ours_is_a_dead_letter_and_costs_no_other_record() -> None:
    class Broken(Policy):
        def apply(self, request: ExportTraceServiceRequest) -> Applied:
            if names_of(request) == ["a"]:
                raise KeyError("a secret prompt")
            return Applied()

    parcel = parcel_of(records_of(request_of("a"), request_of("b")), Broken())

    assert names_of(sent(parcel)) == ["b"]
    assert [letter.reason for letter in parcel.letters] == ["the record cannot be read: KeyError."]


def test_an_empty_request_is_done_without_being_sent() -> None:
    parcel = parcel_of(records_of(b"", request_of()))

    assert (parcel.piece.spans, parcel.count, parcel.next_sequence) == (0, 2, 9)
    assert parcel.letters == []


def test_halves_have_every_span_once_with_what_surrounds_it() -> None:
    whole = ExportTraceServiceRequest()
    for names in (("a", "b", "c"), ("d",)):
        whole.resource_spans.extend(request_of(*names).resource_spans)

    first, second = halves(whole.SerializeToString())

    pieces = [ExportTraceServiceRequest.FromString(half.payload) for half in (first, second)]
    assert [names_of(piece) for piece in pieces] == [["a", "b"], ["c", "d"]]
    assert [(half.spans) for half in (first, second)] == [2, 2]
    assert [
        (around.schema_url, scope.scope.name, span.name)
        for piece in pieces
        for around, scope, span in all_spans(piece)
    ] == [
        (around.schema_url, scope.scope.name, span.name) for around, scope, span in all_spans(whole)
    ]
    large = request_of(*(f"{number}" for number in range(100)))
    large.resource_spans[0].resource.attributes[0].value.string_value = "r" * 10_000
    assert all(len(half.payload) < 20_000 for half in halves(large.SerializeToString()))


def test_the_same_span_is_the_same_letter_whatever_request_it_came_with() -> None:
    first, rest = halves(request_of("a", "b").SerializeToString())
    alone = parcel_of(records_of(request_of("a"))).piece

    letters = {letter_of(piece, "no.", 1).record.payload for piece in (first, alone)}

    assert len(letters) == 1
    assert letter_of(rest, "no.", 1).record.payload not in letters


def test_the_plain_span_is_valid_and_always_the_same_span() -> None:
    [(_, _, once)] = all_spans(ExportTraceServiceRequest.FromString(plain_request()))
    [(_, _, again)] = all_spans(ExportTraceServiceRequest.FromString(plain_request()))

    assert (once.trace_id, once.span_id) == (again.trace_id, again.span_id)
    parcel = parcel_of(records_of(plain_request()))
    assert (parcel.letters, count_spans(sent(parcel))) == ([], 1)
