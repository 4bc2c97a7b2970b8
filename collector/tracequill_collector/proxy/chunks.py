"""Where the chunks of a chunked body lie in what was received (RFC 9112 section 7.1).

aiohttp's parser decides what is valid and where a body ends. This only follows it, so that a chunk
that comes by itself, as every event of a stream does, need not go through the parser: that it can
tell without doubt, or it does not tell. It keeps no bytes.
"""

from __future__ import annotations

import re

# No extension, no sign, no space; more digits than that are no event.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n")
_HEAD_END = b"\r\n\r\n"
_LINE_END = b"\r\n"
_LINE_END_BYTES = 2


class Chunks:
    """One response's chunks, followed from the end of its head."""

    __slots__ = ("_body_bytes", "_lacking_bytes")

    def __init__(self) -> None:
        # How much of the chunk that came last is still to come, its line end included; 0: the next
        # byte begins one; None: not known, and not any more before the next response.
        self._lacking_bytes: int | None = None
        # What the chunks that have begun hold.
        self._body_bytes = 0

    def begin(self, received: bytes) -> None:
        """Follow a response that begins with *received*."""
        self._body_bytes = 0
        self._lacking_bytes = None
        if (head_end := received.find(_HEAD_END)) > 0:
            self._lacking_bytes = 0
            self._follow(received, head_end + len(_HEAD_END))

    def follow(self, received: bytes) -> None:
        """Note what the parser is given next."""
        if self._lacking_bytes is not None:
            self._follow(received, 0)

    def check(self, parsed_bytes: int) -> None:
        """Follow no further unless the parser has found as many bytes of the body."""
        if (lacking := self._lacking_bytes) is None:
            return
        if parsed_bytes != self._body_bytes - max(lacking - _LINE_END_BYTES, 0):
            self._lacking_bytes = None

    def one(self, received: bytes) -> bytes | None:
        """Give what is in *received* when that is one chunk, whole, and not the last.

        It counts for nothing here: the parser is not to be given it.
        """
        if self._lacking_bytes != 0 or (size := _SIZE.match(received)) is None:
            return None
        start = size.end()
        end = start + int(size[1], 16)
        if end + _LINE_END_BYTES != len(received) or received[end:] != b"\r\n":
            return None
        # Nothing in it: the last one.
        return received[start:end] or None

    def _follow(self, received: bytes, place: int) -> None:
        while place < len(received):
            if not self._lacking_bytes:
                size = _SIZE.match(received, place)
                if size is None or not (count := int(size[1], 16)):
                    self._lacking_bytes = None
                    return
                place = size.end()
                self._body_bytes += count
                self._lacking_bytes = count + _LINE_END_BYTES
            taken = min(self._lacking_bytes, len(received) - place)
            place += taken
            self._lacking_bytes -= taken
            # How much of the line end has come, and how much of that in here.
            ended = _LINE_END_BYTES - self._lacking_bytes
            if ended > 0:
                here = min(ended, taken)
                if received[place - here : place] != _LINE_END[ended - here : ended]:
                    self._lacking_bytes = None
                    return
