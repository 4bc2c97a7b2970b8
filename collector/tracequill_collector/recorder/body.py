"""Recorded bodies: bytes and headers as they crossed enter, plain bytes, text and JSON leave.

Knows content encodings and media types, and nothing of what a vendor says. No input or output.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import brotli  # type: ignore[import-untyped]
import orjson
import zstandard

from tracequill_collector.exchange import Headers

# What one body may grow to when it is decompressed: twice the most that the proxy records.
MAX_DECODED_BYTES = 64 * 1024 * 1024
_DECODE_STEP_BYTES = 1024 * 1024
_INPUT_STEP_BYTES = 64 * 1024
# zstd has no limit of its own on what a call gives: four bytes can stand for 128 KiB.
_ZSTD_STEP_BYTES = 512
# A body of nothing but empty members would take hours.
_MAX_MEMBERS = 10_000
# Each encoding may fill the room above once more; no server stacks as many.
_MAX_ENCODINGS = 4
_LINE_END = re.compile(rb"\r\n|\n|\r")
_SECTION_BYTES = 64 * 1024
NDJSON_TYPES = (
    "application/x-ndjson",
    "application/jsonl",
    "application/x-jsonl",
    "application/x-jsonlines",
)
"""Media types of a JSON value on each line."""
_TEXT_TYPES = (
    "text/",
    "application/json",
    "application/sdp",
    "application/xml",
    "application/x-www-form-urlencoded",
    *NDJSON_TYPES,
)


# As objects the values of one body may take a hundred times its size. A list or an object, a name,
# an item: more than any vendor sends in what is recorded of one, several times over.
_MAX_JSON = {b"{": 500_000, b"[": 500_000, b":": 3_000_000, b",": 5_000_000}
_JSON_STRING_OR_MARK = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[{\[:,]', re.DOTALL)


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
    """Undo the content encodings; what cannot be undone is told in ``problem``, never raised.

    A body that is nothing of what its header says is given as it came.
    """
    encodings = [
        part.strip().lower()
        for name, value in headers
        if name.lower() == "content-encoding"
        for part in value.split(",")
    ]
    encodings = [part for part in encodings if part and part != "identity"]
    if not raw or not encodings:
        return Body(raw, "")
    if len(encodings) > _MAX_ENCODINGS:
        return Body(b"", f"body has {len(encodings)} content encodings, more than {_MAX_ENCODINGS}")
    data, problem = raw, ""
    for encoding in reversed(encodings):
        decoder = _DECODERS.get(encoding)
        if decoder is None:
            return Body(b"", f"content encoding {encoding!r} is not known to the recorder")
        data, problem = _decode(data, encoding, decoder)
        if problem:
            break
    return Body(data, problem)


class _BrokenError(Exception):
    """The rest of a compressed body cannot be read; the text says why."""


def _decode(
    data: bytes, encoding: str, decoder: Callable[[bytes], Iterator[bytes]]
) -> tuple[bytes, str]:
    """Undo one encoding as far as the data reaches and the room."""
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in decoder(data):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_DECODED_BYTES:
                problem = f"body is larger than {MAX_DECODED_BYTES} bytes when decompressed"
                return b"".join(pieces)[:MAX_DECODED_BYTES], problem
    except _CutError:
        return b"".join(pieces), "compressed body is cut"
    except _BrokenError as error:
        if not size:
            return data, f"body is not {encoding}, as its content encoding says: {error}"
        return b"".join(pieces), f"compressed body is broken: {error}"
    return b"".join(pieces), ""


class _CutError(Exception):
    """The compressed body ends too early."""


def _gunzip(data: bytes) -> Iterator[bytes]:
    return _inflate(data, zlib.MAX_WBITS | 32)


def _deflate(data: bytes) -> Iterator[bytes]:
    # Some senders of "deflate" leave the zlib header out: RFC 9110 section 8.4.1.2.
    has_header = data[:2] == b"\x1f\x8b" or _is_zlib(data)
    return _inflate(data, zlib.MAX_WBITS | 32 if has_header else -zlib.MAX_WBITS)


def _inflate(data: bytes, window_bits: int) -> Iterator[bytes]:
    """Undo gzip, all its members, or deflate."""
    position = 0
    try:
        for _ in range(_MAX_MEMBERS):
            inflater = zlib.decompressobj(window_bits)
            while position < len(data) and not inflater.eof:
                piece = data[position : position + _INPUT_STEP_BYTES]
                position += len(piece)
                while piece and not inflater.eof:
                    yield inflater.decompress(piece, _DECODE_STEP_BYTES)
                    piece = inflater.unconsumed_tail
            yield inflater.flush()
            if not inflater.eof:
                raise _CutError
            position -= len(inflater.unused_data)
            if position >= len(data):
                return
    except zlib.error as error:
        raise _BrokenError(str(error)) from error
    raise _BrokenError(f"it has more than {_MAX_MEMBERS} members")


def _is_zlib(data: bytes) -> bool:
    # RFC 1950: method 8, and the first two bytes are a multiple of 31.
    return len(data) >= 2 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0


def _unbrotli(data: bytes) -> Iterator[bytes]:
    unpacker = brotli.Decompressor()
    try:
        piece = unpacker.process(data, output_buffer_limit=_DECODE_STEP_BYTES)
        yield piece
        while piece and not unpacker.is_finished():
            piece = unpacker.process(b"", output_buffer_limit=_DECODE_STEP_BYTES)
            yield piece
        if not unpacker.is_finished():
            raise _CutError
    except brotli.error as error:
        raise _BrokenError(str(error)) from error


def _unzstd(data: bytes) -> Iterator[bytes]:
    """Undo zstd, all its frames."""
    # A window is memory that the sender chooses; RFC 9659 allows 8 MiB, clients accept more.
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_DECODED_BYTES)
    position = 0
    try:
        for _ in range(_MAX_MEMBERS):
            frame = decompressor.decompressobj()
            while not frame.eof:
                if position >= len(data):
                    raise _CutError
                piece = data[position : position + _ZSTD_STEP_BYTES]
                position += len(piece)
                yield frame.decompress(piece)
            position -= len(frame.unused_data)
            if position >= len(data):
                return
    except zstandard.ZstdError as error:
        raise _BrokenError(str(error)) from error
    raise _BrokenError(f"it has more than {_MAX_MEMBERS} frames")


_DECODERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _deflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}


def lines(data: bytes) -> Iterator[bytes]:
    """Give the lines of *data*, a section at a time: a body of line ends is millions of lines."""
    position = 0
    while position < len(data):
        end = _LINE_END.search(data, position + _SECTION_BYTES)
        section = data[position : end.end() if end else len(data)]
        # Of bytes, unlike of text, it splits at LF, CRLF and CR only.
        yield from section.splitlines()
        position += len(section)


def parse_json(data: bytes | str) -> Any:
    """Give the JSON value, or None when *data* is not JSON or holds too many values."""
    if len(data) > min(_MAX_JSON.values()) and _has_too_many_values(data):
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    # orjson refuses what Python's own clients send and read: NaN and lone surrogates.
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _has_too_many_values(data: bytes | str) -> bool:
    encoded = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if all(encoded.count(mark) <= most for mark, most in _MAX_JSON.items()):
        return False
    # In texts they say nothing. That is asked only of those that have many.
    counts = dict.fromkeys(_MAX_JSON, 0)
    for match in _JSON_STRING_OR_MARK.finditer(encoded):
        mark = match.group()
        if mark in counts:
            counts[mark] += 1
            if counts[mark] > _MAX_JSON[mark]:
                return True
    return False


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
    if not content_type:
        # Most servers that name no type send text; what never is text is told by this byte.
        told = b"\0" not in data
    else:
        told = content_type.startswith(_TEXT_TYPES) or content_type.endswith(("+json", "+xml"))
    if not told:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        # A cut body may end inside a character; anything else is not text.
        if error.start >= len(data) - 3:
            return data[: error.start].decode("utf-8")
        return None
