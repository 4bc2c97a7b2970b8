"""A segment: one append-only file of frames. This module knows no queue, no lock, no consumer.

Constraints:

1. A file is only ever appended to. It is sealed, for ever, when it is large enough, when a write
   or a sync of it failed, and when its writer ends; the next record opens another.
2. A segment is sealed as soon as a segment with a higher name exists.
3. A sync that failed is final: the kernel may have marked the lost pages clean, so that a second
   one would succeed and lie. What was not synced before counts as not kept.
4. A reader may look at any moment, also while a frame is being written.
5. A segment of a version, or a frame of a version or kind, that is not known here is refused and
   left untouched; a version that was ever written stays readable.

The format, version 1. All integers are little-endian, every CRC is CRC32C. The file's name is the
first sequence in 20 digits and ``.segment``. The file begins with 40 bytes:

======  ====  ==========================================================================
offset  size  what
======  ====  ==========================================================================
0       8     magic, ``TQSEGMT`` and a line feed
8       4     format version
12      8     segment id, random
20      8     first sequence, as in the name
28      8     when it was created, Unix ns, signed, data only
36      4     CRC of bytes 0 to 35
======  ====  ==========================================================================

This layout holds for every format version, so that an unknown one is known for what it is. Frames
follow, one after the other, each with 48 bytes before its body:

======  ====  ==========================================================================
offset  size  what
======  ====  ==========================================================================
0       4     magic, ``54 71 F5 A7``
4       1     frame version, 1
5       1     kind of the record (``pipeline.RecordKind``)
6       2     length of the content type
8       2     length of the content encoding
10      2     length of the project name
12      4     length of the payload
16      8     segment id, the one above
24      8     sequence
32      8     when it was received, Unix ns, signed, data only
40      4     CRC of the body
44      4     CRC of bytes 0 to 43
48      n     the body: content type, content encoding, project name (UTF-8), payload
======  ====  ==========================================================================

The segment id is the same in every frame of a segment: a payload that imitates a frame cannot know
it, so that looking for the next frame after damage never finds an invented one. Sequences rise
within a segment; what failed to be written leaves no gap, what was damaged does.

Operations: ``SegmentWriter`` creates, writes and syncs a file; ``SegmentReader`` says what stands
at an offset: a ``Frame``, a ``Damage`` with a sound frame behind it, or the ``Tail``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import google_crc32c

from tracequill_collector.errors import StartError
from tracequill_collector.pipeline import Record
from tracequill_collector.queue.disk import MAX_BUFFERS, Disk
from tracequill_collector.queue.frame import (
    HEADER_BYTES,
    MAGIC,
    Draft,
    Header,
    UnknownFrameError,
    decode_body,
    decode_header,
)

SUFFIX = ".segment"
FORMAT_VERSION = 1
"""What is written."""
READABLE_VERSIONS = frozenset({1})

_SEGMENT_MAGIC = b"TQSEGMT\n"
_FIELDS = struct.Struct("<8sIQQq")
_CRC = struct.Struct("<I")
SEGMENT_HEADER_BYTES = _FIELDS.size + _CRC.size

# What is read ahead at once; small frames then cost no system call each.
_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What a segment says about itself."""

    version: int
    segment_id: int
    first_sequence: int
    created_unix_ns: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A complete, sound record in a segment."""

    offset: int
    end: int
    sequence: int
    record: Record


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no sound frame, although the segment goes on after them."""

    offset: int
    end: int
    reason: str
    sequence: int | None = None
    """The sequence of the record that was here, where its header is still sound."""


@dataclass(frozen=True, slots=True)
class Tail:
    """No sound frame from ``offset`` to the end of the file, as it is now.

    ``incomplete`` is what a crash or a write in progress leaves: the beginning of a frame, or
    zeros. What is complete and yet wrong is not.
    """

    offset: int
    end: int
    incomplete: bool
    reason: str
    sequence: int | None = None


def segment_name(first_sequence: int) -> str:
    """Give the file name of the segment whose first record is *first_sequence*."""
    return f"{first_sequence:020d}{SUFFIX}"


def list_segments(disk: Disk, folder: Path) -> dict[int, int]:
    """Give first sequence and size of every segment in *folder*, oldest first."""
    sizes = disk.sizes(folder, SUFFIX)
    found = {
        int(name.removesuffix(SUFFIX)): size
        for name, size in sizes.items()
        if name.removesuffix(SUFFIX).isdecimal()
    }
    return dict(sorted(found.items()))


def list_firsts(disk: Disk, folder: Path) -> list[int]:
    """Give the first sequence of every segment in *folder*, oldest first."""
    stems = (name.removesuffix(SUFFIX) for name in disk.names(folder) if name.endswith(SUFFIX))
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def newest_name(disk: Disk, folder: Path) -> str:
    """Give the name of the newest segment in *folder*, empty when there is none."""
    return max((name for name in disk.names(folder) if name.endswith(SUFFIX)), default="")


class SegmentWriter:
    """The segment that is being written. Its writer sees to it that one thread writes at a time."""

    def __init__(self, disk: Disk, path: Path, fd: int, segment_id: int) -> None:
        self.path = path
        self.size = 0
        self.record_count = 0
        self.sealed = False
        self.failed = False
        """A sync failed: nothing more of this segment can be made durable."""
        self._disk = disk
        self._fd = fd
        self._segment_id = segment_id

    @classmethod
    def create(cls, disk: Disk, folder: Path, first_sequence: int) -> SegmentWriter:
        """Create the segment and write its header; the caller syncs file and folder."""
        path = folder / segment_name(first_sequence)
        segment_id = int.from_bytes(os.urandom(8), "little")
        fd = disk.create(path)
        segment = cls(disk, path, fd, segment_id)
        fields = _FIELDS.pack(
            _SEGMENT_MAGIC, FORMAT_VERSION, segment_id, first_sequence, time.time_ns()
        )
        error = segment._append([fields + _CRC.pack(google_crc32c.value(fields))])
        if error is not None:
            segment.close()
            with contextlib.suppress(OSError):  # the next one takes another name
                disk.remove(path)
            raise error
        return segment

    def write(self, drafts: Sequence[Draft], first_sequence: int) -> tuple[int, OSError | None]:
        """Write *drafts*; give how many are whole in the file, and the error that stopped it.

        After an error the segment must be sealed: it may end in a part of a frame.
        """
        start = self.size
        buffers: list[bytes] = []
        for place, draft in enumerate(drafts):
            buffers.append(draft.head(self._segment_id, first_sequence + place))
            if draft.payload:
                buffers.append(draft.payload)
        error = self._append(buffers)
        if error is None:
            whole = len(drafts)
        else:
            whole, end = 0, start
            for draft in drafts:
                end += draft.frame_length
                if end > self.size:
                    break
                whole += 1
        self.record_count += whole
        return whole, error

    def _append(self, buffers: Sequence[bytes]) -> OSError | None:
        waiting: list[bytes | memoryview] = list(buffers)
        start = 0
        while start < len(waiting):
            group = waiting[start : start + MAX_BUFFERS]
            try:
                taken = self._disk.write(self._fd, group)
            except OSError as error:
                return error
            if taken == 0:
                return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.size += taken
            for buffer in group:
                if taken < len(buffer):
                    waiting[start] = memoryview(buffer)[taken:]
                    break
                taken -= len(buffer)
                start += 1
        return None

    def sync(self) -> None:
        """Return when all that was written before the call is on the medium."""
        self._disk.sync(self._fd)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1


class SegmentReader:
    """A segment file, read from any offset, also while it is being written."""

    def __init__(self, disk: Disk, folder: Path, first_sequence: int) -> None:
        self.first_sequence = first_sequence
        self.path = folder / segment_name(first_sequence)
        self._disk = disk
        self._fd = disk.open(self.path)
        self._segment_id: int | None = None
        self._ahead = b""
        self._ahead_offset = 0

    @classmethod
    def open(cls, disk: Disk, folder: Path, first_sequence: int) -> Self:
        """Open a segment; a StartError for one of a format that this program does not read."""
        segment = cls(disk, folder, first_sequence)
        try:
            segment.check_version()
        except BaseException:
            segment.close()
            raise
        return segment

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1

    def size(self) -> int:
        """Give how many bytes the file has now."""
        return self._disk.size(self._fd)

    def is_removed(self) -> bool:
        """Say whether the file was removed meanwhile; what is open can still be read."""
        return self._disk.is_removed(self._fd)

    def bytes_at(self, offset: int, length: int) -> bytes:
        """Read *length* bytes, fewer at the end of the file."""
        parts: list[bytes] = []
        while length > 0 and (part := self._disk.read_at(self._fd, length, offset)):
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def read_header(self) -> SegmentHeader | None:
        """Read the segment's header; None when it is not complete or damaged."""
        data = self.bytes_at(0, SEGMENT_HEADER_BYTES)
        if len(data) < SEGMENT_HEADER_BYTES:
            return None
        fields = data[: _FIELDS.size]
        if _CRC.unpack_from(data, _FIELDS.size)[0] != google_crc32c.value(fields):
            return None
        magic, version, segment_id, first_sequence, created = _FIELDS.unpack(fields)
        if magic != _SEGMENT_MAGIC:
            return None
        return SegmentHeader(version, segment_id, first_sequence, created)

    def check_version(self) -> None:
        """Raise a StartError for a segment of a format that this program does not read."""
        header = self.read_header()
        if header is not None and header.version not in READABLE_VERSIONS:
            age = "a newer" if header.version > FORMAT_VERSION else "an older"
            raise StartError(
                f"{self.path} has format version {header.version} of {age} Tracequill; this one "
                f"reads {', '.join(map(str, sorted(READABLE_VERSIONS)))}. It was left untouched. "
                "Start the Tracequill that wrote it, and let its queue run empty before you "
                "change to this one."
            )

    def read(self, offset: int) -> Frame | Damage | Tail:
        """Say what stands at *offset*, ``SEGMENT_HEADER_BYTES`` or where the last answer ended.

        Raises a StartError for a record that only a newer Tracequill can read.
        """
        size = self.size()
        if size - offset < HEADER_BYTES:
            self._ahead = b""
            return Tail(offset, max(size, offset), True, "the frame is cut off in its header.")
        header = self._header_at(offset)
        if header is None:
            return self._resync(offset, size, "the frame's header is damaged.")
        end = offset + header.frame_length
        if end > size:
            self._ahead = b""
            return Tail(offset, size, True, "the frame is cut off in its body.", header.sequence)
        try:
            record = decode_body(header, self._bytes(offset + HEADER_BYTES, header.body_length))
        except UnknownFrameError as error:
            raise StartError(
                f"{self.path} holds {error}. It was left untouched. Start the Tracequill that "
                "wrote it."
            ) from error
        if record is not None:
            return Frame(offset, end, header.sequence, record)
        self._ahead = b""
        reason = "the body's checksum is wrong."
        if end == size:
            return Tail(offset, end, False, reason, header.sequence)
        return Damage(offset, end, reason, header.sequence)

    def skip(self, offset: int, next_sequence: int) -> int:
        """Give the offset of the first frame that is not surely before *next_sequence*.

        Bodies are not looked at, so this is cheap; it stops at what is not sound.
        """
        size = self.size()
        while (header := self._header_at(offset)) is not None:
            end = offset + header.frame_length
            if header.sequence >= next_sequence or end > size:
                break
            offset = end
        self._ahead = b""
        return offset

    def end(self) -> tuple[int, int]:
        """Give the offset behind the last sound frame, and one above its sequence.

        Steps over damage, as reading does; bodies are looked at only there.
        """
        offset, sequence = SEGMENT_HEADER_BYTES, self.first_sequence
        while True:
            size = self.size()
            while (header := self._header_at(offset)) is not None:
                if offset + header.frame_length > size:
                    break
                offset += header.frame_length
                sequence = max(sequence, header.sequence + 1)
            self._ahead = b""
            found = self.read(offset)
            if isinstance(found, Tail):
                return offset, sequence
            offset = found.end

    def _resync(self, offset: int, size: int, reason: str) -> Damage | Tail:
        """Look for the next sound frame after *offset*."""
        self._ahead = b""
        for found in self._magics(offset + 1, size):
            if self._is_sound(found, size):
                return Damage(offset, found, reason)
        for start in range(offset, size, _READ_BYTES):
            if self.bytes_at(start, min(_READ_BYTES, size - start)).strip(b"\0"):
                return Tail(offset, size, False, reason)
        return Tail(offset, size, True, "the segment ends in zeros.")

    def _is_sound(self, offset: int, size: int) -> bool:
        data = self.bytes_at(offset, HEADER_BYTES)
        header = decode_header(data)
        if header is None or header.segment_id != self._id():
            return False
        if offset + header.frame_length > size:
            return False
        body = self.bytes_at(offset + HEADER_BYTES, header.body_length)
        try:
            return decode_body(header, body) is not None
        except UnknownFrameError:
            return True

    def _header_at(self, offset: int) -> Header | None:
        header = decode_header(self._bytes(offset, HEADER_BYTES))
        return header if header is not None and header.segment_id == self._id() else None

    def _id(self) -> int | None:
        """The segment id: from the header, or from the frames where the header is damaged."""
        if self._segment_id is None:
            header = self.read_header()
            self._segment_id = self._id_of_frames() if header is None else header.segment_id
        return self._segment_id

    def _id_of_frames(self) -> int | None:
        """Give the id of the frames that go on to the end, or furthest.

        Frames in a payload, that imitate some, end before the payload does.
        """
        size = self.size()
        tried: dict[int, int] = {}
        for offset in self._magics(SEGMENT_HEADER_BYTES, size):
            header = decode_header(self.bytes_at(offset, HEADER_BYTES))
            if header is None or header.segment_id in tried:
                continue
            end = offset
            while (following := decode_header(self.bytes_at(end, HEADER_BYTES))) is not None:
                if following.segment_id != header.segment_id:
                    break
                end += following.frame_length
            if end >= size - HEADER_BYTES:
                return header.segment_id
            tried[header.segment_id] = end - offset
        return max(tried, key=tried.__getitem__, default=None)

    def _magics(self, start: int, size: int) -> Iterator[int]:
        """Give every offset from *start* at which a frame's magic stands."""
        while start < size:
            chunk = self.bytes_at(start, min(_READ_BYTES, size - start))
            found = chunk.find(MAGIC)
            while found >= 0:
                yield start + found
                found = chunk.find(MAGIC, found + 1)
            # The magic may lie across two chunks.
            start += max(len(chunk) - len(MAGIC) + 1, 1)

    def _bytes(self, offset: int, length: int) -> bytes:
        """Read through the bytes read ahead. What is wrong drops them: it may have been stale."""
        start = offset - self._ahead_offset
        if start < 0 or start + length > len(self._ahead):
            self._ahead = self.bytes_at(offset, max(length, _READ_BYTES))
            self._ahead_offset = offset
            start = 0
        return self._ahead[start : start + length]
