"""The real exporters of OpenTelemetry for Python deliver to the receiver process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpExporter,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tests.integration.receiver.inside import (
    CountingFailure,
    FullForSomeCalls,
    Inside,
    names_of,
    servers,
)
from tests.integration.receiver_rig import ReceiverProcess
from tracequill_collector.errors import PermanentError
from tracequill_collector.receiver import status

pytestmark = pytest.mark.integration


def _grpc_exporter(receiver: ReceiverProcess, compression: str) -> SpanExporter:
    return GrpcExporter(
        endpoint=receiver.grpc_address,
        insecure=True,
        compression=grpc.Compression.Gzip
        if compression == "gzip"
        else grpc.Compression.NoCompression,
    )


def _http_exporter(receiver: ReceiverProcess, compression: str) -> SpanExporter:
    return HttpExporter(
        endpoint=f"{receiver.http_url}/v1/traces", compression=Compression(compression)
    )


def _sdk_spans(name: str, count: int) -> list[ReadableSpan]:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    spans: list[ReadableSpan] = []
    for _ in range(count):
        with tracer.start_as_current_span(name) as item:
            item.set_attribute("input.value", "a question " * 50)
        assert isinstance(item, ReadableSpan)
        spans.append(item)
    return spans


@pytest.mark.parametrize(
    ("exporter", "compression"),
    [
        (_grpc_exporter, "none"),
        (_grpc_exporter, "gzip"),
        (_http_exporter, "none"),
        (_http_exporter, "gzip"),
        (_http_exporter, "deflate"),
    ],
)
def test_the_exporters_of_opentelemetry_deliver(
    shared: ReceiverProcess,
    exporter: Callable[[ReceiverProcess, str], SpanExporter],
    compression: str,
) -> None:
    name = f"{exporter.__name__} {compression}"
    client = exporter(shared, compression)

    result = client.export(_sdk_spans(name, 20))

    client.shutdown()
    assert result is SpanExportResult.SUCCESS
    assert sum(item.name == name for item in shared.spans()) == 20


def _inside_exporter(protocol: str, inside: Inside) -> SpanExporter:
    if protocol == "grpc":
        return GrpcExporter(endpoint=f"127.0.0.1:{inside.grpc_port}", insecure=True)
    return HttpExporter(endpoint=f"http://127.0.0.1:{inside.http_port}/v1/traces")


async def _send_inside(protocol: str, inside: Inside) -> SpanExportResult:
    client = _inside_exporter(protocol, inside)
    try:
        return await asyncio.to_thread(client.export, _sdk_spans("again", 1))
    finally:
        await asyncio.to_thread(client.shutdown)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_an_exporter_sends_again_when_told_to(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "_JITTER_SECONDS", 0)
    sink = FullForSomeCalls(1)
    async with servers(sink, patience_seconds=0) as inside:
        result = await _send_inside(protocol, inside)

    assert result is SpanExportResult.SUCCESS
    assert sink.calls < 0
    assert names_of(sink.records) == ["again"]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_an_exporter_does_not_repeat_what_is_refused_for_good(protocol: str) -> None:
    consumer = CountingFailure(PermanentError("this can never be kept."))
    async with servers(consumer) as inside:
        result = await _send_inside(protocol, inside)

    assert result is SpanExportResult.FAILURE
    assert consumer.calls == 1
