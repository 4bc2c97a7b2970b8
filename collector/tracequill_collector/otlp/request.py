"""A trace request as bytes becomes a parsed request and the list of its spans with bad ids.

The receiver answers by these functions, the processor interprets by the same ones, so both
refuse the same spans. They know neither. No input or output.

Read although nobody should send it any more, because to ignore it would lose spans without a word:
the names of OTLP before 0.15 (``instrumentation_library_spans``), and keys in snake case.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from binascii import unhexlify
from collections.abc import Iterator
from typing import Any, NamedTuple

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from tracequill_collector.errors import PermanentError
from tracequill_collector.otlp.text import with_utf8_texts

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

_TRACE_ID_BYTES = 16
_SPAN_ID_BYTES = 8
_NO_TRACE_ID = bytes(_TRACE_ID_BYTES)
_NO_SPAN_ID = bytes(_SPAN_ID_BYTES)

# What stands for an id that is not hex: no id has this length, so its span alone is rejected.
_NOT_HEX = b"not hex"

_SCOPE_SPANS = ("scopeSpans", "scope_spans")

# ResourceSpans.instrumentation_library_spans until OTLP 0.15; its fields are those of ScopeSpans.
_OLD_SCOPE_SPANS = 1000
_LENGTH_DELIMITED = 2

# 16 + MAX_WBITS makes zlib expect a gzip header and check its CRC.
_GZIP_WINDOW = 16 + zlib.MAX_WBITS

# 64 MiB in blocks of 64 KiB, as parallel packers make them, are half as many.
_MEMBERS_MAX = 2000
_FEED_BYTES = 16 * 1024


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
    place = 0
    view = memoryview(payload)
    # Nearly always there is one member, so the first gets all at once. What a member leaves is
    # copied by zlib: the others are fed little by little.
    feed_bytes = len(payload)
    for _ in range(_MEMBERS_MAX):
        unpacker = zlib.decompressobj(_GZIP_WINDOW)
        while not unpacker.eof:
            fed = view[place : place + feed_bytes]
            if not fed:
                raise _cut_off(payload, "gzip")
            part = _unpack(unpacker, fed, left, max_bytes, "gzip")
            parts.append(part)
            left -= len(part)
            place += len(fed) - len(unpacker.unused_data)
        # Zeros may fill up the end; a member begins with none.
        if not payload[place : place + 1].strip(b"\0") and not payload[place:].strip(b"\0"):
            return parts[0] if len(parts) == 1 else b"".join(parts)
        feed_bytes = _FEED_BYTES
    raise PermanentError(
        f"the gzip body has more than {_MEMBERS_MAX} members. Compress it as a whole."
    )


def _inflate(payload: bytes, max_bytes: int) -> bytes:
    # "deflate" means zlib (RFC 9110 8.4.1.2), but some clients send the bare stream: the first
    # two bytes of zlib tell them apart.
    is_zlib = (
        len(payload) > 1 and payload[0] & 0x0F == 8 and int.from_bytes(payload[:2], "big") % 31 == 0
    )
    window = zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS
    unpacker = zlib.decompressobj(window)
    plain = _unpack(unpacker, payload, max_bytes, max_bytes, "deflate")
    if not unpacker.eof:
        raise _cut_off(payload, "deflate")
    return plain


def _unpack(
    unpacker: Any, packed: bytes | memoryview, left: int, max_bytes: int, name: str
) -> bytes:
    try:
        # One byte more than allowed tells too large from just fitting; 0 would mean no limit.
        part: bytes = unpacker.decompress(packed, left + 1)
    except zlib.error as error:
        raise PermanentError(f"the body is not valid {name}: {error}.") from None
    if len(part) > left:
        raise _oversize(max_bytes)
    return part


def _cut_off(payload: bytes, name: str) -> PermanentError:
    return PermanentError(f"the {name} body is cut off after {len(payload)} bytes.")


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
        try:
            request = ExportTraceServiceRequest.FromString(payload)
        except DecodeError:
            # One text that is not UTF-8, and all spans of the request would be refused.
            request = ExportTraceServiceRequest.FromString(with_utf8_texts(payload))
        _adopt_old_scope_spans(request)
    except DecodeError as error:
        raise PermanentError(f"the body is not an ExportTraceServiceRequest: {error}.") from None
    return request


def _adopt_old_scope_spans(request: ExportTraceServiceRequest) -> None:
    for resource_spans in request.resource_spans:
        fields = UnknownFieldSet(resource_spans)
        for unknown in (fields[place] for place in range(len(fields))):
            if (unknown.field_number, unknown.wire_type) == (_OLD_SCOPE_SPANS, _LENGTH_DELIMITED):
                resource_spans.scope_spans.add().MergeFromString(unknown.data)


def _parse_json(payload: bytes) -> ExportTraceServiceRequest:
    """Parse OTLP's JSON, which writes ids in hex where protobuf's JSON has base64."""
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise PermanentError(f"the body is not valid JSON: {error}.") from None
    if not isinstance(content, dict):
        raise PermanentError("the body is JSON, but not an object.")
    try:
        _to_protobuf_json(content)
        try:
            return _from_protobuf_json(content)
        except ParseError:
            # A text cut in the middle of a character, as JavaScript does it, is repaired here:
            # protobuf can hold no lone surrogate.
            repaired = _without_lone_surrogates(content)
            if repaired == content:
                raise
            return _from_protobuf_json(repaired)
    except (
        ParseError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise PermanentError(
            f"the body is not an ExportTraceServiceRequest in JSON: {error}."
        ) from None


def _from_protobuf_json(content: Any) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    ParseDict(content, request, ignore_unknown_fields=True)
    return request


def _without_lone_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {
            _without_lone_surrogates(key): _without_lone_surrogates(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_without_lone_surrogates(item) for item in value]
    return value


def _to_protobuf_json(content: dict[str, Any]) -> None:
    """Make protobuf's JSON of OTLP's: hex ids become base64, old names become the ones of today."""
    for resource_spans in _items(content, "resourceSpans", "resource_spans"):
        for old in ("instrumentationLibrarySpans", "instrumentation_library_spans"):
            if scopes := resource_spans.pop(old, None):
                _rename_scope(scopes)
                resource_spans["scopeSpans"] = [*_items(resource_spans, *_SCOPE_SPANS), *scopes]
                resource_spans.pop("scope_spans", None)
        for scope_spans in _items(resource_spans, *_SCOPE_SPANS):
            for span in _items(scope_spans, "spans"):
                _hex_to_base64(span, "traceId", "trace_id", "spanId", "span_id")
                _hex_to_base64(span, "parentSpanId", "parent_span_id")
                for link in _items(span, "links"):
                    _hex_to_base64(link, "traceId", "trace_id", "spanId", "span_id")


def _items(holder: dict[str, Any], *names: str) -> Any:
    for name in names:
        if found := holder.get(name):
            return found
    return ()


def _rename_scope(scopes: list[dict[str, Any]]) -> None:
    for scope_spans in scopes:
        for old in ("instrumentationLibrary", "instrumentation_library"):
            if old in scope_spans:
                scope_spans["scope"] = scope_spans.pop(old)


def _hex_to_base64(holder: dict[str, Any], *names: str) -> None:
    """Replace hex by the base64 that ``ParseDict`` reads; text that is not hex by no id at all."""
    for name in names:
        if text := holder.get(name):
            try:
                plain = unhexlify(text)
            except ValueError:
                plain = _NOT_HEX
            holder[name] = b64encode(plain).decode()


def to_json(request: ExportTraceServiceRequest) -> dict[str, Any]:
    """Give *request* in OTLP's JSON: ids in hex, enums as integers."""
    content = MessageToDict(request, use_integers_for_enums=True)
    for resource_spans in content.get("resourceSpans", ()):
        for scope_spans in resource_spans.get("scopeSpans", ()):
            for span in scope_spans.get("spans", ()):
                for holder in (span, *span.get("links", ())):
                    for name in ("traceId", "spanId", "parentSpanId"):
                        if name in holder:
                            holder[name] = b64decode(holder[name]).hex()
    return content


def span_problem(span: Span) -> str:
    """Say in one sentence what is wrong with the span's ids; empty when nothing is."""
    if len(span.trace_id) != _TRACE_ID_BYTES:
        return _wrong_length("trace_id", span.trace_id, f"{_TRACE_ID_BYTES}")
    if span.trace_id == _NO_TRACE_ID:
        return "trace_id is all zeros."
    if len(span.span_id) != _SPAN_ID_BYTES:
        return _wrong_length("span_id", span.span_id, f"{_SPAN_ID_BYTES}")
    if span.span_id == _NO_SPAN_ID:
        return "span_id is all zeros."
    if len(span.parent_span_id) not in (0, _SPAN_ID_BYTES):
        return _wrong_length("parent_span_id", span.parent_span_id, f"{_SPAN_ID_BYTES} or none")
    return ""


def _wrong_length(name: str, value: bytes, expected: str) -> str:
    if value == _NOT_HEX:
        return f"{name} is not hex."
    return f"{name} has {len(value)} bytes instead of {expected}."


def rejected_spans(request: ExportTraceServiceRequest) -> Iterator[RejectedSpan]:
    """Yield the spans of *request* that no stage may store, each with the reason."""
    for place, (_, _, span) in enumerate(all_spans(request)):
        if reason := span_problem(span):
            yield RejectedSpan(place, reason)


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
