"""Clients that hold connections and send nothing, or a byte now and then."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.rig import Rig

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

# Half of what each protocol may have where a process may open 20,000 files.
IDLE_SHARE = 0.25
IDLE_CONNECTIONS_MAX = 5_000
SLOW_CLIENTS = 200
HOLD_SECONDS = 10.0


@asynccontextmanager
async def connections(port: int, count: int) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """Hold *count* connections to *port*, fewer where they are refused."""
    held: list[asyncio.StreamWriter] = []
    try:
        for _ in range(count):
            with suppress(OSError):
                async with asyncio.timeout(5):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                held.append(writer)
        yield held
    finally:
        for writer in held:
            writer.transport.abort()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
async def test_thousands_of_idle_connections_keep_nobody_out(
    cluster: Path, tmp_path: Path, protocol: str
) -> None:
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    count = min(IDLE_CONNECTIONS_MAX, int(files * IDLE_SHARE))
    async with Rig(tmp_path, cluster) as rig:
        port = rig.http_port if protocol == "http" else rig.grpc_port
        async with connections(port, count) as held:
            assert len(held) == count
            await rig.accepted(50)
            assert await rig.load.send_one(rig.load.planner.request())
        await rig.settle()


async def test_requests_that_arrive_byte_by_byte_keep_nobody_out(
    cluster: Path, tmp_path: Path
) -> None:
    async with Rig(tmp_path, cluster) as rig:
        async with connections(rig.http_port, SLOW_CLIENTS) as held:
            for writer in held:
                writer.write(
                    b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n"
                    b"Content-Type: application/x-protobuf\r\n\r\n"
                )
            async with asyncio.timeout(60):
                for _ in range(int(HOLD_SECONDS)):
                    for writer in held:
                        with suppress(OSError):
                            writer.write(b"\n")
                    await rig.accepted(5)
                    await asyncio.sleep(1)
        await rig.settle()
