"""Recorded bodies: bytes and headers as they crossed enter, plain bytes, text and JSON leave.

Knows content encodings and media types, and nothing of what a vendor says. No input or output.
"""

from __future__ import annotations

import json
import zlib
from typing import Any, NamedTuple

import orjson

from tracequill_collector.exchange import Headers

# What one body may grow to when it is decompressed: twice the most that the proxy records.
MAX_DECODED_BYTES = 64 * 1024 * 1024
_DECODE_STEP_BYTES = 1024 * 1024
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/x-www-form-urlencoded")


class Body(NamedTuple):
    """A body without its content encoding, and why it is not whole, in one sentence."""

    data: bytes
    problem: str


def header(headers: Headers, name: str) -> str:
    """Give the first header called *name* (lower case), or an empty text."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return ""


def media_type(headers: Headers) -> str:
    """Give the content type without its parameters, in lower case."""
    return header(headers, "content-type").partition(";")[0].strip().lower()


def decode_body(raw: bytes, headers: Headers) -> Body:
    """Undo the content encoding; what cannot be undone is told in ``problem``, never raised."""
    if not raw:
        return Body(b"", "")
    data, problem = raw, ""
    encodings = [part.strip().lower() for part in header(headers, "content-encoding").split(",")]
    for encoding in reversed([part for part in encodings if part and part != "identity"]):
        if encoding in ("gzip", "x-gzip", "deflate"):
            data, problem = _inflate(data)
        else:
            return Body(b"", f"content encoding {encoding!r} is not known to the recorder")
        if problem:
            break
    return Body(data, problem)


def _inflate(data: bytes) -> tuple[bytes, str]:
    """Undo gzip or deflate, as far as the data reaches."""
    pieces: list[bytes] = []
    size = 0
    # Some senders of "deflate" leave the zlib header out: RFC 9110 section 8.4.1.2.
    raw_deflate = data[:2] != b"\x1f\x8b" and not _is_zlib(data)
    window_bits = -zlib.MAX_WBITS if raw_deflate else zlib.MAX_WBITS | 32
    rest = data
    try:
        while rest:
            inflater = zlib.decompressobj(window_bits)
            while rest and not inflater.eof:
                pieces.append(inflater.decompress(rest, _DECODE_STEP_BYTES))
                size += len(pieces[-1])
                rest = inflater.unconsumed_tail
                if size > MAX_DECODED_BYTES:
                    return (
                        b"".join(pieces)[:MAX_DECODED_BYTES],
                        f"body is larger than {MAX_DECODED_BYTES} bytes when decompressed",
                    )
            pieces.append(inflater.flush())
            if not inflater.eof:
                return b"".join(pieces), "compressed body is cut"
            rest = inflater.unused_data
    except zlib.error as error:
        return b"".join(pieces), f"compressed body is broken: {error}"
    return b"".join(pieces), ""


def _is_zlib(data: bytes) -> bool:
    # RFC 1950: method 8, and the first two bytes are a multiple of 31.
    return len(data) >= 2 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0


def parse_json(data: bytes | str) -> Any:
    """Give the JSON value, or None when *data* is not JSON."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    # orjson refuses what Python's own clients send and read: NaN and lone surrogates.
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def to_json(value: Any) -> str:
    """Encode *value* as the instrumentors do: a space after commas and colons, no escapes."""
    try:
        return json.dumps(value, default=str, ensure_ascii=False)
    except RecursionError:
        return '"nested too deeply"'


def to_compact_json(value: Any) -> str:
    """Encode *value* fast and short: for long lists of numbers."""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError):
        return to_json(value)


def to_text(data: bytes, content_type: str) -> str | None:
    """Give a body as text when its media type says text and it is UTF-8; else None."""
    if not content_type.startswith(_TEXT_TYPES) and not content_type.endswith(("+json", "+xml")):
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        # A cut body may end inside a character; anything else is not text.
        if error.start >= len(data) - 3:
            return data[: error.start].decode("utf-8")
        return None
