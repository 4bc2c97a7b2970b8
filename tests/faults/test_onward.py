"""A second backend that is away, slow or refusing: it gets all in the end, and holds nobody up."""

from __future__ import annotations

import asyncio
import gzip
import signal
from pathlib import Path
from typing import Literal

import pytest
import yaml
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.faults.rig import Rig, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

FAULT_SECONDS = 10.0


class Backend:
    """An OTLP/HTTP backend that remembers the ids of the spans it was sent."""

    def __init__(self) -> None:
        self.mood: Literal["well", "refusing", "silent", "away"] = "well"
        self.spans: dict[str, str] = {}
        self.port = 0
        self._better = asyncio.Event()

    async def start(self) -> web.AppRunner:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/v1/traces", self._take)
        runner = web.AppRunner(app, access_log=None, auto_decompress=False)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    def become(self, mood: Literal["well", "refusing", "silent"]) -> None:
        self.mood = mood
        self._better.set()
        self._better = asyncio.Event()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.mood == "silent":
            await self._better.wait()
        if self.mood == "refusing":
            return web.Response(status=503, headers={"Retry-After": "1"})
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    self.spans[span.span_id.hex()] = span.name
        return web.Response(body=b"", content_type="application/x-protobuf")


async def test_a_backend_that_comes_back_gets_everything_and_postgres_never_waits_for_it(
    cluster: Path, tmp_path: Path
) -> None:
    backend = Backend()
    runner = await backend.start()
    config = tmp_path / "tracequill.yaml"
    entry = {"endpoint": f"http://127.0.0.1:{backend.port}", "timeout_seconds": 5, "keep": True}
    config.write_text(yaml.safe_dump({"exporters": {"other": entry}}))
    async with Rig(tmp_path, cluster, variables={"TRACEQUILL_CONFIG": str(config)}) as rig:
        await rig.accepted(50)
        await until(lambda: bool(backend.spans))
        for mood in ("refusing", "silent"):
            backend.become("refusing" if mood == "refusing" else "silent")
            await asyncio.sleep(FAULT_SECONDS)
            await rig.stored(10)
        backend.become("well")
        await runner.cleanup()
        rig.exporter.send(signal.SIGKILL)
        await rig.accepted(50)
        await rig.stored(30)
        runner = await backend.start()
        ledger = rig.load.ledger
        await rig.settle()
        await until(lambda: backend.spans.keys() >= ledger.obligations, 90)
    await runner.cleanup()

    # The exporter may have asked with a span of its own whether anything is taken.
    told = {key: name for key, name in backend.spans.items() if not name.startswith("tracequill ")}
    assert told == {span_id: ledger.sent[span_id].name for span_id in told}
