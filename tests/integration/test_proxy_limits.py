"""The forwarding process at its limits: time, connections, calls, and TLS that is not trusted."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.proxy_rig import (
    Message,
    ProxyProcess,
    answering,
    ask,
    chunk,
    client,
    plain,
    post,
    read_body,
    read_head,
    upstream,
)
from tests.ports import free_port
from tracequill_collector.mock import MockUpstream
from tracequill_collector.proxy.app import ProxyServer
from tracequill_collector.proxy.forward import Forwarder, ForwardLimits
from tracequill_collector.proxy.http_upstream import HttpUpstream
from tracequill_collector.proxy.metrics import ProxyMetrics
from tracequill_collector.proxy.record import ExchangeSink
from tracequill_collector.proxy.route import RouteTable
from tracequill_collector.proxy.upstream import BuiltInUpstream
from tracequill_collector.testing import MemoryQueue

pytestmark = pytest.mark.integration


@dataclass
class Limits:
    calls_max: int = 100
    connections_max: int = 100
    connect_seconds: float = 5
    read_seconds: float = 5
    built_in_body_max_bytes: int = 1000


@dataclass
class ProxyHere(ProxyProcess):
    """A proxy in this process, with limits that a test can reach."""

    queue: MemoryQueue | None = None


@contextlib.asynccontextmanager
async def proxy_with(folder: Path, limits: Limits) -> AsyncIterator[ProxyHere]:
    queue = MemoryQueue()
    here = ProxyHere(folder, queue=queue)
    metrics = ProxyMetrics()
    sink = ExchangeSink(queue, max_bytes=1 << 30, on_full="forward", count_lost=metrics.count_lost)
    async with HttpUpstream(
        connect_seconds=limits.connect_seconds, read_seconds=limits.read_seconds
    ) as http:
        forwarder = Forwarder(
            RouteTable(upstreams={"openai": f"http://127.0.0.1:{here.upstream_port}"}),
            http,
            BuiltInUpstream(MockUpstream(), body_max_bytes=limits.built_in_body_max_bytes),
            sink,
            metrics,
            limits=ForwardLimits(body_max_bytes=1 << 20, calls_max=limits.calls_max),
            spill_folder=folder,
            project_name="default",
        )
        server = ProxyServer(forwarder, metrics, connections_max=limits.connections_max)
        here.port = await server.start("127.0.0.1", 0)
        yield here
        await server.stop(0)


async def test_an_upstream_that_is_silent_too_long_is_a_504(tmp_path: Path) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with (
        proxy_with(tmp_path, Limits(read_seconds=0.1)) as proxy,
        upstream(proxy.upstream_port, conversation),
    ):
        response = await ask(proxy, post(b"/openai/v1/x", b"{}"))

    assert proxy.queue is not None
    [exchange] = proxy.queue.exchanges
    assert response.status == 504
    assert b"no answer within 0.1 s" in response.body
    assert (exchange.end, exchange.status) == ("upstream_unreachable", 0)


async def test_a_stream_that_falls_silent_too_long_is_cut(tmp_path: Path) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"part"))
        await reader.read()

    async with (
        proxy_with(tmp_path, Limits(read_seconds=0.1)) as proxy,
        upstream(proxy.upstream_port, conversation),
        client(proxy) as (reader, writer),
    ):
        writer.write(post(b"/openai/v1/x", b"{}"))
        got = await asyncio.wait_for(reader.read(), 5)

    assert proxy.queue is not None
    [exchange] = proxy.queue.exchanges
    assert got.endswith(chunk(b"part"))
    assert exchange.end == "upstream_cut"
    assert "silent too long" in exchange.error


async def test_an_upstream_that_reads_no_more_is_a_504(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.wait_for(ended.wait(), 10)

    async with (
        proxy_with(tmp_path, Limits(read_seconds=0.2)) as proxy,
        upstream(proxy.upstream_port, conversation, limit=1024),
        client(proxy) as (reader, writer),
    ):
        length = 64 * 1024 * 1024
        writer.write(
            b"POST /openai/v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % length
        )
        writer.write(b"x" * length)
        answer = await asyncio.wait_for(read_head(reader), 5)
        ended.set()

    assert answer.startswith(b"HTTP/1.1 504")


async def test_past_the_most_calls_in_flight_a_call_is_refused(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        asked.set()
        await reader.read()

    async with (
        proxy_with(tmp_path, Limits(calls_max=1)) as proxy,
        upstream(proxy.upstream_port, conversation),
        client(proxy) as (_, writer),
    ):
        writer.write(post(b"/openai/v1/x", b"{}"))
        await asyncio.wait_for(asked.wait(), 5)
        response = await ask(proxy, post(b"/openai/v1/x", b"{}"))

    assert response.status == 503
    assert response.header(b"retry-after") == b"1"


async def test_past_the_most_connections_a_connection_is_refused(tmp_path: Path) -> None:
    async with (
        proxy_with(tmp_path, Limits(connections_max=1)) as proxy,
        client(proxy) as (first_reader, first_writer),
    ):
        first_writer.write(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        await read_head(first_reader)
        async with client(proxy) as (reader, _):
            answer = await asyncio.wait_for(reader.read(), 5)

    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"too many connections" in answer


async def test_the_built_in_upstream_takes_a_body_up_to_its_limit(tmp_path: Path) -> None:
    head = b"POST /mock/v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with proxy_with(tmp_path, Limits()) as proxy, client(proxy) as (reader, writer):
        writer.write(head)
        await writer.drain()
        for _ in range(3):
            writer.write(chunk(b"x" * 500))
        answer = await asyncio.wait_for(read_head(reader), 5)

    assert answer.startswith(b"HTTP/1.1 413 Content Too Large\r\n")


async def test_a_pooled_connection_that_the_upstream_closed_is_not_used(tmp_path: Path) -> None:
    closed = asyncio.Event()
    connections = 0

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_body(reader, await read_head(reader))
        writer.write(plain(b"{}"))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with (
        proxy_with(tmp_path, Limits()) as proxy,
        upstream(proxy.upstream_port, conversation),
    ):
        statuses = []
        for _ in range(3):
            statuses.append((await ask(proxy, post(b"/openai/v1/x", b"{}"))).status)
            await asyncio.wait_for(closed.wait(), 5)
            closed.clear()

    assert statuses == [200, 200, 200]
    assert connections == 3


async def test_an_upload_in_flight_is_finished_by_a_stop(tmp_path: Path) -> None:
    requests: list[Message] = []
    started = asyncio.Event()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        started.set()
        requests.append(Message(head, await read_body(reader, head)))
        writer.write(plain(b"{}"))
        await writer.drain()

    proxy = ProxyProcess(tmp_path)
    await asyncio.to_thread(proxy.start)
    async with upstream(proxy.upstream_port, conversation), client(proxy) as (reader, writer):
        writer.write(b"POST /openai/v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc")
        await asyncio.wait_for(started.wait(), 5)
        assert proxy.process is not None
        proxy.process.terminate()
        await asyncio.to_thread(proxy.wait_until_closed)
        writer.write(b"def")
        head = await asyncio.wait_for(read_head(reader), 5)
    code = await asyncio.to_thread(proxy.stop)

    assert head.startswith(b"HTTP/1.1 200")
    assert Message(head, b"").header(b"connection") == b"close"
    assert requests[0].body == b"abcdef"
    assert code == 0


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that nobody trusts yet."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = folder / "certificate.pem", folder / "key.pem"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_path, key_path


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "not trusted"])
async def test_an_upstream_over_tls_must_be_trusted(tmp_path: Path, trusted: bool) -> None:
    certificate, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    port = free_port()
    requests: list[Message] = []
    variables = {"TRACEQUILL_UPSTREAM_OPENAI": f"https://127.0.0.1:{port}"}
    if trusted:
        variables["SSL_CERT_FILE"] = str(certificate)
    proxy = ProxyProcess(tmp_path, variables)
    await asyncio.to_thread(proxy.start)
    try:
        async with upstream(port, answering(plain(b"{}"), requests), tls=context):
            responses = [
                await ask(proxy, post(b"/openai/v1/x", b"{}", b"Authorization: Bearer k"))
                for _ in range(2)
            ]
    finally:
        await asyncio.to_thread(proxy.stop)

    if trusted:
        assert [response.status for response in responses] == [200, 200]
        assert len(requests) == 2
    else:
        assert [response.status for response in responses] == [502, 502]
        assert b"certificate is not valid" in responses[0].body
        assert requests == []
