"""A request and a policy: what is changed, what is counted, and what goes nowhere."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from tests.unit.collector.processor.planted import SECRETS, every_place, pair, span_with
from tests.unit.collector.processor.test_redact import SPANS
from tracequill_collector.otlp import all_spans
from tracequill_collector.pipeline import QueuedRecord, Record, RecordKind
from tracequill_collector.processor.decode import alone, decode
from tracequill_collector.processor.detectors import NAMES
from tracequill_collector.processor.limits import Limits
from tracequill_collector.processor.policy import Policy
from tracequill_collector.processor.redact import Redaction
from tracequill_collector.service.onward_requests import next_parcel

MAX_BYTES = 1_000_000
EMAIL = SECRETS["email"]


class Breaking(Redaction):
    """Fails at a text that says so."""

    def _is_clean(self, span: Span) -> bool:
        """Look at every span."""
        return False

    def text(self, text: str, hits: set[str]) -> str:
        """Fail, or do what it does."""
        _break_at(text)
        return super().text(text, hits)

    def pairs(self, pairs: Any, hits: set[str], above: str = "") -> None:
        """Change the first pair, then fail."""
        pairs = list(pairs)
        super().pairs(pairs, hits, above)
        for one in pairs:
            _break_at(one.value.string_value)


def _break_at(text: str) -> None:
    if text == "break":
        raise RecursionError("jane.doe@example.com is too deep")
    if text == "no memory":
        raise MemoryError


def named(name: str, *pairs: Any) -> Span:
    """Give a span with this name and id."""
    span = span_with(*pairs)
    span.name, span.span_id = name, name.encode().ljust(8, b"_")
    return span


def record_of(request: ExportTraceServiceRequest, project_name: str = "") -> Record:
    """Give the record of *request*."""
    return Record(RecordKind.OTLP_TRACES, 0, request.SerializeToString(), project_name=project_name)


def broken_request() -> ExportTraceServiceRequest:
    """Give a request in which a span, a scope and a resource cannot be redacted."""

    def scope(name: str, *spans: Span) -> ScopeSpans:
        made = ScopeSpans(spans=spans)
        made.scope.attributes.extend([pair("mail", EMAIL), pair("x", name)])
        return made

    def resource(name: str, *scopes: ScopeSpans) -> ResourceSpans:
        made = ResourceSpans(scope_spans=scopes)
        made.resource.attributes.extend([pair("mail", EMAIL), pair("x", name)])
        return made

    bad = named("bad", pair("mail", EMAIL), pair("x", "break"))
    return ExportTraceServiceRequest(
        resource_spans=[
            resource("ok", scope("ok", named("one"), bad, named("two", pair("mail", EMAIL)))),
            resource("ok", scope("break", named("three")), scope("ok", named("four"))),
            resource("break", scope("ok", named("five"), named("six"))),
            resource("ok", scope("ok", named("seven"))),
        ]
    )


def test_what_cannot_be_redacted_harms_no_other_span_and_goes_nowhere() -> None:
    request = broken_request()

    applied = Policy(Breaking(detectors=["email"])).apply(request)

    assert applied.failed == {
        1: "the span cannot be redacted or limited: RecursionError.",
        3: "what surrounds the span cannot be redacted: RecursionError.",
        5: "what surrounds the span cannot be redacted: RecursionError.",
        6: "what surrounds the span cannot be redacted: RecursionError.",
    }
    content = request.SerializeToString()
    assert b"jane" not in content
    assert b"bad" not in content and b"three" not in content and b"five" not in content
    for kept in (b"one", b"two", b"four", b"seven"):
        assert kept in content


def test_a_span_that_cannot_be_redacted_is_rejected_and_kept_as_it_came() -> None:
    record = record_of(broken_request())

    decoded = decode(record, max_bytes=MAX_BYTES, policy=Policy(Breaking(detectors=["email"])))

    assert [span.name for span in decoded.spans] == ["one", "two", "four", "seven"]
    assert decoded.places == [0, 2, 4, 7]
    assert [place for place, _ in decoded.rejected] == [1, 3, 5, 6]
    assert not any("jane" in str(span) for span in decoded.spans)
    assert not any("jane" in reason for _, reason in decoded.rejected)
    letters = dict(alone(record, {1, 3}, max_bytes=MAX_BYTES))
    assert all(EMAIL.encode() in letter for letter in letters.values())


def test_want_of_memory_is_no_fault_of_a_span() -> None:
    request = ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(scope_spans=[ScopeSpans(spans=[named("a", pair("x", "no memory"))])])
        ]
    )

    with pytest.raises(MemoryError):
        Policy(Breaking(detectors=["email"])).apply(request)


def test_spans_are_counted_by_rule_and_what_surrounds_them_once() -> None:
    spans = [named(f"s{number}", pair("a", EMAIL), pair("b", EMAIL)) for number in range(3)]
    spans.append(named("large", pair("a", "x" * 1000)))
    request = ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])]
    )
    request.resource_spans[0].resource.attributes.append(pair("owner", EMAIL))

    applied = Policy(Redaction(detectors=["email"]), Limits(attribute_max_bytes=200)).apply(request)

    assert applied.counts == {"email": 4, "attribute_bytes": 1}


def test_what_is_redacted_is_redacted_before_it_is_cut() -> None:
    text = "x" * 150 + f" {EMAIL} " + "y" * 1000
    request = ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(scope_spans=[ScopeSpans(spans=[named("a", pair("x", text))])])
        ]
    )

    Policy(Redaction(detectors=["email"]), Limits(attribute_max_bytes=210)).apply(request)

    assert b"jane" not in request.SerializeToString()


def test_a_project_in_a_header_is_redacted_too() -> None:
    record = record_of(every_place("x"), project_name=f"for {EMAIL}")
    policy = Policy(Redaction(detectors=["email"]))

    (span,) = decode(record, max_bytes=MAX_BYTES, policy=policy).spans
    (as_before,) = decode(record, max_bytes=MAX_BYTES, policy=Policy(None, Limits())).spans

    assert span.project_name == "for [redacted:email]"
    assert as_before.project_name == f"for {EMAIL}"


@pytest.mark.parametrize("name", SECRETS)
def test_a_decoded_span_holds_no_copy_of_a_secret(name: str) -> None:
    policy = Policy(Redaction(detectors=NAMES), Limits(attribute_max_bytes=10_000))

    decoded = decode(record_of(every_place(SECRETS[name])), max_bytes=MAX_BYTES, policy=policy)

    (span,) = decoded.spans
    assert decoded.rejected == []
    # The bytes that are no UTF-8 are stored in base64.
    for part in SECRETS[name].split():
        if len(part) > 3:
            assert part not in str(span) and part not in span.attributes_json


@pytest.mark.parametrize("policy", [None, Policy(), Policy(None, Limits())])
def test_without_rules_everything_is_decoded_as_it_came(policy: Policy | None) -> None:
    request = every_place(SECRETS["card"])
    record = record_of(request)

    decoded = decode(record, max_bytes=MAX_BYTES, policy=policy)

    assert decoded == decode(record, max_bytes=MAX_BYTES)
    assert not decoded.policy_counts
    if policy is not None:
        before = request.SerializeToString()
        assert policy.apply(request).failed == {}
        assert request.SerializeToString() == before


def test_a_second_collector_on_the_way_changes_nothing_more() -> None:
    policy = Policy(
        Redaction(detectors=NAMES, keys=["user.*", "password"], phone_regions=["DE"]),
        Limits(attribute_max_bytes=1000, attributes_max=15, events_max=2, span_max_bytes=8192),
    )
    request = every_place(" and ".join(SECRETS.values()))

    assert policy.apply(request).counts
    once = request.SerializeToString()

    assert not policy.apply(request).counts
    assert request.SerializeToString() == once


@settings(max_examples=60)
@given(span=SPANS)
def test_any_span_is_changed_without_failing(span: Span) -> None:
    policy = Policy(
        Redaction(detectors=NAMES, keys=["password"], patterns={"ticket": r"TICK-\d+"}),
        Limits(attribute_max_bytes=200, attributes_max=3, events_max=1, span_max_bytes=5000),
    )
    request = ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[span])])]
    )

    assert policy.apply(request).failed == {}


def test_the_deepest_value_that_protobuf_reads_is_redacted() -> None:
    value = AnyValue(string_value=EMAIL)
    for _ in range(45):
        value = AnyValue(array_value=ArrayValue(values=[value]))
    deepest = named("deep", pair("x", value)).SerializeToString()
    request = ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[Span.FromString(deepest)])])]
    )

    assert Policy(Redaction(detectors=["email"])).apply(request).counts == {"email": 1}
    assert b"jane" not in request.SerializeToString()


def test_what_is_sent_on_holds_no_secret_and_what_fails_stays_behind() -> None:
    record = record_of(broken_request(), project_name=f"for {EMAIL}")
    policy = Policy(Breaking(detectors=["email"]))

    parcel = next_parcel(deque([QueuedRecord(1, record)]), max_bytes=MAX_BYTES, policy=policy)

    sent = ExportTraceServiceRequest.FromString(parcel.piece.payload)
    names = [span.name for _, _, span in all_spans(sent)]
    assert names == ["one", "two", "four", "seven"]
    assert b"jane" not in parcel.piece.payload
    assert b"for [redacted:email]" in parcel.piece.payload
    assert len(parcel.letters) == 4
    assert all(EMAIL.encode() in letter.record.payload for letter in parcel.letters)
    assert not any("jane" in letter.reason for letter in parcel.letters)
