"""OTLP over gRPC: raw requests come in, the intake keeps them, the answer goes out.

The bytes pass undecoded; gRPC itself has undone the compression, within the limit on the size of
a request. This module knows no queue.

A call is read only when there is room for it: until then the sender's bytes wait at the sender.
That is why the method is served as if it were a stream of requests; on the wire there is no
difference between one request and a stream of one.
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

from tracequill_collector.errors import CollectorError, RetryableError, StartError
from tracequill_collector.otlp import OversizeError
from tracequill_collector.receiver.connections import ConnectionLimits
from tracequill_collector.receiver.intake import Intake, Lease
from tracequill_collector.receiver.status import Answer, answer_for, trailers

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
_TRANSPORT = "grpc"

# OTLP/gRPC bounds answers; ours are far smaller.
_RESPONSE_MAX_BYTES = 4 * 1024 * 1024
_STOP_SECONDS = 4.0

# How large a request is gRPC tells only when it is here. Until then it holds this much of the
# limit on all memory: what gRPC itself allows a message by default.
_UNREAD_BYTES = 4 * 1024 * 1024
# The exporters for Python give up after this time.
_READ_SECONDS = 10.0

_log = logging.getLogger(__name__)

_Context = grpc.aio.ServicerContext[bytes, bytes]


@asynccontextmanager
async def serve_grpc(
    intake: Intake, host: str, port: int, limits: ConnectionLimits
) -> AsyncIterator[None]:
    """Serve OTLP/gRPC on one socket; leaving finishes the calls in flight.

    Raises a StartError when the port is taken.
    """
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        await _try_port(host, port)
        server = grpc.aio.server(options=_options(intake.request_max_bytes, limits))
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


def _options(request_max_bytes: int, limits: ConnectionLimits) -> list[tuple[str, int]]:
    return [
        # Without this a second process could listen on the same port and take half of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", request_max_bytes),
        ("grpc.max_send_message_length", _RESPONSE_MAX_BYTES),
        # Clients that ping to keep a connection open are welcome to; by default gRPC closes it.
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # A peer that vanished is noticed within 80 s.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.max_concurrent_streams", 256),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.server_handshake_timeout_ms", int(limits.idle_seconds * 1000)),
        # Senders behind a load balancer are spread anew, between two calls.
        ("grpc.max_connection_age_ms", 30 * 60_000),
        ("grpc.max_connection_age_grace_ms", 60_000),
    ]


def _service(intake: Intake) -> grpc.GenericRpcHandler[bytes, bytes]:
    async def export(requests: object, context: _Context) -> bytes:
        return await _export(intake, context)

    # No deserializer: the request stays the bytes that came.
    method = grpc.stream_unary_rpc_method_handler(export)
    return grpc.method_handlers_generic_handler(SERVICE, {"Export": method})


async def _export(intake: Intake, context: _Context) -> bytes:
    answer = await _answer(intake, context)
    if isinstance(answer, Answer):
        # gRPC keeps what abort raises, with this frame, until the garbage collector comes by. So
        # the request is not in this frame, and no error of ours is being handled: a full queue
        # refuses many megabytes a second.
        await context.abort(answer.code, answer.message, trailers(answer))
    return answer.SerializeToString()


async def _answer(intake: Intake, context: _Context) -> ExportTraceServiceResponse | Answer:
    """Take the request; give the response, or the answer to a request that is refused."""
    metadata = dict(context.invocation_metadata() or ())
    project = metadata.get("x-project-name", "")
    try:
        async with intake.in_flight.lease() as lease:
            with intake.reading(_TRANSPORT):
                request = await _read_request(context, lease, intake.request_max_bytes)
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
        return answer_for(error)
    response = ExportTraceServiceResponse()
    if accepted.rejected_count:
        response.partial_success.CopyFrom(
            ExportTracePartialSuccess(
                rejected_spans=accepted.rejected_count, error_message=accepted.message
            )
        )
    return response


async def _read_request(context: _Context, lease: Lease, max_bytes: int) -> bytes:
    """Read the one request of a call, once there is room for it."""
    await lease.grow_to(_UNREAD_BYTES)
    try:
        async with asyncio.timeout(_READ_SECONDS):
            request = await context.read()
    except TimeoutError:
        raise RetryableError(f"the request did not arrive within {_READ_SECONDS:.0f} s.") from None
    if not isinstance(request, bytes):
        # gRPC has given the sender the reason already when the request was too large.
        raise OversizeError(f"the call has no request, or one larger than {max_bytes} bytes.")
    await lease.grow_to(len(request))
    await lease.shrink_to(len(request))
    return request
