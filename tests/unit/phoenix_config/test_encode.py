"""Phoenix's spans as OTLP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tracequill_phoenix.encode import EncodeError, encode_request, encode_span

START = datetime(2026, 3, 4, 5, 6, 7, 123457, UTC)


class Kind(Enum):
    LLM = "LLM"


@dataclass
class Context:
    trace_id: str = "0af7651916cd43dd8448eb211c80319c"
    span_id: str = "b7ad6b7169203331"


@dataclass
class Event:
    name: str
    timestamp: datetime
    attributes: dict[str, Any]


@dataclass
class Span:
    """A span of Phoenix, as far as it is read."""

    name: str = "answer"
    context: Context = field(default_factory=Context)
    parent_id: str | None = None
    start_time: datetime = START
    end_time: datetime | None = START + timedelta(seconds=1)
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    span_kind: Kind = Kind.LLM
    status_code: str = "OK"
    status_message: str = ""


KIND = {"openinference": {"span": {"kind": "LLM"}}}


def encode(span: Span, reads: Mapping[str, Any] | None = None) -> OtlpSpan:
    """Encode *span*; a reader of flat attributes finds what was meant, unless told otherwise."""
    return encode_span(span, lambda _: KIND | span.attributes if reads is None else reads)


def attributes(span: OtlpSpan) -> dict[str, Any]:
    return {pair.key: plain(pair.value) for pair in span.attributes}


def plain(value: AnyValue) -> Any:
    which = value.WhichOneof("value")
    if which == "kvlist_value":
        return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
    if which == "array_value":
        return [plain(item) for item in value.array_value.values]
    return getattr(value, which) if which else None


def test_ids_names_status_and_events_are_carried_over() -> None:
    event = Event("exception", START, {"exception.message": "no", "nested": {"a": [1, None]}})
    span = Span(
        parent_id="00f067aa0ba902b7",
        status_code="ERROR",
        status_message="failed",
        events=[event],
    )

    encoded = encode(span)

    assert encoded.trace_id.hex() == span.context.trace_id
    assert encoded.span_id.hex() == span.context.span_id
    assert encoded.parent_span_id.hex() == span.parent_id
    assert (encoded.name, encoded.status.message) == ("answer", "failed")
    assert encoded.status.code == Status.STATUS_CODE_ERROR
    assert encoded.events[0].name == "exception"
    assert {pair.key: plain(pair.value) for pair in encoded.events[0].attributes} == (
        event.attributes
    )


def test_times_keep_their_last_microsecond_in_every_zone() -> None:
    elsewhere = START.astimezone(timezone(timedelta(hours=5, minutes=45)))

    encoded = encode(Span(start_time=elsewhere, end_time=None))

    assert encoded.start_time_unix_nano == int(START.timestamp()) * 10**9 + 123_457_000
    assert encoded.end_time_unix_nano == 0


def test_attributes_go_out_flat_with_the_span_kind() -> None:
    messages = [{"message": {"role": "user"}}, {"message": {"role": "tool"}}]
    span = Span(
        attributes={"llm": {"input_messages": messages, "n": 3}, "tags": ["a", "b"]},
    )

    assert attributes(encode(span)) == {
        "openinference.span.kind": "LLM",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.1.message.role": "tool",
        "llm.n": 3,
        "tags": ["a", "b"],
    }


def test_a_kind_that_stands_in_the_attributes_stays() -> None:
    span = Span(attributes={"openinference": {"span": {"kind": "llm"}}})

    assert attributes(encode(span)) == {"openinference.span.kind": "llm"}


def test_metadata_goes_out_as_json_text() -> None:
    assert attributes(encode(Span(attributes={"metadata": {"a": {"b": 1}}})))["metadata"] == (
        '{"a": {"b": 1}}'
    )


def test_what_would_come_back_different_goes_out_as_maps() -> None:
    wanted = {"a": {"b.c": [], "d": None}, "metadata": '{"x": 1}'}

    encoded = encode(Span(attributes=wanted), reads={"something": "else"})

    assert attributes(encoded) == {**KIND, "a": wanted["a"], "metadata": '"{\\"x\\": 1}"'}


class Numbers:
    """Behaves as numpy's arrays do."""

    def tolist(self) -> list[float]:
        return [0.5, 1.5]


@pytest.mark.parametrize(
    ("value", "carried"),
    [
        (True, True),
        (2**63 - 1, 2**63 - 1),
        (2**63, "9223372036854775808"),
        (0.5, 0.5),
        (b"\0", b"\0"),
        (Numbers(), [0.5, 1.5]),
        (START, str(START)),
    ],
    ids=["true", "largest", "too large", "float", "bytes", "numpy", "anything else"],
)
def test_every_value_is_carried(value: Any, carried: Any) -> None:
    assert attributes(encode(Span(attributes={"key": value})))["key"] == carried


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (Span(context=Context(trace_id="abc")), "trace_id 'abc'"),
        (Span(context=Context(trace_id="0" * 32)), "above zero"),
        (Span(context=Context(span_id="b7ad6b716920333g")), "span_id"),
        (Span(parent_id="b7ad"), "parent_id 'b7ad'"),
        (Span(attributes={"key": "\ud800"}), "cannot be sent as OTLP"),
        (Span(start_time=datetime(9999, 1, 1, tzinfo=UTC)), "cannot be sent as OTLP"),
    ],
    ids=["short", "zeros", "not hex", "parent", "half a character", "far future"],
)
def test_what_otlp_cannot_carry_is_said(span: Span, said: str) -> None:
    with pytest.raises(EncodeError, match=said):
        encode_request([(span, "p")], lambda _: {})


@pytest.mark.parametrize("levels", [33, 34, 60, 5000])
def test_attributes_nested_too_deep_are_said(levels: int) -> None:
    deep: dict[str, Any] = {}
    for _ in range(levels):
        deep = {"a": deep}

    with pytest.raises(EncodeError, match="cannot be sent as OTLP"):
        encode_request([(Span(attributes=deep), "p")], lambda _: {})


def test_spans_are_grouped_by_project_in_order() -> None:
    spans = [(Span(name="1"), "é"), (Span(name="2"), "b"), (Span(name="3"), "é")]

    request = ExportTraceServiceRequest.FromString(encode_request(spans, lambda _: {}))

    assert [
        (
            resource_spans.resource.attributes[0].value.string_value,
            [span.name for span in resource_spans.scope_spans[0].spans],
        )
        for resource_spans in request.resource_spans
    ] == [("é", ["1", "3"]), ("b", ["2"])]
