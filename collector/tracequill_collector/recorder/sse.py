"""Server-sent events: bytes of a recorded body enter, events leave; their meaning is not known.

Tolerant, because the body may be cut: CRLF, LF and lone CR end a line, ``data:`` needs no space
after it, and a last event without its blank line still counts. One event at a time is held; it
can be no larger than the body, which is recorded and decompressed up to a cap.
https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tracequill_collector.recorder.body import lines

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """One event: its type, empty when the stream named none, and its data lines, joined."""

    event: str
    data: str


def parse_sse(body: bytes) -> Iterator[ServerSentEvent]:
    """Give the events of *body* in order; comments and events without data are left out."""
    event = b""
    data: list[bytes] = []
    for line in lines(body.removeprefix(_BYTE_ORDER_MARK)):
        if not line:
            if data:
                yield _event(event, data)
                data = []
            event = b""
            continue
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name == b"event":
            event = value.removeprefix(b" ")
    if data:
        yield _event(event, data)


def _event(event: bytes, data: list[bytes]) -> ServerSentEvent:
    # A line end is never part of a character in UTF-8.
    return ServerSentEvent(
        event.decode("utf-8", errors="replace"), b"\n".join(data).decode("utf-8", errors="replace")
    )
