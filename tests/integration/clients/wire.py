"""A tap: it stands between a client and a server and keeps every byte that passes, both ways.

Bytes go on as they come; what was kept is read afterwards as HTTP/1.1 messages. The comparisons
know nothing of the proxy's code: they say what the wire may differ in, and nothing else.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import itertools
from dataclasses import dataclass, field

from tests.integration.proxy_rig import Headers, Message

# RFC 9110 section 7.6.1, and what only the next hop reads: each connection has its own.
HOP_BY_HOP = frozenset(
    {b"connection", b"expect", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
# What a signature consists of; made anew where the proxy signs.
SIGNATURE = (
    b"authorization",
    b"x-amz-content-sha256",
    b"x-amz-date",
    b"x-amz-security-token",
)
_LAST_EVENT = b"data: [DONE]\n\n\r\n"
IDS = (b"x-tracequill-trace-id", b"x-tracequill-span-id")


@dataclass
class Crossing:
    """One request and its answer as they stood on the wire at one place."""

    request: Message
    response: Message


@dataclass
class _Stream:
    """The bytes of one direction of one connection, and when each of them came."""

    data: bytearray = field(default_factory=bytearray)
    offsets: list[int] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)

    def add(self, data: bytes, moment: int) -> None:
        self.offsets.append(len(self.data))
        self.moments.append(moment)
        self.data += data

    def take(self) -> _Stream:
        """Give what is there, and begin anew."""
        taken = _Stream(self.data, self.offsets, self.moments)
        self.data, self.offsets, self.moments = bytearray(), [], []
        return taken

    def moment_of(self, offset: int) -> int:
        return self.moments[bisect.bisect_right(self.offsets, offset) - 1]


class Tap:
    """Relays connections to a port of loopback."""

    def __init__(self, upstream_port: int) -> None:
        self.port = 0
        self._upstream_port = upstream_port
        self._moments = itertools.count()
        self._connections: list[tuple[_Stream, _Stream]] = []
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where clients are to go."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Listen on *port*, or on a free one."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    def take(self) -> list[Crossing]:
        """Give what passed since it was asked last, in the order in which it was sent."""
        taken = [(asked.take(), answered.take()) for asked, answered in self._connections]
        found: list[tuple[int, Crossing]] = []
        for asked, answered in taken:
            asked_at = answered_at = 0
            while answered_at < len(answered.data):
                moment = asked.moment_of(asked_at)
                request, asked_at = _read(bytes(asked.data), asked_at)
                response, answered_at = _read(bytes(answered.data), answered_at, request)
                while response.status // 100 == 1:
                    response, answered_at = _read(bytes(answered.data), answered_at, request)
                found.append((moment, Crossing(request, response)))
        return [crossing for _, crossing in sorted(found, key=lambda item: item[0])]

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        streams = (_Stream(), _Stream())
        self._connections.append(streams)
        upstream_reader, upstream_writer = await asyncio.open_connection(
            "127.0.0.1", self._upstream_port
        )
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(
                self._pass(reader, upstream_writer, streams[0]),
                self._pass(upstream_reader, writer, streams[1]),
            )

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream: _Stream
    ) -> None:
        try:
            while data := await reader.read(65536):
                if data.endswith(_LAST_EVENT):
                    # A client hangs up at it, and would leave the end of the body behind.
                    data += await reader.read(65536)
                stream.add(data, next(self._moments))
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


def same_crossing(
    front: Crossing, back: Crossing, prefix: str, upstream: str, *, is_signed: bool = False
) -> None:
    """Compare what passed before the proxy with what passed behind it, byte for byte."""
    asked, sent = front.request, back.request
    method, path, _ = asked.first_line.split(b" ")
    assert path.startswith(prefix.encode() + b"/")
    # The version is that of a connection, as what stands in `Connection` is.
    assert sent.first_line == method + b" " + path.removeprefix(prefix.encode()) + b" HTTP/1.1"
    hosts = [value for name, value in sent.headers if name.lower() == b"host"]
    assert hosts == [upstream.encode()]
    own = (b"host", *SIGNATURE) if is_signed else (b"host",)
    assert _end_to_end(sent, *own) == [
        item for item in _end_to_end(asked, *own) if not item[0].startswith(b"x-tracequill-")
    ]
    if is_signed:
        assert sent.header(b"authorization") != asked.header(b"authorization")
    assert _is_chunked(sent) == _is_chunked(asked)
    assert sent.body == asked.body
    answer, came = front.response, back.response
    assert answer.first_line == came.first_line
    assert _end_to_end(answer)[:-2] == _end_to_end(came)
    assert tuple(name for name, _ in _end_to_end(answer)[-2:]) == IDS
    assert _is_chunked(answer) == _is_chunked(came)
    assert answer.body == came.body


def same_answer(straight: Message, proxied: Message) -> None:
    """Compare the answers that two clients read; each was sent in a second of its own."""
    assert proxied.first_line.split(b" ", 1)[1] == straight.first_line.split(b" ", 1)[1]
    assert _end_to_end(proxied, b"date")[:-2] == _end_to_end(straight, b"date")
    assert _is_chunked(proxied) == _is_chunked(straight)
    assert proxied.body == straight.body


def _end_to_end(message: Message, *without: bytes) -> Headers:
    return [
        (name, value)
        for name, value in message.headers
        if name.lower() not in HOP_BY_HOP and name.lower() not in without
    ]


def _is_chunked(message: Message) -> bool:
    return message.header(b"transfer-encoding") == b"chunked"


def _read(data: bytes, at: int, request: Message | None = None) -> tuple[Message, int]:
    """Read the message at *at*, the answer to *request* if there is one, and where it ends."""
    end = data.index(b"\r\n\r\n", at) + 4
    message = Message(data[at:end], b"")
    if request is not None and (
        request.first_line.startswith(b"HEAD ") or message.status in (204, 304)
    ):
        return message, end
    if _is_chunked(message):
        while True:
            line = data.index(b"\r\n", end)
            size = int(data[end:line], 16)
            message.body += data[line + 2 : line + 2 + size]
            end = line + 2 + size + 2
            if not size:
                return message, end
    length = message.header(b"content-length")
    if length is not None:
        message.body = data[end : end + int(length)]
        return message, end + int(length)
    if request is None or message.status // 100 == 1:
        return message, end
    message.body = data[end:]
    return message, len(data)
