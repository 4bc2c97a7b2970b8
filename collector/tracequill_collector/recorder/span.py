"""Spans that the recorder makes: flat attributes and ids enter, OTLP protobuf leaves.

Knows nothing of exchanges or vendors. No input or output.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import repeat
from typing import Any, Literal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1 import trace_pb2

from tracequill_collector.recorder.attributes import PROJECT_NAME
from tracequill_collector.recorder.body import to_json

SCOPE_NAME = "tracequill.recorder"

StatusCode = Literal["UNSET", "OK", "ERROR"]
Attributes = dict[str, Any]
"""Flat names with dots; text, numbers, booleans, and lists and objects of them. None is absent."""

_STATUS = {
    "UNSET": trace_pb2.Status.STATUS_CODE_UNSET,
    "OK": trace_pb2.Status.STATUS_CODE_OK,
    "ERROR": trace_pb2.Status.STATUS_CODE_ERROR,
}
_MAX_INT64 = 2**63
# An item of an ArrayValue that is a double: field 1 of 9 bytes, in it field 4 of 8 bytes.
_DOUBLE = struct.Struct("<3sd")
_DOUBLE_HEAD = b"\x0a\x09\x21"
# Protobuf readers refuse messages nested deeper than 100, and each level of ours takes three.
_MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One event of a span, with flat attributes."""

    name: str
    unix_ns: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(slots=True)
class RecordedSpan:
    """One exchange, or a step in it, as a span; ids are lower-case hex, attributes are flat."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    start_unix_ns: int
    end_unix_ns: int
    project_name: str
    attributes: Attributes
    events: list[RecordedEvent] = field(default_factory=list)
    status: StatusCode = "OK"
    status_message: str = ""
    children: list[RecordedSpan] = field(default_factory=list)


def child_span_id(trace_id: str, span_id: str, number: int) -> str:
    """Give the id of an exchange's child span; the same exchange always gives the same ids."""
    name = f"{trace_id}-{span_id}-{number}".encode()
    return hashlib.blake2b(name, digest_size=8).hexdigest()


def encode_request(spans: Sequence[trace_pb2.Span], project_name: str) -> bytes:
    """Encode *spans*, all of one project, as an ``ExportTraceServiceRequest``."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.append(
        KeyValue(key=PROJECT_NAME, value=_any_value(project_name))
    )
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = SCOPE_NAME
    scope_spans.scope.version = version("tracequill")
    scope_spans.spans.extend(spans)
    return request.SerializeToString()


def encode_spans(span: RecordedSpan) -> list[trace_pb2.Span]:
    """Encode *span* and all below it, parents first."""
    below = [encoded for child in span.children for encoded in encode_spans(child)]
    return [encode_span(span), *below]


def encode_span(span: RecordedSpan) -> trace_pb2.Span:
    """Encode one span as OTLP, without its children."""
    return trace_pb2.Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_span_id),
        name=_text(span.name),
        kind=trace_pb2.Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=span.start_unix_ns,
        end_time_unix_nano=span.end_unix_ns,
        attributes=_key_values(span.attributes),
        events=[
            trace_pb2.Span.Event(
                name=_text(event.name),
                time_unix_nano=event.unix_ns,
                attributes=_key_values(event.attributes),
            )
            for event in span.events
        ],
        status=trace_pb2.Status(code=_STATUS[span.status], message=_text(span.status_message)),
    )


def _key_values(attributes: Mapping[str, Any], depth: int = 0) -> list[KeyValue]:
    return [
        KeyValue(key=_text(str(key)), value=_any_value(value, depth))
        for key, value in attributes.items()
        if value is not None
    ]


def _any_value(value: Any, depth: int = 0) -> AnyValue:
    if type(value) is str:
        return AnyValue(string_value=_text(value))
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case str():
            return AnyValue(string_value=_text(value))
        case int():
            if -_MAX_INT64 <= value < _MAX_INT64:
                return AnyValue(int_value=value)
            return AnyValue(string_value=str(value))
        case float():
            return AnyValue(double_value=value)
        case None:
            return AnyValue()
        case list() | tuple() | Mapping() if depth == _MAX_DEPTH:
            return AnyValue(string_value=_text(to_json(value)))
        case list() | tuple() if set(map(type, value)) == {float}:
            return AnyValue(array_value=_numbers(value))
        case list() | tuple():
            items = [_any_value(item, depth + 1) for item in value]
            return AnyValue(array_value=ArrayValue(values=items))
        case Mapping():
            return AnyValue(kvlist_value=KeyValueList(values=_key_values(value, depth + 1)))
        case _:
            return AnyValue(string_value=_text(str(value)))


def _numbers(values: Sequence[float]) -> ArrayValue:
    """Give *values*, thousands perhaps, by way of their encoding: that is several times as fast."""
    return ArrayValue.FromString(b"".join(map(_DOUBLE.pack, repeat(_DOUBLE_HEAD), values)))


def _text(value: str) -> str:
    """Make *value* UTF-8; JSON may hold lone surrogates, protobuf must not."""
    if value.isascii():
        return value
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        # Halves that belong together become one character, the others a replacement mark.
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value
