"""The proxy's server: calls go to the forwarder, three pages are answered here.

Built on aiohttp's low-level server, which leaves path, headers and bodies as they came. It knows
no vendor and no queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp.http_parser
from aiohttp import web
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from tracequill_collector.errors import StartError
from tracequill_collector.proxy.answer import CLOSE, Answer, ClientGoneError
from tracequill_collector.proxy.forward import Forwarder
from tracequill_collector.proxy.headers import RawHeaders
from tracequill_collector.proxy.metrics import ProxyMetrics
from tracequill_collector.proxy.refusal import Refusal, refuse

# A path may carry a long query; AWS's session tokens are headers of several kilobytes.
_MAX_LINE_BYTES = 16 * 1024
_MAX_FIELD_BYTES = 64 * 1024
_MAX_HEADERS = 256
# All of them together, those of requests sent ahead included: one head could take 16 MiB.
_MAX_HEAD_BYTES = 256 * 1024
_READ_BUFFER_BYTES = 64 * 1024
# Longer than clients keep their connections. Also what a client has for sending a request's head.
_KEEP_ALIVE_SECONDS = 120.0
_LINGER_SECONDS = 5.0
_BACKLOG = 1024
_STOP_SECONDS = 1.0

_log = logging.getLogger(__name__)

AnswerRequest = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class ProxyServer:
    """Listens for calls until it is stopped."""

    def __init__(
        self,
        forwarder: Forwarder,
        metrics: ProxyMetrics,
        *,
        connections_max: int,
        keep_alive_seconds: float = _KEEP_ALIVE_SECONDS,
    ) -> None:
        self._forwarder = forwarder
        self._metrics = metrics
        self._server = _Server(self._answer, metrics, connections_max, keep_alive_seconds)
        self._listening: asyncio.Server | None = None
        self._ready = False

    async def start(self, host: str, port: int) -> int:
        """Listen on *host* and *port* only, and give the port; StartError when that cannot be."""
        if not _has_strict_parser():
            raise StartError(
                "aiohttp runs without its compiled parser, and the other one lets malformed "
                "requests pass. Unset AIOHTTP_NO_EXTENSIONS and install aiohttp from a wheel."
            )
        loop = asyncio.get_running_loop()
        try:
            self._listening = await loop.create_server(
                self._server, host, port, backlog=_BACKLOG, reuse_address=True
            )
        except OSError as error:
            raise StartError(_cannot_listen(host, port, error)) from error
        self._ready = True
        return int(self._listening.sockets[0].getsockname()[1])

    async def stop(self, drain_seconds: float) -> None:
        """Take no more calls, let those in flight finish, then cut what is left."""
        self._ready = False
        self._forwarder.stopping = True
        if self._listening is not None:
            self._listening.close()
        self._server.close_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_seconds):
                await self._forwarder.idle.wait()
        if self._forwarder.calls:
            _log.warning("calls are cut by the stop", extra={"calls": self._forwarder.calls})
        self._forwarder.cutting = True
        await self._server.shutdown(_STOP_SECONDS / 10)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self._forwarder.idle.wait()
        # Connections that were closed let go of their sockets in the loop's next turn.
        await asyncio.sleep(0)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        page = request.raw_path.partition("?")[0]
        if page in _PAGES:
            return self._page(request, page)
        try:
            return await self._forwarder.forward(request)
        except ClientGoneError:
            return CLOSE

    def _page(self, request: web.BaseRequest, page: str) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="only GET\n", headers={"Allow": "GET, HEAD"})
        if page == "/metrics":
            return web.Response(body=self._metrics.text(), headers={"Content-Type": _METRICS_TYPE})
        if page == "/readyz" and not self._ready:
            return web.Response(status=503, text="stopping\n")
        return web.Response(text="ok\n")


_PAGES = frozenset({"/healthz", "/readyz", "/metrics"})
_HEAD_END = b"\r\n\r\n"
_HEAD_TOO_LARGE = f"a request's head has at most {_MAX_HEAD_BYTES} bytes."
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Server(web.Server):
    """Makes a connection's protocol with our limits."""

    def __init__(
        self,
        answer: AnswerRequest,
        metrics: ProxyMetrics,
        connections_max: int,
        keep_alive_seconds: float,
    ) -> None:
        super().__init__(answer, handler_cancellation=True)
        self.metrics = metrics
        self._connections_max = connections_max
        self._keep_alive_seconds = keep_alive_seconds

    @property
    def is_full(self) -> bool:
        """Whether one more connection is too many."""
        return len(self._connections) > self._connections_max

    def close_idle(self) -> None:
        """Close connections that wait for a request; pre_shutdown() would stop uploads, too."""
        for connection in self.connections:
            if isinstance(connection, _Connection) and connection.is_idle:
                connection.close()

    def __call__(self) -> web.RequestHandler:
        assert self._loop is not None
        return _Connection(
            self,
            loop=self._loop,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=self._keep_alive_seconds,
            lingering_time=_LINGER_SECONDS,
            logger=_log,
            max_field_size=_MAX_FIELD_BYTES,
            max_headers=_MAX_HEADERS,
            max_line_size=_MAX_LINE_BYTES,
            read_bufsize=_READ_BUFFER_BYTES,
        )


class _Connection(web.RequestHandler):
    """One client connection. What it logs never quotes a request."""

    __slots__ = ("_asks_for_upgrade", "_body", "_head_bytes", "_metrics", "_sends_ahead")

    def __init__(self, server: _Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._metrics = server.metrics
        # Of the request whose head came last.
        self._body: StreamReader = EMPTY_PAYLOAD
        self._asks_for_upgrade = False
        self._head_bytes = 0
        self._sends_ahead = False

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self._waiter is not None

    def resume_reading(self, resume_parser: bool = True) -> None:
        # Asked with every body that is read; the whole parser runs for it. That is needed only
        # where the parser may have stopped, at a long body or at many requests.
        if self._reading_paused or self._sends_ahead:
            super().resume_reading(resume_parser)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        server = self._manager
        if isinstance(server, _Server) and server.is_full and self.transport is not None:
            self.transport.write(_whole(refuse("", 503, "busy", "too many connections.")))
            self.force_close()

    def data_received(self, data: bytes) -> None:
        waiter = self._waiter
        if waiter is None:
            self._receive_ahead(data)
            return
        self._parse(data)
        if waiter.done():
            self._head_bytes = 0
            self._sends_ahead = self._sends_ahead or len(self._messages) > 1
            return
        # While a request is awaited, what comes is the beginning of its head.
        self._head_bytes += len(data)
        if self._head_bytes > _MAX_HEAD_BYTES and self.transport is not None:
            self._metrics.count_malformed()
            self.transport.write(_whole(refuse("", 400, "malformed", _HEAD_TOO_LARGE)))
            self.force_close()

    def _receive_ahead(self, data: bytes) -> None:
        """Take what comes while a request is answered: its body, or requests behind it."""
        messages = self._messages
        queued = len(messages)
        body = self._body
        is_head = body.is_eof()
        self._parse(data)
        if len(messages) > queued:
            if not body.is_eof():
                # What is queued says that the body is no HTTP; aiohttp leaves its reader waiting.
                self._metrics.count_malformed()
                body.set_exception(web.RequestPayloadError("its framing is broken"))
            self._sends_ahead = True
            self._head_bytes = sum(_head_bytes(message) for message, _ in messages)
        elif is_head:
            self._head_bytes += len(data)
        else:
            return
        if self._head_bytes > _MAX_HEAD_BYTES:
            # An answer of ours would stand in the middle of the one that is on its way.
            self._metrics.count_malformed()
            self.force_close()

    def _parse(self, data: bytes) -> None:
        """Give *data* to the parser, and note the request that it ends with or in.

        Behind a request that asks for an upgrade, other than to a WebSocket, aiohttp drops what
        came with its end. What came after that would be read as requests from its middle on.
        """
        queued = len(self._messages)
        body = self._body
        was_open = not body.is_eof()
        body_bytes = body.total_bytes
        super().data_received(data)
        if begun := len(self._messages) - queued:
            message, self._body = self._messages[-1]
            self._asks_for_upgrade = bool(getattr(message, "upgrade", False))
        body = self._body
        if not self._asks_for_upgrade or not body.is_eof() or not (begun or was_open):
            return
        # What cannot be told is taken for lost: what lay in the parser, the chunks of a body, and
        # the end of a head in two parts.
        ended = body.total_bytes - body_bytes if data else -1
        if begun:
            ended = data.find(_HEAD_END) + len(_HEAD_END) + body.total_bytes
        if ended != len(data) or begun > 1 or (begun and data[:1] in (b"\r", b"\n")):
            self.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no valid HTTP, without repeating any of it."""
        if status == 400:
            self._metrics.count_malformed()
        else:
            _log.error("a page failed unexpectedly", extra={"error": type(exc).__name__})
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        answer = Answer(request)
        answer.keep_alive = False
        known = status if status in (400, 504) else 500
        what = "the request is not valid HTTP." if known == 400 else "it failed on this request."
        with contextlib.suppress(ClientGoneError):
            answer.refuse(refuse("", known, "malformed" if known == 400 else "internal", what))
        return answer.result

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log that something failed; the exception's text may quote a header."""
        if self.transport is None or isinstance(kwargs.get("exc_info"), web.RequestPayloadError):
            # The client left what was read of it to its end, or broke it, which was counted.
            return
        failure = type(kwargs.get("exc_info")).__name__
        _log.error("a connection failed unexpectedly", extra={"error": failure})


def _head_bytes(message: object) -> int:
    # What is no valid HTTP stands in the queue as an error, without headers.
    headers: RawHeaders = getattr(message, "raw_headers", ())
    return sum(len(name) + len(value) for name, value in headers)


def _whole(refusal: Refusal) -> bytes:
    lines = [f"HTTP/1.1 {refusal.status} {refusal.reason}".encode("ascii")]
    lines.extend(name + b": " + value for name, value in refusal.headers)
    return b"\r\n".join(lines) + b"\r\nConnection: close\r\n\r\n" + refusal.body


def _has_strict_parser() -> bool:
    parser: object = aiohttp.http_parser.HttpRequestParser
    return parser is not aiohttp.http_parser.HttpRequestParserPy


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is taken. Stop what uses it, or set TRACEQUILL_PROXY_PORT "
            "(proxy_port) to another."
        )
    return f"cannot listen on {host}:{port}: {error.strerror or error}. Set host and proxy_port."
