"""OTLP backends that answer as a test tells them, by HTTP and gRPC, on ports of their own."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.integration.receiver_rig import EXPORT
from tracequill_collector.otlp import all_spans


@dataclass
class Backend:
    """What came, and where to send it."""

    url: str = ""
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    """Requests that were answered with success."""
    headers: list[dict[str, str]] = field(default_factory=list)
    asked: int = 0

    @property
    def spans(self) -> list[Span]:
        """All spans taken, in order of arrival."""
        return [span for request in self.requests for _, _, span in all_spans(request)]

    @property
    def span_ids(self) -> list[str]:
        """Their ids in hex."""
        return [span.span_id.hex() for span in self.spans]


HttpScript = Callable[[int, ExportTraceServiceRequest], Awaitable[web.StreamResponse | None]]
"""Given the number of the request, from 1, and the request: an answer, or None for success."""


@asynccontextmanager
async def http_backend(
    script: HttpScript | None = None, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Backend]:
    """Run an OTLP/HTTP backend."""
    backend = Backend()

    async def traces(http_request: web.Request) -> web.StreamResponse:
        body = await http_request.read()  # aiohttp's server unpacks it
        request = ExportTraceServiceRequest.FromString(body)
        backend.asked += 1
        backend.headers.append({key.lower(): value for key, value in http_request.headers.items()})
        answer = None if script is None else await script(backend.asked, request)
        if answer is None or answer.status == 200:
            backend.requests.append(request)
        return answer or web.Response(content_type="application/x-protobuf")

    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/v1/traces", traces)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    scheme, name = ("https", "localhost") if tls else ("http", "127.0.0.1")
    backend.url = f"{scheme}://{name}:{runner.addresses[0][1]}"
    try:
        yield backend
    finally:
        await runner.cleanup()


GrpcContext = grpc.aio.ServicerContext[bytes, bytes]
GrpcScript = Callable[[int, GrpcContext], Awaitable[bytes]]


@asynccontextmanager
async def grpc_backend(
    script: GrpcScript | None = None,
    *,
    options: tuple[tuple[str, int], ...] = (),
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[Backend]:
    """Run an OTLP/gRPC backend."""
    backend = Backend()

    async def export(request: bytes, context: GrpcContext) -> bytes:
        backend.asked += 1
        backend.headers.append(
            {key: str(value) for key, value in context.invocation_metadata() or ()}
        )
        answer = b"" if script is None else await script(backend.asked, context)
        if not context.code():
            backend.requests.append(ExportTraceServiceRequest.FromString(request))
        return answer

    server = grpc.aio.server(options=options)
    service, method = EXPORT.strip("/").split("/")
    handlers = {method: grpc.unary_unary_rpc_method_handler(export)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    if credentials is None:
        backend.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
        backend.url = f"https://localhost:{port}"
    await server.start()
    try:
        yield backend
    finally:
        await server.stop(0)


RawScript = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_backend(script: RawScript) -> AsyncIterator[Backend]:
    """Run a TCP server; *script* gets each connection once its request's headers are there."""
    backend = Backend()
    writers: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            await reader.readuntil(b"\r\n\r\n")
            backend.asked += 1
            await script(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            return

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    backend.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield backend
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def for_ever() -> None:
    """Never answer."""
    await asyncio.Event().wait()


def bomb(size: int) -> bytes:
    """Give *size* zeros, packed."""
    return gzip.compress(bytes(size))
