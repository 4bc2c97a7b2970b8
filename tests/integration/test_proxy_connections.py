"""Connections on both sides: no delay for small writes, patience, reuse, TLS, no HTTP/2."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.proxy_here import Limits, ProxyHere, proxy_with
from tests.integration.proxy_rig import (
    WAIT_SECONDS,
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
from tracequill_collector.proxy.http_upstream import IDLE_SECONDS, READ_SECONDS

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    "new_loop", [asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_no_socket_waits_to_gather_small_writes(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """C02: tails of 40 ms in published runs of gateways (GetBusbar) are what TCP adds to small
    writes when Nagle's algorithm meets delayed acknowledgements.
    """

    async def run() -> list[int]:
        async with (
            proxy_with(tmp_path, Limits()) as proxy,
            upstream(proxy.upstream_port, answering(plain(b"{}"))),
            client(proxy) as (reader, writer),
        ):
            writer.write(post(b"/openai/v1/x", b"{}"))
            await read_body(reader, await read_head(reader), response=True)
            return [
                transport.get_extra_info("socket").getsockopt(
                    socket.IPPROTO_TCP, socket.TCP_NODELAY
                )
                for transport in (*client_transports(proxy), *upstream_transports(proxy))
            ]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        options = runner.run(run())

    assert len(options) == 2
    assert all(options)


def client_transports(proxy: ProxyHere) -> list[asyncio.BaseTransport]:
    assert proxy.server is not None
    return [item.transport for item in proxy.server._server.connections if item.transport]


def upstream_transports(proxy: ProxyHere) -> list[asyncio.BaseTransport]:
    pools = proxy.http._connector._conns.values()
    return [item.transport for pool in pools for item, _ in pool if item.transport]


async def test_half_an_hour_of_silence_is_waited_for_and_nothing_is_sent_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C07: reasoning models are silent for minutes; LiteLLM's proxy and balancers before it gave up
    (31865, 34374, 37322). Pings would keep a connection busy, but they change the body.
    """
    loop = asyncio.get_running_loop()
    clock, ahead_seconds = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: clock() + ahead_seconds)
    steps: asyncio.Queue[str] = asyncio.Queue()
    asked = asyncio.Event()

    async def silence() -> None:
        """Let half an hour pass, and everything happen that was to happen in it."""
        nonlocal ahead_seconds
        passed = asyncio.Event()
        loop.call_later(1799, passed.set)
        ahead_seconds += 1800
        await passed.wait()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        asked.set()
        await steps.get()
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"one"))
        await steps.get()
        writer.write(chunk(b"two") + b"0\r\n\r\n")
        await writer.drain()

    async with (
        proxy_with(tmp_path, Limits(read_seconds=READ_SECONDS)) as proxy,
        upstream(proxy.upstream_port, conversation),
        client(proxy) as (reader, writer),
    ):
        writer.write(post(b"/openai/v1/x", b"{}"))
        await asked.wait()
        await silence()
        await steps.put("begin")
        await reader.readuntil(b"\r\n\r\n")
        first = await reader.readuntil(b"one\r\n")
        await silence()
        await steps.put("end")
        rest = await reader.readuntil(b"0\r\n\r\n")

    [exchange] = proxy.queue.exchanges
    assert first + rest == chunk(b"one") + chunk(b"two") + b"0\r\n\r\n"
    assert (exchange.end, exchange.response_body) == ("complete", b"onetwo")


@pytest.mark.parametrize(("idle_seconds", "connections"), [(0.05, 3), (5, 1)])
async def test_a_pooled_connection_is_used_again_only_while_it_is_young(
    tmp_path: Path, idle_seconds: float, connections: int
) -> None:
    """C18: api.anthropic.com and chatgpt.com close what was idle for 15 s (subrouter 90); a request
    that meets the close is lost, and nobody can tell whether it was read.
    """
    opened = 0

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        await answering(plain(b"{}"))(reader, writer)

    async with (
        proxy_with(tmp_path, Limits(idle_seconds=idle_seconds)) as proxy,
        upstream(proxy.upstream_port, conversation),
    ):
        for _ in range(3):
            assert (await ask(proxy, post(b"/openai/v1/x", b"{}"))).status == 200
            await asyncio.sleep(0.1)  # it grows older than the first limit, not than the second

    assert opened == connections
    assert IDLE_SECONDS < 10


async def test_a_pooled_connection_that_the_upstream_closed_is_not_used(tmp_path: Path) -> None:
    """C18: one gateway's pool kept what its vendor had closed, and calls failed (cache-fix 371)."""
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
            await asyncio.wait_for(closed.wait(), WAIT_SECONDS)
            closed.clear()

    assert statuses == [200, 200, 200]
    assert connections == 3


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
async def test_an_upstream_over_tls_must_be_trusted_and_speaks_no_http_2(
    tmp_path: Path, trusted: bool
) -> None:
    """C20: the reset of one HTTP/2 stream took its siblings along (headroom 1639), and a GOAWAY
    without an error failed calls behind nginx (1431). The proxy asks upstreams for HTTP/1.1 only.
    """
    certificate, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    agreed: list[str | None] = []

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        agreed.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await answering(plain(b"{}"), requests)(reader, writer)

    port = free_port()
    requests: list[Message] = []
    variables = {"TRACEQUILL_UPSTREAM_OPENAI": f"https://127.0.0.1:{port}"}
    if trusted:
        variables["SSL_CERT_FILE"] = str(certificate)
    proxy = ProxyProcess(tmp_path, variables)
    await asyncio.to_thread(proxy.start)
    try:
        async with upstream(port, conversation, tls=context):
            responses = [
                await ask(proxy, post(b"/openai/v1/x", b"{}", b"Authorization: Bearer k"))
                for _ in range(2)
            ]
    finally:
        await asyncio.to_thread(proxy.stop)

    if trusted:
        assert [response.status for response in responses] == [200, 200]
        assert len(requests) == 2
        assert set(agreed) <= {"http/1.1", None}
    else:
        assert [response.status for response in responses] == [502, 502]
        assert b"certificate is not valid" in responses[0].body
        assert requests == []
