"""OTLP over gRPC: raw requests come in, the intake keeps them, the answer goes out.

The bytes pass undecoded; gRPC itself has undone the compression. This module knows no queue.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from tracequill_collector.errors import CollectorError, StartError
from tracequill_collector.receiver.intake import Intake
from tracequill_collector.receiver.status import answer_for, trailers

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
_TRANSPORT = "grpc"

# OTLP/gRPC bounds answers; ours are far smaller.
_RESPONSE_MAX_BYTES = 4 * 1024 * 1024
_STOP_SECONDS = 10.0

_log = logging.getLogger(__name__)

_Context = grpc.aio.ServicerContext[bytes, bytes]


@asynccontextmanager
async def serve_grpc(intake: Intake, host: str, port: int) -> AsyncIterator[None]:
    """Serve OTLP/gRPC on one socket; leaving finishes the calls in flight.

    Raises a StartError when the port is taken.
    """
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        await _try_port(host, port)
        server = grpc.aio.server(options=_options(intake.request_max_bytes))
        server.add_generic_rpc_handlers((_service(intake),))
        server.add_insecure_port(address)
    except (OSError, RuntimeError) as error:
        number = error.errno if isinstance(error, OSError) else None
        raise StartError(
            f"OTLP/gRPC cannot listen on {address}: {os.strerror(number) if number else error}. "
            "Stop what listens there, or set otlp_grpc_port (TRACEQUILL_OTLP_GRPC_PORT)."
        ) from None
    await server.start()
    try:
        yield
    finally:
        await server.stop(_STOP_SECONDS)


async def _try_port(host: str, port: int) -> None:
    """Raise an OSError that says why *port* cannot be had; gRPC itself names no reason."""
    loop = asyncio.get_running_loop()
    for family, kind, _, _, address in await loop.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        with socket.socket(family, kind) as probe:
            # As gRPC does: what is left of closed connections does not hold the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)


def _options(request_max_bytes: int) -> list[tuple[str, int]]:
    return [
        # Without this a second process could listen on the same port and take half of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", request_max_bytes),
        ("grpc.max_send_message_length", _RESPONSE_MAX_BYTES),
        # Clients that ping to keep a connection open are welcome to; by default gRPC closes it.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # A peer that vanished is noticed within 80 s.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.max_concurrent_streams", 256),
    ]


def _service(intake: Intake) -> grpc.GenericRpcHandler[bytes, bytes]:
    async def export(request: bytes, context: _Context) -> bytes:
        return await _export(intake, request, context)

    # No deserializer: the request stays the bytes that came.
    method = grpc.unary_unary_rpc_method_handler(export)
    return grpc.method_handlers_generic_handler(SERVICE, {"Export": method})


async def _export(intake: Intake, request: bytes, context: _Context) -> bytes:
    metadata = dict(context.invocation_metadata() or ())
    project = metadata.get("x-project-name", "")
    try:
        async with intake.in_flight.lease() as lease:
            await lease.grow_to(len(request))
            accepted = await intake.take(
                request,
                transport=_TRANSPORT,
                project_name=project if isinstance(project, str) else "",
            )
    except asyncio.CancelledError:
        raise
    except Exception as error:
        if not isinstance(error, CollectorError):
            _log.exception("an OTLP/gRPC request met an unexpected error")
        answer = answer_for(error)
        await context.abort(answer.code, answer.message, trailers(answer))
    response = ExportTraceServiceResponse()
    if accepted.rejected_count:
        response.partial_success.CopyFrom(
            ExportTracePartialSuccess(
                rejected_spans=accepted.rejected_count, error_message=accepted.message
            )
        )
    return response.SerializeToString()
