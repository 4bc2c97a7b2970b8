"""One record as bytes in a segment. A Record comes in and a frame goes out, and the other way.

Constraints:

1. What is sound and what is not is decided by checksums alone: the header's covers all before
   itself, the lengths among it, so that a header that passes can be trusted to say where its frame
   ends; the body's covers all after the header.
2. The body's checksum is computed before the place is known: one sequence can be given to it later.
3. A sound frame that only a newer Tracequill can read is not damage, and is told apart.

The layout stands in ``segment.py``, byte by byte. This module knows no files.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import google_crc32c

from tracequill_collector.errors import PermanentError
from tracequill_collector.pipeline import Record, RecordKind

MAGIC = b"Tq\xf5\xa7"
VERSION = 1

_FIELDS = struct.Struct("<4sBBHHHIQQqI")
_CRC = struct.Struct("<I")
HEADER_BYTES = _FIELDS.size + _CRC.size

_MAX_TEXT_BYTES = 0xFFFF
_MAX_PAYLOAD_BYTES = 0xFFFF_FFFF


class UnknownFrameError(Exception):
    """The frame is sound, but of a kind or a version that this Tracequill does not know."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a frame says about itself before its body."""

    version: int
    kind: int
    content_type_length: int
    content_encoding_length: int
    project_length: int
    payload_length: int
    segment_id: int
    sequence: int
    received_unix_ns: int
    body_crc: int

    @property
    def body_length(self) -> int:
        """How many bytes follow the header."""
        return (
            self.content_type_length
            + self.content_encoding_length
            + self.project_length
            + self.payload_length
        )

    @property
    def frame_length(self) -> int:
        """How many bytes the whole frame has."""
        return HEADER_BYTES + self.body_length


@dataclass(frozen=True, slots=True)
class Draft:
    """A record encoded but for its place: segment id and sequence are given when it is written."""

    kind: int
    lengths: tuple[int, int, int, int]
    received_unix_ns: int
    body_crc: int
    texts: bytes
    payload: bytes

    @property
    def frame_length(self) -> int:
        """How many bytes the frame will have."""
        return HEADER_BYTES + len(self.texts) + len(self.payload)

    def head(self, segment_id: int, sequence: int) -> bytes:
        """Give what stands before the payload in the frame."""
        fields = _FIELDS.pack(
            MAGIC,
            VERSION,
            self.kind,
            *self.lengths,
            segment_id,
            sequence,
            self.received_unix_ns,
            self.body_crc,
        )
        return b"".join((fields, _CRC.pack(google_crc32c.value(fields)), self.texts))


def encode(record: Record) -> Draft:
    """Encode *record*; a PermanentError says what is too long for a frame."""
    texts = []
    for name in ("content_type", "content_encoding", "project_name"):
        text = getattr(record, name).encode("utf-8", "replace")
        if len(text) > _MAX_TEXT_BYTES:
            raise PermanentError(
                f"{name} has {len(text)} bytes; at most {_MAX_TEXT_BYTES} can be kept."
            )
        texts.append(text)
    if len(record.payload) > _MAX_PAYLOAD_BYTES:
        raise PermanentError(
            f"the payload has {len(record.payload)} bytes; "
            f"at most {_MAX_PAYLOAD_BYTES} can be kept in one record."
        )
    joined = b"".join(texts)
    content_type, content_encoding, project = map(len, texts)
    return Draft(
        kind=int(record.kind),
        lengths=(content_type, content_encoding, project, len(record.payload)),
        received_unix_ns=record.received_unix_ns,
        body_crc=google_crc32c.extend(google_crc32c.value(joined), record.payload),
        texts=joined,
        payload=record.payload,
    )


def decode_header(data: bytes, offset: int = 0) -> Header | None:
    """Decode the header at *offset* of *data*; None when there is no sound one."""
    if len(data) - offset < HEADER_BYTES or data[offset : offset + len(MAGIC)] != MAGIC:
        return None
    fields = data[offset : offset + _FIELDS.size]
    if _CRC.unpack_from(data, offset + _FIELDS.size)[0] != google_crc32c.value(fields):
        return None
    return Header(*_FIELDS.unpack(fields)[1:])


def decode_body(header: Header, body: bytes) -> Record | None:
    """Decode a frame's body; None when its checksum is wrong.

    Raises an UnknownFrameError for a sound one that this Tracequill cannot read.
    """
    if google_crc32c.value(body) != header.body_crc:
        return None
    if header.version != VERSION:
        raise UnknownFrameError(
            f"a record of format version {header.version}; this Tracequill reads {VERSION}"
        )
    try:
        kind = RecordKind(header.kind)
    except ValueError:
        raise UnknownFrameError(
            f"a record of kind {header.kind}, which this Tracequill does not know"
        ) from None
    first = header.content_type_length
    second = first + header.content_encoding_length
    third = second + header.project_length
    return Record(
        kind=kind,
        received_unix_ns=header.received_unix_ns,
        payload=body[third:],
        content_type=body[:first].decode("utf-8", "replace"),
        content_encoding=body[first:second].decode("utf-8", "replace"),
        project_name=body[second:third].decode("utf-8", "replace"),
    )
