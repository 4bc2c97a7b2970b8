"""Phoenix's spans become one OTLP request, as its own ingestion would have been sent them.

No input or output. Knows the shape of Phoenix's span and nothing else of Phoenix.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from google.protobuf.message import DecodeError
from openinference.semconv.resource import ResourceAttributes
from openinference.semconv.trace import DocumentAttributes, SpanAttributes
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1 import trace_pb2 as otlp

# Attributes whose string Phoenix parses as JSON when it reads OTLP.
_JSON_STRINGS = (
    DocumentAttributes.DOCUMENT_METADATA,
    SpanAttributes.LLM_PROMPT_TEMPLATE_VARIABLES,
    SpanAttributes.METADATA,
    SpanAttributes.TOOL_PARAMETERS,
)
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-fA-F]{32}")
_SPAN_ID = re.compile(r"(?!0{16})[0-9a-fA-F]{16}")
_STATUS = {
    "OK": otlp.Status.STATUS_CODE_OK,
    "ERROR": otlp.Status.STATUS_CODE_ERROR,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT64 = range(-(2**63), 2**63)


class EncodeError(ValueError):
    """A span that OTLP cannot carry; the message says which and why."""


class SpanContext(Protocol):
    """The ids of a span, in hex."""

    @property
    def trace_id(self) -> str: ...
    @property
    def span_id(self) -> str: ...


class SpanEvent(Protocol):
    """What happened at one moment of a span."""

    @property
    def name(self) -> str: ...
    @property
    def timestamp(self) -> datetime: ...
    @property
    def attributes(self) -> Any: ...


class PhoenixSpan(Protocol):
    """What we read of ``phoenix.trace.schemas.Span``."""

    @property
    def name(self) -> str: ...
    @property
    def context(self) -> SpanContext: ...
    @property
    def parent_id(self) -> str | None: ...
    @property
    def start_time(self) -> datetime: ...
    @property
    def end_time(self) -> datetime | None: ...
    @property
    def attributes(self) -> Any: ...
    @property
    def events(self) -> Any: ...
    @property
    def span_kind(self) -> Any: ...
    @property
    def status_code(self) -> Any: ...
    @property
    def status_message(self) -> str: ...


ReadAttributes = Callable[[otlp.Span], Mapping[str, Any]]
"""Gives the attributes that Phoenix reads from an OTLP span."""


def encode_request(
    spans: Iterable[tuple[PhoenixSpan, str]], read_attributes: ReadAttributes
) -> bytes:
    """Encode *spans*, each with its project's name, as one ExportTraceServiceRequest.

    The project stands in the resource, where any text is allowed; a header allows only ASCII.
    Raises EncodeError for a span that OTLP cannot carry.
    """
    request = ExportTraceServiceRequest()
    by_project: dict[str, otlp.ScopeSpans] = {}
    for span, project_name in spans:
        if project_name not in by_project:
            resource_spans = request.resource_spans.add()
            resource_spans.resource.attributes.append(
                KeyValue(
                    key=ResourceAttributes.PROJECT_NAME,
                    value=AnyValue(string_value=project_name),
                )
            )
            by_project[project_name] = resource_spans.scope_spans.add()
        try:
            by_project[project_name].spans.append(encode_span(span, read_attributes))
        except EncodeError:
            raise
        # A lone surrogate, the year 9999, more than the 100 levels that protobuf nests, ...
        except (ValueError, RecursionError, DecodeError) as error:
            raise _cannot_be_sent(f"span {span.name!r}", error) from None
    payload = request.SerializeToString()
    try:  # the request around a span takes three of the levels
        ExportTraceServiceRequest.FromString(payload)
    except DecodeError as error:
        raise _cannot_be_sent("a span", error) from None
    return payload


def _cannot_be_sent(what: str, error: Exception) -> EncodeError:
    return EncodeError(f"{what} cannot be sent as OTLP: {error}")


def encode_span(span: PhoenixSpan, read_attributes: ReadAttributes) -> otlp.Span:
    """Encode *span* so that *read_attributes* gives its attributes back.

    They go out flat, one key a leaf, as OpenInference's instrumentors send them. Where that
    would come back as something else (a key with a dot in it, an empty list, text that looks
    like JSON) they go out as maps.
    """
    encoded = otlp.Span(
        name=span.name,
        trace_id=_identifier(span, "trace_id", span.context.trace_id, _TRACE_ID),
        span_id=_identifier(span, "span_id", span.context.span_id, _SPAN_ID),
        start_time_unix_nano=_unix_nano(span.start_time),
        end_time_unix_nano=_unix_nano(span.end_time) if span.end_time else 0,
        events=[_event(event) for event in span.events],
        status=otlp.Status(
            code=_STATUS.get(_text(span.status_code), otlp.Status.STATUS_CODE_UNSET),
            message=span.status_message,
        ),
    )
    if span.parent_id:
        encoded.parent_span_id = _identifier(span, "parent_id", span.parent_id, _SPAN_ID)
    wanted = _with_span_kind(span)
    encoded.attributes.extend(_key_values(_flatten(wanted)))
    if read_attributes(encoded) != wanted:
        del encoded.attributes[:]
        encoded.attributes.extend(_key_values(_guarded(wanted)))
    return encoded


def _with_span_kind(span: PhoenixSpan) -> dict[str, Any]:
    return {"openinference": {"span": {"kind": _text(span.span_kind)}}, **span.attributes}


def _text(value: Any) -> str:
    """Give the text of an enumeration's member, or of a text."""
    return str(getattr(value, "value", value))


def _identifier(span: PhoenixSpan, name: str, text: str, pattern: re.Pattern[str]) -> bytes:
    if not pattern.fullmatch(text):
        digits = 32 if pattern is _TRACE_ID else 16
        raise EncodeError(
            f"the {name} {text!r} of span {span.name!r} is not {digits} hexadecimal digits "
            "with one above zero."
        )
    return bytes.fromhex(text)


def _unix_nano(moment: datetime) -> int:
    # Whole microseconds: a float of seconds would lose the last of them.
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _event(event: SpanEvent) -> otlp.Span.Event:
    return otlp.Span.Event(
        name=event.name,
        time_unix_nano=_unix_nano(event.timestamp),
        attributes=list(_key_values((event.attributes or {}).items())),
    )


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield one dotted key for each leaf; a list of maps gets its positions as keys."""
    for key, item in value.items():
        path = f"{prefix}{key}"
        if isinstance(item, Mapping):
            if path.endswith(_JSON_STRINGS):
                yield path, json.dumps(item)
            else:
                yield from _flatten(item, f"{path}.")
        elif _is_list(item) and any(isinstance(part, Mapping) for part in item):
            for position, part in enumerate(item):
                if isinstance(part, Mapping):
                    yield from _flatten(part, f"{path}.{position}.")
        else:
            yield path, item


def _guarded(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the attributes as they are, but text that Phoenix would parse as JSON quoted once."""
    for key, value in attributes.items():
        if isinstance(value, str) and key.endswith(_JSON_STRINGS):
            yield key, json.dumps(value)
        else:
            yield key, value


def _key_values(items: Iterable[tuple[str, Any]]) -> Iterator[KeyValue]:
    return (KeyValue(key=str(key), value=_any_value(value)) for key, value in items)


def _any_value(value: Any) -> AnyValue:
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        value = value.tolist()
    if value is None:
        return AnyValue()
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        # JSON has larger integers than OTLP: their digits are kept.
        return AnyValue(int_value=value) if value in _INT64 else AnyValue(string_value=str(value))
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, Mapping):
        return AnyValue(kvlist_value=KeyValueList(values=list(_key_values(value.items()))))
    if _is_list(value):
        return AnyValue(array_value=ArrayValue(values=[_any_value(item) for item in value]))
    return AnyValue(string_value=str(value))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
