"""AWS event stream frames: headers and payload go in, bytes with both checksums come out.

A frame, all integers big-endian::

    total length u32 · headers length u32 · CRC-32 of these 8 bytes u32
    headers: name length u8 · name · type u8 (7: string) · value length u16 · value, repeated
    payload
    CRC-32 of everything before u32
"""

from __future__ import annotations

import struct
import zlib

_PRELUDE = struct.Struct(">II")
_CHECKSUM = struct.Struct(">I")
_STRING = 7
_OVERHEAD_BYTES = _PRELUDE.size + 2 * _CHECKSUM.size


def event_frame(event_type: str, payload: bytes) -> bytes:
    """Give the frame of one event with a JSON payload."""
    return frame(
        [
            (":event-type", event_type),
            (":content-type", "application/json"),
            (":message-type", "event"),
        ],
        payload,
    )


def exception_frame(exception_type: str, payload: bytes) -> bytes:
    """Give the frame that ends a stream with an exception of the service's model."""
    return frame(
        [
            (":exception-type", exception_type),
            (":content-type", "application/json"),
            (":message-type", "exception"),
        ],
        payload,
    )


def frame(headers: list[tuple[str, str]], payload: bytes) -> bytes:
    """Give one frame with string *headers*."""
    encoded = b"".join(_header(name, value) for name, value in headers)
    total = _OVERHEAD_BYTES + len(encoded) + len(payload)
    prelude = _PRELUDE.pack(total, len(encoded))
    begun = b"".join((prelude, _CHECKSUM.pack(zlib.crc32(prelude)), encoded, payload))
    return begun + _CHECKSUM.pack(zlib.crc32(begun))


def _header(name: str, value: str) -> bytes:
    key, content = name.encode(), value.encode()
    return b"".join(
        (bytes([len(key)]), key, bytes([_STRING]), struct.pack(">H", len(content)), content)
    )
