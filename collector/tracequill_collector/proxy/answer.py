"""Bytes to the client: a response head as it is given, then a body in its framing.

It writes to the connection itself, because aiohttp's responses add headers of their own. It does
not know what it writes and records nothing.
"""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11

from tracequill_collector.proxy.headers import RawHeaders
from tracequill_collector.proxy.refusal import Refusal

# Past it a transport tells its protocol to wait.
_MANY_BYTES = 64 * 1024

# On, and for no time: a close of it sends a reset.
_RESET = struct.pack("ii", 1, 0)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ClientGoneError(Exception):
    """The client's connection is closed."""


class Written(web.StreamResponse):
    """Tells aiohttp's server that the response stands on the wire already."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._keeps = keep_alive

    @property
    def keep_alive(self) -> bool:
        """Whether the connection can take the next request."""
        return self._keeps

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write nothing."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing."""


# They hold no state, and one call would make one of them for nothing.
KEEP_ALIVE = Written(keep_alive=True)
CLOSE = Written(keep_alive=False)


class Answer:
    """The response to one request, written in pieces."""

    __slots__ = ("_chunked", "_pending", "_request", "_transport", "begun", "keep_alive")

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self._transport = request.transport
        self._pending = b""
        self._chunked = False
        self.keep_alive = request.keep_alive
        self.begun = False
        """Whether a response head was given; from then on there is no other answer."""

    def begin(
        self, status: int, reason: str, headers: RawHeaders, *, has_body: bool, has_length: bool
    ) -> None:
        """Give the head; it goes out with the first bytes of the body, or with ``flush``."""
        is_http11 = self._request.version >= HttpVersion11
        if has_body and not has_length:
            self._chunked = is_http11
            # Before HTTP/1.1 only the end of the connection can end such a body.
            self.keep_alive = self.keep_alive and is_http11
        # The parser read the phrase in the same way, so that odd bytes cross unchanged.
        lines = [f"HTTP/1.1 {status} {reason}".encode("utf-8", "surrogateescape")]
        lines.extend(name + b": " + value for name, value in headers)
        if self._chunked:
            lines.append(b"Transfer-Encoding: chunked")
        if not self.keep_alive:
            lines.append(b"Connection: close")
        elif not is_http11:
            lines.append(b"Connection: keep-alive")
        lines.append(b"\r\n")
        self._pending = b"\r\n".join(lines)
        self.begun = True

    async def write(self, data: bytes) -> None:
        """Send *data*, and wait while the client does not read."""
        self._send(self._framed(data))
        await self.drain()

    def write_now(self, data: bytes) -> bool:
        """Send *data*, not empty; False when the client does not read: await ``drain``."""
        transport = self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        return transport.get_write_buffer_size() < _MANY_BYTES

    async def drain(self) -> None:
        """Wait while the client does not read."""
        await self._request.writer.drain()

    def flush(self) -> None:
        """Send the head if it has not gone out."""
        if self._pending:
            self._send(b"")

    def finish(self, data: bytes = b"") -> None:
        """Send the last bytes and the clean end of the body."""
        data = self._framed(data) + (b"0\r\n\r\n" if self._chunked else b"")
        if data or self._pending:
            self._send(data)

    def cut(self) -> None:
        """Close the connection so that the client sees that the body is not complete."""
        self.keep_alive = False
        if (transport := self._transport) is None:
            return
        if not transport.is_closing():
            self._send(b"")
        if self._request.version >= HttpVersion11:
            transport.close()
        else:
            # A body that ends with the connection is cut only by a reset.
            if (connected := transport.get_extra_info("socket")) is not None:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()

    def refuse(self, refusal: Refusal, more: RawHeaders = ()) -> None:
        """Send an answer of our own, whole."""
        body = b"" if self._request.method == "HEAD" else refusal.body
        headers = [*refusal.headers, *more]
        self.begin(refusal.status, refusal.reason, headers, has_body=True, has_length=True)
        self.finish(body)

    @property
    def result(self) -> Written:
        """What aiohttp's server is told."""
        return KEEP_ALIVE if self.keep_alive else CLOSE

    def _framed(self, data: bytes) -> bytes:
        if not self._chunked or not data:
            return data
        return b"%x\r\n%b\r\n" % (len(data), data)

    def _send(self, data: bytes) -> asyncio.WriteTransport:
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ClientGoneError
        if self._pending:
            data = self._pending + data
            self._pending = b""
            # The server asks this whether an answer of its own could still be sent.
            self._request.writer.output_size += len(data)
        if data:
            transport.write(data)
        return transport
