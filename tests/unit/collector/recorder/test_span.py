from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracequill_collector.recorder.span import (
    RecordedEvent,
    RecordedSpan,
    encode_request,
    encode_span,
)


def _span(attributes: dict[str, Any] | None = None) -> RecordedSpan:
    return RecordedSpan(
        trace_id="0af7651916cd43dd8448eb211c80319c",
        span_id="b7ad6b7169203331",
        parent_span_id="00f067aa0ba902b7",
        name="ChatCompletion",
        start_unix_ns=1,
        end_unix_ns=2,
        project_name="p",
        attributes=attributes or {},
        events=[RecordedEvent("exception", 2, {"exception.message": "no"})],
        status="ERROR",
        status_message="no",
    )


def test_a_request_holds_ids_times_events_status_and_project() -> None:
    request = ExportTraceServiceRequest.FromString(encode_request([encode_span(_span())], "Ä"))

    (resource_spans,) = request.resource_spans
    (project,) = resource_spans.resource.attributes
    (span,) = resource_spans.scope_spans[0].spans
    assert (project.key, project.value.string_value) == ("openinference.project.name", "Ä")
    assert span.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert span.span_id.hex() == "b7ad6b7169203331"
    assert span.parent_span_id.hex() == "00f067aa0ba902b7"
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (1, 2)
    assert [event.name for event in span.events] == ["exception"]
    assert span.status.code == span.status.STATUS_CODE_ERROR


@pytest.mark.parametrize(
    ("value", "kind", "encoded"),
    [
        pytest.param("ü", "string_value", "ü", id="text"),
        pytest.param(True, "bool_value", True, id="a boolean is no number"),
        pytest.param(-5, "int_value", -5, id="a number"),
        pytest.param(2**63, "string_value", str(2**63), id="a number that OTLP cannot hold"),
        pytest.param(0.5, "double_value", 0.5, id="a fraction"),
        pytest.param("a\ud83d", "string_value", "a\ufffd", id="half a character"),
        pytest.param("\ud83c\udf0a", "string_value", "🌊", id="two halves of a character"),
    ],
)
def test_values_are_encoded(value: Any, kind: str, encoded: Any) -> None:
    (attribute,) = encode_span(_span({"a": value})).attributes

    assert attribute.value.WhichOneof("value") == kind
    assert getattr(attribute.value, kind) == encoded


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize(
    "values",
    [
        pytest.param([0.5, -1e308, 0.0, float("inf")], id="fractions"),
        pytest.param([1.0] * 2000, id="many"),
        pytest.param([0.5, 1, True], id="of several types"),
    ],
)
def test_a_vector_keeps_every_number(kind: type, values: list[float]) -> None:
    (attribute,) = encode_span(_span({"a": kind(values)})).attributes

    items = attribute.value.array_value.values
    assert [getattr(item, str(item.WhichOneof("value"))) for item in items] == values


def test_none_is_absent() -> None:
    assert not encode_span(_span({"a": None})).attributes


def test_lists_and_objects_keep_their_structure() -> None:
    (attribute,) = encode_span(_span({"a": [{"b": [1, None]}, "c"]})).attributes

    first, second = attribute.value.array_value.values
    assert first.kvlist_value.values[0].value.array_value.values[0].int_value == 1
    assert second.string_value == "c"


def test_what_is_nested_deeply_can_still_be_read() -> None:
    deep: Any = "end"
    for _ in range(300):
        deep = {"a": [deep]}
    encoded = encode_request([encode_span(_span({"a": deep}))], "p")

    assert ExportTraceServiceRequest.FromString(encoded)
