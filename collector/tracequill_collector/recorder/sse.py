"""Server-sent events: bytes of a recorded body enter, events leave; their meaning is not known.

Tolerant, because the body may be cut: CRLF, LF and lone CR end a line, ``data:`` needs no space
after it, and a last event without its blank line still counts.
https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# str.splitlines would also split at U+2028 and others, which may stand in a JSON string.
_LINE_END = re.compile(r"\r\n|\n|\r")


class ServerSentEvent(NamedTuple):
    """One event: its type, empty when the stream named none, and its data lines, joined."""

    event: str
    data: str


def parse_sse(body: bytes) -> Iterator[ServerSentEvent]:
    """Give the events of *body* in order; comments and events without data are left out."""
    text = body.decode("utf-8", errors="replace").removeprefix("\ufeff")
    event = ""
    data: list[str] = []
    for line in _LINE_END.split(text):
        if not line:
            if data:
                yield ServerSentEvent(event, "\n".join(data))
            event, data = "", []
            continue
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
        elif name == "event":
            event = value.removeprefix(" ")
    if data:
        yield ServerSentEvent(event, "\n".join(data))
