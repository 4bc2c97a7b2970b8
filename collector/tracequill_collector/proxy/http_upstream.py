"""Upstreams over HTTP/1.1: aiohttp's connections and parser, our own bytes.

A request goes out exactly as it is given; a response comes back with its raw headers and its
chunks, undecoded. aiohttp's connector gives and keeps the connections (names, TLS, reuse). Its
ClientSession is passed by, because it rebuilds path and headers, follows cookies and sends some
requests twice (docs/decisions/0020-proxy-on-the-connector.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage, StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from yarl import URL

from tracequill_collector.proxy.connection import UpstreamConnection, UpstreamConnector
from tracequill_collector.proxy.headers import RawHeaders
from tracequill_collector.proxy.public_address import NotPublicError, public_socket
from tracequill_collector.proxy.route import Origin
from tracequill_collector.proxy.upstream import (
    ClientBodyError,
    Take,
    UpstreamCutError,
    UpstreamError,
    UpstreamRequest,
)

CONNECT_SECONDS = 10.0
# Reasoning models are silent for minutes. A caller that waits less hangs up, and that ends the
# call; this only ends calls to an upstream that died without a word.
READ_SECONDS = 3600.0
# Vendors close what was idle for 15 s and more (api.anthropic.com).
IDLE_SECONDS = 8.0
_NAMES_SECONDS = 30
_READ_BUFFER_BYTES = 64 * 1024
_MAX_LINE_BYTES = 16 * 1024
_MAX_FIELD_BYTES = 64 * 1024
_MAX_HEADERS = 512
_NOT_HTTP = "the upstream gave no answer: it is not valid HTTP."


class HttpUpstream:
    """Every upstream that is reached over a socket. Used as a context manager."""

    def __init__(
        self,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        resolver: AbstractResolver | None = None,
        public_socket: aiohttp.SocketFactoryType = public_socket,
    ) -> None:
        self._timeout = aiohttp.ClientTimeout(connect=connect_seconds)
        self._read_seconds = read_seconds
        self._idle_seconds = idle_seconds
        self._uploads = asyncio.TaskGroup()
        self._resolver = resolver
        self._public_socket = public_socket
        self._connector: aiohttp.TCPConnector
        self._public_connector: aiohttp.TCPConnector

    async def __aenter__(self) -> Self:
        # Two, so that no connection to any address is ever given to a call that wants a public one.
        self._connector = self._open_connector(None)
        self._public_connector = self._open_connector(self._public_socket)
        loop = asyncio.get_running_loop()

        @functools.lru_cache(maxsize=1024)
        def connection_request(origin: Origin) -> ClientRequest:
            # The connector only asks it where to connect to; it is never sent.
            url = URL.build(scheme=origin.scheme, host=origin.host, port=origin.port)
            return ClientRequest("GET", url, loop=loop)

        self._connection_request = connection_request
        await self._uploads.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._connector.close()
        await self._public_connector.close()
        await self._uploads.__aexit__(kind, error, traceback)

    def _open_connector(
        self, socket_factory: aiohttp.SocketFactoryType | None
    ) -> aiohttp.TCPConnector:
        return UpstreamConnector(
            limit=0,
            keepalive_timeout=self._idle_seconds,
            ttl_dns_cache=_NAMES_SECONDS,
            resolver=self._resolver,
            socket_factory=socket_factory,
        )

    async def send(self, request: UpstreamRequest) -> HttpResponse:
        """Send *request* once and give the response as soon as its head is there."""
        connection = await self._connect(request.origin)
        exchange = _Exchange(connection, self._idle_seconds)
        try:
            protocol = connection.protocol
            assert isinstance(protocol, UpstreamConnection)
            protocol.set_response_params(
                skip_payload=request.method == "HEAD",
                read_until_eof=True,
                auto_decompress=False,
                read_timeout=self._read_seconds,
                read_bufsize=_READ_BUFFER_BYTES,
                max_line_size=_MAX_LINE_BYTES,
                max_field_size=_MAX_FIELD_BYTES,
                max_headers=_MAX_HEADERS,
            )
            first = _head(request) + _framed(request.body, request.chunked)
            if request.read_more is None:
                _write(protocol, first + (b"0\r\n\r\n" if request.chunked else b""))
                protocol.start_timeout()
            else:
                _write(protocol, first)
                exchange.upload = self._uploads.create_task(
                    _upload(request, exchange, protocol, self._read_seconds)
                )
            message, payload = await self._response_head(
                exchange, protocol, has_body=request.method != "HEAD"
            )
        except BaseException:
            exchange.close()
            raise
        return HttpResponse(exchange, protocol, message, payload)

    async def _connect(self, origin: Origin | None) -> Connection:
        """Give a connection on which nothing was sent yet or everything was answered."""
        assert origin is not None
        request = self._connection_request(origin)
        connector = self._public_connector if origin.public else self._connector
        while True:
            try:
                connection = await connector.connect(request, [], self._timeout)
            except TimeoutError as error:
                raise UpstreamError(
                    f"{origin.authority} did not accept a connection within "
                    f"{self._timeout.connect:g} s.",
                    status=504,
                ) from error
            except (aiohttp.ClientError, OSError) as error:
                raise UpstreamError(
                    f"cannot connect to {origin.authority}: {_cause(error)}."
                ) from error
            protocol = connection.protocol
            assert isinstance(protocol, UpstreamConnection)
            idle_until, protocol.idle_until = protocol.idle_until, None
            if protocol.is_connected() and not protocol.should_close:
                if idle_until is None or time.monotonic() < idle_until:
                    return connection
            # Nothing was sent on it, so taking another one is no retry. A pooled connection that
            # holds bytes would give them to the next call as its answer.
            connection.close()
            if idle_until is None:
                raise UpstreamError(f"{origin.authority} closed the connection or spoke first.")

    async def _response_head(
        self, exchange: _Exchange, protocol: ResponseHandler, *, has_body: bool
    ) -> tuple[RawResponseMessage, StreamReader]:
        try:
            while True:
                message, payload = await protocol.read()
                if message.code == 101:
                    raise UpstreamError("the upstream switched protocols unasked.")
                if message.code >= 200:
                    break
                length = message.headers.get("Content-Length", "0")
                if message.code < 100 or message.chunked or length != "0":
                    # Nobody would read such a body: the connection stops at a large one, silently.
                    raise UpstreamError(_NOT_HTTP)
                # aiohttp takes it for a whole answer, and watches for silence no more.
                if exchange.upload is None or exchange.upload.done():
                    protocol.start_timeout()
        except aiohttp.SocketTimeoutError as error:
            raise UpstreamError(
                f"the upstream gave no answer within {self._read_seconds:g} s.", status=504
            ) from error
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            if exchange.upload_error is not None:
                raise exchange.upload_error from error
            raise UpstreamError(f"the upstream gave no answer: {_cause(error)}.") from error
        if exchange.upload_error is not None:
            # The head came in the same moment. Nothing tells who would read the body.
            raise exchange.upload_error
        codings = message.headers.getall("Transfer-Encoding", ())
        if any(coding.strip().lower() != "chunked" for coding in codings):
            raise UpstreamError("the upstream used a transfer coding other than chunked.")
        if payload is EMPTY_PAYLOAD and has_body and message.code not in (204, 304):
            # A length that the parser cannot count to. The client would wait for it.
            raise UpstreamError(_NOT_HTTP)
        return message, payload


class HttpResponse:
    """One response over HTTP."""

    def __init__(
        self,
        exchange: _Exchange,
        protocol: UpstreamConnection,
        message: RawResponseMessage,
        payload: StreamReader,
    ) -> None:
        self.status = message.code
        self.reason = message.reason
        self.headers: RawHeaders = message.raw_headers
        self._exchange = exchange
        self._protocol = protocol
        self._payload = payload
        self._closed = False
        # Read from aiohttp, and not yet given to anybody.
        self._left = b""
        # Without a length the end of the connection is the end of the body.
        self._is_chunked = message.chunked
        self._until_close = not message.chunked and "Content-Length" not in message.headers
        exchange.keep_alive_header = message.headers.get("Keep-Alive", "")
        exchange.payload = payload

    @property
    def at_end(self) -> bool:
        """Whether the body is complete and all of it was read."""
        if self._payload is EMPTY_PAYLOAD:
            return True
        return not self._left and self._payload.at_eof() and not self._was_reset()

    def read_now(self) -> bytes:
        """Give what has already come."""
        if self._payload is EMPTY_PAYLOAD:
            return b""
        left, self._left = self._left, b""
        # Not read_nowait(): after a cut it raises and hides the bytes that came before.
        return left + self._payload._read_nowait(-1)

    async def pass_on(self, take: Take) -> None:
        """Give what comes to *take* at once, until the body has ended or *take* wants no more."""
        payload, protocol = self._payload, self._protocol
        stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        is_taking = False

        def stop(error: Exception | None = None) -> None:
            # Else a piece could overtake what comes in until this task runs again.
            protocol.on_change = protocol.on_piece = None
            if stopped.done():  # this task was cancelled
                return
            if error is None:
                stopped.set_result(None)
            else:
                stopped.set_exception(error)

        def look() -> None:
            # Reading may let more in, which comes here before what was read has been taken.
            nonlocal is_taking
            if is_taking:
                return
            is_taking = True
            try:
                # Its fields and not its methods: this runs for every piece of every stream.
                while payload._buffer and not payload._eof and payload._exception is None:
                    data = payload._read_nowait(-1)
                    # Reading may also let in the end. The last bytes are not for *take*.
                    if payload._eof or payload._exception is not None:
                        self._left = data
                    elif not take(data):
                        stop()
                        return
                if payload._eof or payload._exception is not None:
                    stop()
            except Exception as error:
                stop(error)
            finally:
                is_taking = False

        def piece(data: bytes) -> None:
            try:
                if not take(data):
                    stop()
            except Exception as error:
                stop(error)

        if payload is EMPTY_PAYLOAD:
            return
        protocol.on_change = look
        try:
            look()
            if self._is_chunked and not stopped.done():
                protocol.on_piece = piece
            await stopped
        finally:
            protocol.on_change = protocol.on_piece = None

    async def read(self) -> bytes:
        """Wait for more and give it; nothing at the end."""
        if data := self.read_now():
            return data
        try:
            data = await self._payload.readany()
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            if isinstance(failed := self._exchange.upload_error, ClientBodyError):
                raise failed from error
            raise UpstreamCutError(f"the upstream cut its answer: {_cause(error)}.") from error
        if not data and self._was_reset():
            raise UpstreamCutError("the upstream cut its answer: connection reset.")
        return data

    async def close(self) -> None:
        """Give the connection back when everything crossed, else close it."""
        if self._closed:
            return
        self._closed = True
        if self.at_end:
            self._exchange.release()
        else:
            self._exchange.close()

    def _was_reset(self) -> bool:
        # aiohttp ends the body on a reset as on a clean end; only the connection knows.
        return self._until_close and isinstance(self._protocol.exception(), OSError)


class _Exchange:
    """A connection while one request and its response cross it."""

    __slots__ = (
        "_connection",
        "_idle_seconds",
        "keep_alive_header",
        "payload",
        "upload",
        "upload_error",
    )

    def __init__(
        self,
        connection: Connection,
        idle_seconds: float,
    ) -> None:
        self._connection = connection
        self._idle_seconds = idle_seconds
        self.keep_alive_header = ""
        self.payload: StreamReader | None = None
        self.upload: asyncio.Task[None] | None = None
        self.upload_error: ClientBodyError | UpstreamError | None = None

    def release(self) -> None:
        """Keep the connection for the next call, when both directions are finished."""
        if self.upload is not None and not self.upload.done():
            self.close()
            return
        protocol = self._connection.protocol
        seconds = min(self._idle_seconds, _allowed_idle_seconds(self.keep_alive_header))
        if isinstance(protocol, UpstreamConnection) and seconds > 0 and protocol.is_at_rest():
            protocol.idle_until = time.monotonic() + seconds
            self._connection.release()
        else:
            self._connection.close()

    def close(self) -> None:
        """End the connection, and with it whatever still crosses."""
        if self.upload is not None:
            self.upload.cancel()
        self._abort()

    def fail(self, error: ClientBodyError | UpstreamError) -> None:
        """End the connection because the request body cannot be sent to its end."""
        self.upload_error = error
        if self.payload is not None:
            # A closed connection would not wake who reads from it.
            self.payload.set_exception(aiohttp.ClientPayloadError("the request body failed"))
            if isinstance(protocol := self._connection.protocol, UpstreamConnection):
                protocol.changed()
        self._abort()

    def _abort(self) -> None:
        transport = self._connection.transport
        self._connection.close()
        if transport is not None:
            # A close waits until all that was written is taken, perhaps for ever.
            transport.abort()


async def _upload(
    request: UpstreamRequest,
    exchange: _Exchange,
    protocol: ResponseHandler,
    stall_seconds: float,
) -> None:
    """Send the rest of the body as it comes. Never raises: the response tells how it went."""
    assert request.read_more is not None
    writer = StreamWriter(protocol, asyncio.get_running_loop())
    try:
        while True:
            async with asyncio.timeout(stall_seconds):
                await writer.drain()
            if not (chunk := await request.read_more()):
                break
            _write(protocol, _framed(chunk, request.chunked))
        if request.chunked:
            _write(protocol, b"0\r\n\r\n")
        protocol.start_timeout()
    except ClientBodyError as error:
        exchange.fail(error)
    except TimeoutError:
        message = f"the upstream took no more of the request for {stall_seconds:g} s."
        exchange.fail(UpstreamError(message, status=504))
    except (UpstreamError, ConnectionError):
        # The upstream reads no more. Its answer may be there already.
        return
    except Exception as error:
        # All uploads are one group: what ends one with an exception would end them all.
        exchange.fail(UpstreamError(f"the request was not sent ({type(error).__name__})."))


def _write(protocol: ResponseHandler, data: bytes) -> None:
    transport = protocol.transport
    if transport is None or transport.is_closing():
        raise UpstreamError("the upstream closed the connection.")
    transport.write(data)


def _head(request: UpstreamRequest) -> bytes:
    lines = [f"{request.method} {request.path} HTTP/1.1".encode("ascii")]
    lines.extend(name + b": " + value for name, value in request.headers)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def _framed(data: bytes, chunked: bool) -> bytes:
    if not chunked or not data:
        return data
    return b"%x\r\n%b\r\n" % (len(data), data)


def _allowed_idle_seconds(keep_alive_header: str) -> float:
    """Read ``Keep-Alive: timeout=5`` with a second to spare for the way."""
    for part in keep_alive_header.split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "timeout":
            with contextlib.suppress(ValueError):
                return float(value) - 1
    return float("inf")


def _cause(error: BaseException) -> str:
    """Say what failed without quoting a byte of the exchange."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(
        error.os_error, NotPublicError
    ):
        return (
            "its address is not public, and this route leads to the internet; if that is meant, "
            "set 'public: false' for the route in tracequill.yaml"
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not valid"
    if isinstance(error, aiohttp.ClientSSLError):
        return "the TLS handshake failed"
    if isinstance(error, HttpProcessingError):
        return "it is not valid HTTP"
    if isinstance(error, aiohttp.SocketTimeoutError):
        return "it was silent too long"
    if isinstance(error, OSError) and error.errno:
        # Not strerror: asyncio writes addresses into it.
        return os.strerror(error.errno).lower()
    return "the connection was closed"
