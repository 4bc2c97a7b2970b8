"""A collector that only counts: ``python -m bench.proxy.stub PORT``.

OTLP over HTTP comes in and is answered as a collector does; ``GET /counts`` gives how many
requests, spans and traces came. A call is one trace, also where a gateway writes several spans for
it.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp.web
import uvloop
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_MAX_BYTES = 256 * 1024 * 1024


class Stub:
    """What came so far."""

    def __init__(self) -> None:
        self._requests = 0
        self._spans = 0
        self._traces: set[bytes] = set()

    async def take(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        """Count the spans of one request."""
        traces = ExportTraceServiceRequest.FromString(await request.read())
        self._requests += 1
        for resource_spans in traces.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                self._spans += len(scope_spans.spans)
                self._traces.update(span.trace_id for span in scope_spans.spans)
        return aiohttp.web.Response(content_type="application/x-protobuf")

    async def counts(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        """Tell how much came."""
        counts = {"requests": self._requests, "spans": self._spans, "traces": len(self._traces)}
        return aiohttp.web.json_response(counts)


async def serve(port: int) -> None:
    """Serve until the process ends."""
    stub = Stub()
    application = aiohttp.web.Application(client_max_size=_MAX_BYTES)
    application.router.add_post("/v1/traces", stub.take)
    application.router.add_get("/counts", stub.counts)
    runner = aiohttp.web.AppRunner(application, access_log=None)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(serve(int(sys.argv[1])))
