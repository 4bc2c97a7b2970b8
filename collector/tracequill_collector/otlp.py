"""A trace request as bytes becomes a parsed request and the list of its spans with bad ids.

The receiver answers by these functions, the processor interprets by the same ones, so both
refuse the same spans. They know neither. No input or output.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, NamedTuple

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from tracequill_collector.errors import PermanentError

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

_TRACE_ID_BYTES = 16
_SPAN_ID_BYTES = 8
_NO_TRACE_ID = bytes(_TRACE_ID_BYTES)
_NO_SPAN_ID = bytes(_SPAN_ID_BYTES)

# 16 + MAX_WBITS makes zlib expect a gzip header and check its CRC.
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class OversizeError(PermanentError):
    """The request is larger than the limit, as it came or after decompression."""


class UnsupportedError(PermanentError):
    """The content type or content encoding is none that is read here."""


class RejectedSpan(NamedTuple):
    """A span that no stage may store."""

    place: int
    """Among all spans of its request, from 0."""
    reason: str
    """One sentence."""


def media_type(content_type: str) -> str:
    """Give the media type without parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def decompress(payload: bytes, content_encoding: str, max_bytes: int) -> bytes:
    """Undo *content_encoding*; at most *max_bytes* are ever produced.

    Raises OversizeError past *max_bytes*, UnsupportedError for an encoding that is not read,
    and PermanentError for bytes that are not what they say.
    """
    encoding = content_encoding.strip().lower()
    if encoding in ("", "identity"):
        if len(payload) > max_bytes:
            raise _oversize(max_bytes)
        return payload
    if encoding in ("gzip", "x-gzip"):
        return _gunzip(payload, max_bytes)
    if encoding == "deflate":
        return _inflate(payload, max_bytes)
    raise UnsupportedError(
        f"content encoding {content_encoding!r} is not supported. Use gzip, deflate or none."
    )


def _oversize(max_bytes: int) -> OversizeError:
    return OversizeError(
        f"the request is larger than {max_bytes} bytes. "
        "Send smaller batches, or raise request_max_bytes."
    )


def _gunzip(payload: bytes, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    left = max_bytes
    rest = payload
    while True:  # a gzip file may have several members
        unpacker = zlib.decompressobj(_GZIP_WINDOW)
        part = _unpack(unpacker, rest, left, max_bytes, "gzip")
        parts.append(part)
        left -= len(part)
        rest = unpacker.unused_data
        if not rest.strip(b"\0"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _inflate(payload: bytes, max_bytes: int) -> bytes:
    # "deflate" means zlib (RFC 9110 8.4.1.2), but some clients send the bare stream: the first
    # two bytes of zlib tell them apart.
    is_zlib = (
        len(payload) > 1 and payload[0] & 0x0F == 8 and int.from_bytes(payload[:2], "big") % 31 == 0
    )
    window = zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS
    return _unpack(zlib.decompressobj(window), payload, max_bytes, max_bytes, "deflate")


def _unpack(unpacker: Any, payload: bytes, left: int, max_bytes: int, name: str) -> bytes:
    try:
        # One byte more than allowed tells too large from just fitting; 0 would mean no limit.
        part: bytes = unpacker.decompress(payload, left + 1)
    except zlib.error as error:
        raise PermanentError(f"the body is not valid {name}: {error}.") from None
    if len(part) > left:
        raise _oversize(max_bytes)
    if not unpacker.eof:
        raise PermanentError(f"the {name} body is cut off after {len(payload)} bytes.")
    return part


def parse_traces(payload: bytes, content_type: str) -> ExportTraceServiceRequest:
    """Parse a decompressed request; an empty *content_type* is protobuf, as gRPC sends it.

    Raises UnsupportedError for another content type, PermanentError for bytes that are none.
    """
    kind = media_type(content_type)
    if kind == JSON:
        return _parse_json(payload)
    if kind not in ("", PROTOBUF, "application/grpc", "application/grpc+proto"):
        raise UnsupportedError(
            f"content type {content_type!r} is not supported. Use {PROTOBUF} or {JSON}."
        )
    try:
        return ExportTraceServiceRequest.FromString(payload)
    except DecodeError as error:
        raise PermanentError(f"the body is not an ExportTraceServiceRequest: {error}.") from None


def _parse_json(payload: bytes) -> ExportTraceServiceRequest:
    """Parse OTLP's JSON, which writes ids in hex where protobuf's JSON has base64."""
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise PermanentError(f"the body is not valid JSON: {error}.") from None
    if not isinstance(content, dict):
        raise PermanentError("the body is JSON, but not an object.")
    try:
        _hex_ids_to_bytes(content)
        request = ExportTraceServiceRequest()
        ParseDict(content, request, ignore_unknown_fields=True)
    except (ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise PermanentError(
            f"the body is not an ExportTraceServiceRequest in JSON: {error}."
        ) from None
    return request


def _hex_ids_to_bytes(content: dict[str, Any]) -> None:
    """Replace every hex id in *content* by the base64 that ``ParseDict`` reads."""

    def replace(holder: dict[str, Any], *names: str) -> None:
        for name in names:
            if text := holder.get(name):
                holder[name] = b64encode(bytes.fromhex(text)).decode()

    for resource_spans in content.get("resourceSpans") or ():
        for scope_spans in resource_spans.get("scopeSpans") or ():
            for span in scope_spans.get("spans") or ():
                replace(span, "traceId", "spanId", "parentSpanId")
                for link in span.get("links") or ():
                    replace(link, "traceId", "spanId")


def span_problem(span: Span) -> str:
    """Say in one sentence what is wrong with the span's ids; empty when nothing is."""
    if len(span.trace_id) != _TRACE_ID_BYTES:
        return f"trace_id has {len(span.trace_id)} bytes instead of {_TRACE_ID_BYTES}."
    if span.trace_id == _NO_TRACE_ID:
        return "trace_id is all zeros."
    if len(span.span_id) != _SPAN_ID_BYTES:
        return f"span_id has {len(span.span_id)} bytes instead of {_SPAN_ID_BYTES}."
    if span.span_id == _NO_SPAN_ID:
        return "span_id is all zeros."
    if len(span.parent_span_id) not in (0, _SPAN_ID_BYTES):
        return (
            f"parent_span_id has {len(span.parent_span_id)} bytes "
            f"instead of {_SPAN_ID_BYTES} or none."
        )
    return ""


def rejected_spans(request: ExportTraceServiceRequest) -> list[RejectedSpan]:
    """Give the spans of *request* that no stage may store, each with the reason."""
    return [
        RejectedSpan(place, reason)
        for place, (_, _, span) in enumerate(all_spans(request))
        if (reason := span_problem(span))
    ]


def all_spans(
    request: ExportTraceServiceRequest,
) -> Iterator[tuple[ResourceSpans, ScopeSpans, Span]]:
    """Yield every span of *request* in order, with what surrounds it."""
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield resource_spans, scope_spans, span


def count_spans(request: ExportTraceServiceRequest) -> int:
    """Count the spans of *request*."""
    return sum(
        len(scope_spans.spans)
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
    )
