"""A proxy in this process, with limits that a test can reach and parts that it can look at."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp.abc import AbstractResolver

from tests.integration.proxy_rig import ProxyProcess
from tracequill_collector.mock import MockUpstream
from tracequill_collector.proxy.app import ProxyServer
from tracequill_collector.proxy.forward import Forwarder, ForwardLimits
from tracequill_collector.proxy.http_upstream import IDLE_SECONDS, HttpUpstream
from tracequill_collector.proxy.metrics import ProxyMetrics
from tracequill_collector.proxy.record import ExchangeSink
from tracequill_collector.proxy.route import RouteTable
from tracequill_collector.proxy.upstream import BuiltInUpstream
from tracequill_collector.testing import MemoryQueue


@dataclass
class Limits:
    calls_max: int = 100
    connections_max: int = 100
    keep_alive_seconds: float = 60
    idle_seconds: float = IDLE_SECONDS
    connect_seconds: float = 5
    read_seconds: float = 5
    built_in_body_max_bytes: int = 1000
    body_max_bytes: int = 1 << 20
    queue: MemoryQueue = field(default_factory=MemoryQueue)
    upstreams: dict[str, str] = field(default_factory=dict)
    resolver: AbstractResolver | None = None


@dataclass
class ProxyHere(ProxyProcess):
    """What ``ProxyProcess`` is, without a process."""

    queue: MemoryQueue = field(default_factory=MemoryQueue)
    http: HttpUpstream = field(default_factory=HttpUpstream)
    server: ProxyServer | None = None


@contextlib.asynccontextmanager
async def proxy_with(folder: Path, limits: Limits) -> AsyncIterator[ProxyHere]:
    here = ProxyHere(folder, queue=limits.queue)
    metrics = ProxyMetrics()
    sink = ExchangeSink(
        here.queue, max_bytes=1 << 30, on_full="forward", count_lost=metrics.count_lost
    )
    async with HttpUpstream(
        connect_seconds=limits.connect_seconds,
        read_seconds=limits.read_seconds,
        idle_seconds=limits.idle_seconds,
        resolver=limits.resolver,
    ) as here.http:
        forwarder = Forwarder(
            RouteTable(
                upstreams={"openai": f"http://127.0.0.1:{here.upstream_port}", **limits.upstreams}
            ),
            here.http,
            BuiltInUpstream(MockUpstream(), body_max_bytes=limits.built_in_body_max_bytes),
            sink,
            metrics,
            limits=ForwardLimits(body_max_bytes=limits.body_max_bytes, calls_max=limits.calls_max),
            spill_folder=folder,
            project_name="default",
        )
        here.server = ProxyServer(
            forwarder,
            metrics,
            connections_max=limits.connections_max,
            keep_alive_seconds=limits.keep_alive_seconds,
        )
        here.port = await here.server.start("127.0.0.1", 0)
        yield here
        await here.server.stop(0)
    await sink.close()
