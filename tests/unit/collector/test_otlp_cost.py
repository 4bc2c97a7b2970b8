from __future__ import annotations

import json
import os

import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from tracequill_collector.otlp import JSON, PROTOBUF, reading_bytes

# What a message takes at least, by measurement.
SPAN_BYTES = 170
MESSAGE_BYTES = 50

WITH_KIND = Span(kind=Span.SPAN_KIND_INTERNAL)


def _of_spans(*spans: Span) -> bytes:
    scopes = ScopeSpans(spans=spans)
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[scopes])]
    ).SerializeToString()


@pytest.mark.parametrize(
    ("payload", "least"),
    [
        pytest.param(b"\x0a\x00" * 1000, MESSAGE_BYTES, id="resources"),
        pytest.param(_of_spans(*[Span()] * 1000), SPAN_BYTES, id="spans"),
        pytest.param(
            _of_spans(*[WITH_KIND] * 1000),
            SPAN_BYTES,
            id="spans with a kind",
        ),
        pytest.param(_of_spans(Span(links=[Span.Link()] * 1000)), MESSAGE_BYTES, id="links"),
        pytest.param(_of_spans(Span(attributes=[KeyValue()] * 1000)), MESSAGE_BYTES, id="keys"),
    ],
)
def test_a_thousand_tiny_messages_cost_what_they_take(payload: bytes, least: int) -> None:
    assert 1000 * least < reading_bytes(payload, PROTOBUF) < 5000 * least


@pytest.mark.parametrize("item", [b"{}", b"[]", b'{"a":1}'])
def test_a_thousand_objects_in_json_cost_what_they_take(item: bytes) -> None:
    payload = b'{"resourceSpans":[' + b",".join([item] * 1000) + b"]}"

    assert 150_000 < reading_bytes(payload, "Application/JSON; charset=utf-8") < 500_000


def test_ordinary_spans_cost_some_times_their_size() -> None:
    spans = [
        Span(
            trace_id=os.urandom(16),
            span_id=os.urandom(8),
            name="chat",
            start_time_unix_nano=1_763_000_000_000_000_000 + place,
            attributes=[
                KeyValue(key="input.value", value=AnyValue(string_value="What is this? " * 50)),
                KeyValue(key="llm.token_count.prompt", value=AnyValue(int_value=431)),
            ],
        )
        for place in range(100)
    ]
    payload = _of_spans(*spans)
    as_json = MessageToJson(ExportTraceServiceRequest.FromString(payload), indent=None).encode()

    assert len(payload) < reading_bytes(payload, "") < 8 * len(payload)
    assert len(as_json) < reading_bytes(as_json, JSON) < 16 * len(as_json)
    assert json.loads(as_json)
