"""Pictures of one colour: a text and a size go in, the bytes of an image come out.

A PNG has the size that was asked for. The other formats need an encoder that is not worth its
weight here: their pictures have one pixel.
"""

from __future__ import annotations

import base64
import struct
import zlib
from functools import lru_cache

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BITS_PER_PIXEL = 1
_INDEXED = 3
_SMALL = {
    "jpeg": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABQODxIPDRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVG"
        "ZIhlbXd7gYKBTmCNl4x9lnN+gXz/wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAA"
        "AAAAAAAAAAD/2gAIAQEAAD8AP//Z"
    ),
    "webp": "UklGRi4AAABXRUJQVlA4ICIAAABwAQCdASoBAAEAA4BaJYgCdAFAAAD+u7b3LRSK1wtlk4AA",
}


def picture(text: str, width: int, height: int, image_format: str) -> bytes:
    """Give a picture whose colour follows from *text*: png, jpeg or webp."""
    if image_format in _SMALL:
        return base64.b64decode(_SMALL[image_format])
    return _png(zlib.crc32(text.encode("utf-8", "surrogatepass")) & 0xFFFFFF, width, height)


@lru_cache(maxsize=64)
def _png(colour: int, width: int, height: int) -> bytes:
    # One bit a pixel, all of them 0: the first colour of the palette.
    line = bytes(1 + (width * _BITS_PER_PIXEL + 7) // 8)
    header = struct.pack(">IIBBBBB", width, height, _BITS_PER_PIXEL, _INDEXED, 0, 0, 0)
    return _SIGNATURE + b"".join(
        (
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", colour.to_bytes(3, "big")),
            _chunk(b"IDAT", zlib.compress(line * height, 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
