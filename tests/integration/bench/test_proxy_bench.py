"""``make bench-proxy`` without its peers: the command, the pacer and the reader of streams."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest
from bench.proxy.streams import Order, Report
from bench.proxy.upstreams import CHUNKS, INTERVAL_MS, running_pacer

from tests.ports import free_port

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]


def test_the_command_measures_and_writes_its_results(tmp_path: Path) -> None:
    page = ROOT / "docs" / "performance.md"
    before = page.read_bytes()

    result = subprocess.run(
        [
            *(sys.executable, "-m", "bench.proxy", "--quick", "--results", str(tmp_path)),
            *("--parts", "light", "recorder", "--gateways", "direct", "tracequill"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "proxy.json").read_text())
    streams = found["light"]["gateways"]["tracequill"]
    assert streams["whole_streams"] > 0 and streams["failed_streams"] == 0
    assert found["recorder"]["exchanges"] > 500
    assert "### The recorder" in result.stdout == (tmp_path / "proxy.md").read_text() + "\n"
    assert (tmp_path / "proxy.svg").exists()
    assert page.read_bytes() == before


@pytest.fixture
async def pacer_port(tmp_path: Path) -> AsyncIterator[int]:
    """An upstream that streams."""
    port = free_port()
    async with running_pacer(tmp_path, port):
        yield port


async def test_streams_are_read_whole_and_by_the_clock(pacer_port: int) -> None:
    report = await _read(pacer_port, streams=5)

    assert report.failed_streams == 0
    assert report.whole_streams >= 5
    assert report.events == report.whole_streams * CHUNKS
    assert 0 < report.transit_ms["p50"] <= report.transit_ms["p99"] <= report.transit_ms["max"]
    assert report.wall_seconds > CHUNKS * INTERVAL_MS / 1000


async def test_a_stream_that_is_cut_or_refused_has_failed(pacer_port: int) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, to_upstream = await asyncio.open_connection("127.0.0.1", pacer_port)
        to_upstream.write(await reader.readuntil(b"\r\n\r\n"))
        writer.write(await upstream.read(4096))
        writer.close()
        to_upstream.close()

    for serve, reason in ((refuse, "503"), (cut, f"1 of {CHUNKS} events")):
        async with _server(serve) as port:
            report = await _read(port, streams=2)
        assert report.whole_streams == 0
        assert reason in report.failures


@contextlib.asynccontextmanager
async def _server(serve: object) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)  # type: ignore[arg-type]
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _read(port: int, streams: int) -> Report:
    order = Order("127.0.0.1", port, "/", {}, "", streams, CHUNKS, INTERVAL_MS, 0.0, 1.3)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.proxy.streams", json.dumps(asdict(order))),
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return Report(**json.loads(output))
