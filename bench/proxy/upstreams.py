"""The other side of every gateway: the upstreams it forwards to and the collector it sends to."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from bench.ingest.servers import HOST, free_ports, stop
from bench.proxy import nginx
from bench.proxy.gateways import Target, Upstreams, answers
from bench.proxy.processes import Process, launch, ready

CHUNKS, INTERVAL_MS = 64, 20.0


@contextlib.asynccontextmanager
async def running_upstreams(folder: Path, *, is_fast: bool) -> AsyncIterator[Upstreams]:
    """Run an upstream with one fixed answer, the pacer, and a collector that counts.

    The first is nginx where it must be *fast*, else our own mock, which needs no installation.
    """
    mock_port, paced_port, collector_port = free_ports(3)
    command = [sys.executable, "-m", "tracequill_collector.mock.server", "--port", str(mock_port)]
    if is_fast:
        path = nginx.mock_configuration(folder / "mock", mock_port)
        command = [nginx.find_nginx(), "-c", str(path)]
    async with contextlib.AsyncExitStack() as stack:
        log = folder / "mock.log"
        mock = await launch(command, log, role="load")
        stack.push_async_callback(stop, mock)
        headers = {"Authorization": "Bearer sk-mock"}
        target = Target("mock", mock_port, "/v1/chat/completions", headers)
        await ready(mock, log, lambda: answers(target))
        await stack.enter_async_context(running_pacer(folder, paced_port))
        await stack.enter_async_context(running_collector(folder, collector_port))
        yield Upstreams(mock_port, paced_port, collector_port)


@contextlib.asynccontextmanager
async def running_pacer(folder: Path, port: int) -> AsyncIterator[Process]:
    """Run the upstream that streams."""
    log = folder / "pacer.log"
    numbers = [str(port), str(CHUNKS), str(INTERVAL_MS)]
    process = await launch(
        [sys.executable, "-m", "bench.proxy.pacer", *numbers], log, role="load", pipes=True
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        yield process
    finally:
        await stop(process)


@contextlib.asynccontextmanager
async def running_collector(folder: Path, port: int) -> AsyncIterator[Process]:
    """Run the collector that counts."""
    log = folder / "collector.log"
    command = [sys.executable, "-m", "bench.proxy.stub", str(port)]
    process = await launch(command, log, role="load")
    try:

        async def is_ready() -> bool:
            return bool(await counts(port))

        await ready(process, log, is_ready)
        yield process
    finally:
        await stop(process)


async def counts(port: int) -> dict[str, int]:
    """Give what the collector has counted; nothing when it does not answer."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.get(f"http://{HOST}:{port}/counts") as response,
        ):
            found: dict[str, int] = await response.json()
            return found
    except (aiohttp.ClientError, TimeoutError):
        return {}
