"""A collector that keeps what it gets and answers as told, and a real recorder process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp.web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from tracequill_collector.status import read_status

WITHIN_SECONDS = 60


class StubCollector:
    """Takes OTLP requests on a port of its own and keeps the spans; answers as told."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[tuple[str, ExportTraceServiceRequest]] = []
        self.statuses: list[int] = []
        """The next answers, before it begins to say 200."""
        self.refused_span_names: set[str] = set()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        application = aiohttp.web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_post("/v1/traces", self._take)
        runner = aiohttp.web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await aiohttp.web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def _take(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        traces = ExportTraceServiceRequest.FromString(await request.read())
        names = {span.name for span in spans_of(traces)}
        if self.refused_span_names & names:
            return aiohttp.web.Response(status=400, text="refused")
        self.requests.append((request.headers.get("x-project-name", ""), traces))
        await self.may_answer.wait()
        status = self.statuses.pop(0) if self.statuses else 200
        headers = {"retry-after": "1"} if status == 429 else {}
        return aiohttp.web.Response(status=status, headers=headers)

    @property
    def span_ids(self) -> list[str]:
        """The ids of all spans that came, in order, repeated ones repeated."""
        return [span.span_id.hex() for _, traces in self.requests for span in spans_of(traces)]


def spans_of(traces: ExportTraceServiceRequest) -> list[trace_pb2.Span]:
    return [
        span
        for resource_spans in traces.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]


class RecorderProcess:
    """The recorder, as the supervisor starts it."""

    def __init__(
        self, data_dir: Path, collector_port: int, variables: dict[str, str] | None = None
    ) -> None:
        self.data_dir = data_dir
        self._environment = {
            **{key: value for key, value in os.environ.items() if "TRACEQUILL" not in key},
            "TRACEQUILL_DATA_DIR": str(data_dir),
            "TRACEQUILL_COLLECTOR_URL": f"http://127.0.0.1:{collector_port}",
            "TRACEQUILL_PROXY_PROJECT_NAME": "calls",
            **(variables or {}),
        }
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it says that it works."""
        self.process = await service("recorder", self.data_dir, self._environment)
        pid = self.process.pid
        await until(lambda: self.status("pid") == pid)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it and give its exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), WITHIN_SECONDS)

    def status(self, name: str) -> object:
        """Give a value of its status file."""
        status = read_status(self.data_dir / "proxy" / "recorder.status.json")
        if status is None:
            return None
        return status.pid if name == "pid" else status.values.get(name)


async def service(
    name: str, folder: Path, environment: dict[str, str]
) -> asyncio.subprocess.Process:
    with (folder / f"{name}.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"tracequill_collector.service.{name}",
            env=environment,
            cwd=folder,
            stderr=log,
        )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        while not condition():  # noqa: ASYNC110 - another process changes it: no event
            await asyncio.sleep(0.01)
