"""AWS event streams: bytes of a recorded body enter, messages leave; no input or output.

A message, all integers big-endian::

    total length u32 · headers length u32 · CRC32 of these eight bytes u32
    headers · payload · CRC32 of all before u32

Reading stops at the first message that is cut or fails a checksum: what came before is true,
what comes after cannot be found. A message whose headers cannot be read is left out.
https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html#streaming-event-stream
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

HeaderValue = bool | int | bytes | str

_PRELUDE = struct.Struct(">III")
_CHECKSUM = struct.Struct(">I")
_LENGTHS_BYTES = 8
_MIN_MESSAGE_BYTES = _PRELUDE.size + _CHECKSUM.size
# Header value types with a fixed length: 0 and 1 are the booleans themselves.
_FIXED = {
    2: struct.Struct(">b"),
    3: struct.Struct(">h"),
    4: struct.Struct(">i"),
    5: struct.Struct(">q"),
    8: struct.Struct(">q"),
}
_UUID_BYTES = 16
_LENGTH = struct.Struct(">H")
_KNOWN_MAX_BYTES = 512


@dataclass(frozen=True, slots=True)
class EventStreamMessage:
    """One message: its headers, among them ``:message-type`` and ``:event-type``, and payload."""

    headers: Mapping[str, HeaderValue]
    payload: bytes

    def text_header(self, name: str) -> str:
        """Give a header's value as text; empty when it is absent or not text."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else ""


class EventStream:
    """The messages of a body, read one by one; to be read once."""

    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)
        self.problem = ""
        """Why not all could be read, in one sentence; known when all are read."""

    def __iter__(self) -> Iterator[EventStreamMessage]:
        position = 0
        while position < len(self._body):
            try:
                end, headers_length = self._extent(position)
            except ValueError as error:
                self.problem = f"event stream {error} at byte {position}"
                return
            payload_start = position + _PRELUDE.size + headers_length
            try:
                data = bytes(self._body[position + _PRELUDE.size : payload_start])
                # Within a stream they are almost always those of the message before.
                read = _known_headers if len(data) <= _KNOWN_MAX_BYTES else _headers
                headers = read(data)
            except (struct.error, ValueError) as error:
                # The message is whole, so those behind it can be found.
                self.problem = f"event stream has unreadable headers at byte {position}: {error}"
            else:
                payload = bytes(self._body[payload_start : end - _CHECKSUM.size])
                yield EventStreamMessage(headers, payload)
            position = end

    def _extent(self, position: int) -> tuple[int, int]:
        """Give where the message at *position* ends, and the length of its headers; ValueError
        says why there is no whole message.
        """
        body = self._body
        if len(body) - position < _PRELUDE.size:
            raise ValueError("is cut")
        total, headers_length, checksum = _PRELUDE.unpack_from(body, position)
        if zlib.crc32(body[position : position + _LENGTHS_BYTES]) != checksum:
            raise ValueError("has a wrong prelude checksum")
        if total < _MIN_MESSAGE_BYTES or headers_length > total - _MIN_MESSAGE_BYTES:
            raise ValueError("has impossible lengths")
        end = position + total
        if end > len(body):
            raise ValueError("is cut")
        (checksum,) = _CHECKSUM.unpack_from(body, end - _CHECKSUM.size)
        if zlib.crc32(body[position : end - _CHECKSUM.size]) != checksum:
            raise ValueError("has a wrong message checksum")
        return end, headers_length


@functools.lru_cache(maxsize=256)
def _known_headers(data: bytes) -> Mapping[str, HeaderValue]:
    return _headers(data)


def _headers(data: bytes) -> Mapping[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    position = 0
    while position < len(data):
        name_end = position + 1 + data[position]
        name = data[position + 1 : name_end].decode("utf-8")
        if name_end >= len(data):
            raise ValueError("a header has no value")
        kind = data[name_end]
        position = name_end + 1
        if kind in (0, 1):
            headers[name] = kind == 0
        elif kind in _FIXED:
            (headers[name],) = _FIXED[kind].unpack_from(data, position)
            position += _FIXED[kind].size
        elif kind in (6, 7, 9):
            length = _UUID_BYTES
            if kind != 9:
                (length,) = _LENGTH.unpack_from(data, position)
                position += _LENGTH.size
            value = data[position : position + length]
            if len(value) != length:
                raise ValueError("a header value is longer than the headers")
            headers[name] = value.decode("utf-8") if kind == 7 else value
            position += length
        else:
            raise ValueError(f"a header value has the unknown type {kind}")
    return headers
