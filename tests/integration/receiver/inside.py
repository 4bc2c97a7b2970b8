"""Both real servers in the test's own process, before a consumer that the test chooses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import grpc
from prometheus_client import CollectorRegistry

from tests.integration.receiver_rig import EXPORT, PROTOBUF
from tests.ports import free_port
from tracequill_collector.errors import QueueFullError
from tracequill_collector.otlp import all_spans, decompress, parse_traces
from tracequill_collector.pipeline import Record, RecordConsumer
from tracequill_collector.receiver.connections import ConnectionLimits
from tracequill_collector.receiver.http_server import serve_http
from tracequill_collector.receiver.intake import IN_FLIGHT_MAX_BYTES, Intake
from tracequill_collector.receiver.metrics import ReceiverMetrics
from tracequill_collector.receiver.otlp_grpc import serve_grpc
from tracequill_collector.receiver.otlp_http import otlp_http_app
from tracequill_collector.testing import FailingConsumer, RecordSink


@dataclass
class HttpAnswer:
    """What came back over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Inside:
    """The two servers, and what they hold."""

    intake: Intake
    grpc_port: int
    http_port: int
    registry: CollectorRegistry

    def count(self, name: str, **labels: str) -> float:
        """What a counter of the servers has reached."""
        return self.registry.get_sample_value(name, {"receiver": "otlp", **labels}) or 0.0

    async def export(self, body: bytes) -> bytes:
        """Send traces by gRPC."""
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            return bytes(await channel.unary_unary(EXPORT, bytes, bytes)(body, timeout=30))

    async def post(self, body: bytes, content_type: str = PROTOBUF) -> HttpAnswer:
        """Send traces by HTTP."""
        url = f"http://127.0.0.1:{self.http_port}/v1/traces"
        headers = {"Content-Type": content_type}
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=body, headers=headers) as answer,
        ):
            return HttpAnswer(answer.status, dict(answer.headers), await answer.read())


@asynccontextmanager
async def servers(
    consumer: RecordConsumer,
    *,
    limits: ConnectionLimits | None = None,
    in_flight_max_bytes: int = IN_FLIGHT_MAX_BYTES,
    patience_seconds: float = 0.05,
) -> AsyncIterator[Inside]:
    """Serve both protocols until the context is left."""
    limits = limits or ConnectionLimits(100)
    registry = CollectorRegistry()
    intake = Intake(
        consumer,
        ReceiverMetrics(registry),
        request_max_bytes=2_000_000,
        in_flight_max_bytes=in_flight_max_bytes,
        patience_seconds=patience_seconds,
    )
    inside = Inside(intake, free_port(), free_port(), registry)
    async with (
        serve_grpc(intake, "127.0.0.1", inside.grpc_port, limits),
        serve_http(otlp_http_app(intake), "127.0.0.1", inside.http_port, limits),
    ):
        yield inside


class FullForSomeCalls(RecordSink):
    """Is full for so many calls, then keeps records."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls

    async def consume(self, record: Record) -> None:
        """Refuse at first."""
        self.calls -= 1
        if self.calls >= 0:
            raise QueueFullError("the queue is full.")
        await super().consume(record)


class CountingFailure(FailingConsumer):
    """Fails every call, and counts them."""

    calls = 0

    async def consume(self, record: Record) -> None:
        """Count, and fail."""
        self.calls += 1
        await super().consume(record)


def names_of(records: list[Record]) -> list[str]:
    """The names of the spans in *records*."""
    return [
        span.name
        for record in records
        for _, _, span in all_spans(
            parse_traces(
                decompress(record.payload, record.content_encoding, 1 << 30), record.content_type
            )
        )
    ]


def http_head(length: int, content_type: str = PROTOBUF) -> bytes:
    """The head of a request whose body has *length* bytes."""
    return (
        f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()
