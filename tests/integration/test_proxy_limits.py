"""The forwarding process at its limits: time, connections, calls, heads."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.integration.proxy_here import Limits, proxy_with
from tests.integration.proxy_rig import (
    WAIT_SECONDS,
    Message,
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

pytestmark = pytest.mark.integration


async def test_an_upstream_that_is_silent_too_long_is_a_504(tmp_path: Path) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with (
        proxy_with(tmp_path, Limits(read_seconds=0.1)) as proxy,
        upstream(proxy.upstream_port, conversation),
    ):
        response = await ask(proxy, post(b"/openai/v1/x", b"{}"))

    [exchange] = proxy.queue.exchanges
    assert response.status == 504
    assert b"no answer within 0.1 s" in response.body
    assert (exchange.end, exchange.status) == ("upstream_unreachable", 0)


async def test_a_stream_that_falls_silent_too_long_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C05: an upstream that stalls is not a client that left; the record says which it was (litellm
    37558).
    """

    loop = asyncio.get_running_loop()
    clock, ahead_seconds = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: clock() + ahead_seconds)

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"part"))
        await reader.read()

    async with (
        proxy_with(tmp_path, Limits(read_seconds=3600)) as proxy,
        upstream(proxy.upstream_port, conversation),
        client(proxy) as (reader, writer),
    ):
        writer.write(post(b"/openai/v1/x", b"{}"))
        got = await asyncio.wait_for(reader.readuntil(b"part\r\n"), WAIT_SECONDS)
        ahead_seconds += 3601
        assert await asyncio.wait_for(reader.read(), WAIT_SECONDS) == b""

    [exchange] = proxy.queue.exchanges
    assert got.endswith(chunk(b"part"))
    assert exchange.end == "upstream_cut"
    assert "silent too long" in exchange.error


async def test_an_upstream_that_reads_no_more_is_a_504(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.wait_for(ended.wait(), WAIT_SECONDS)

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
        answer = await asyncio.wait_for(read_head(reader), WAIT_SECONDS)
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
        await asyncio.wait_for(asked.wait(), WAIT_SECONDS)
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
            answer = await asyncio.wait_for(reader.read(), WAIT_SECONDS)

    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"too many connections" in answer


async def test_a_head_that_comes_too_slowly_ends_its_connection(tmp_path: Path) -> None:
    """Class: slowloris. A head sent a byte now and then holds a connection, and there are so many.

    Bytes that come do not lengthen the time.
    """
    async with (
        proxy_with(tmp_path, Limits(keep_alive_seconds=0.3)) as proxy,
        client(proxy) as (reader, writer),
    ):
        ended = asyncio.ensure_future(reader.read())
        writer.write(b"POST /openai/v1/x HTTP/1.1\r\nHost: h\r\nX-Slow: ")
        with contextlib.suppress(ConnectionError):
            while not ended.done():
                writer.write(b"a")
                await writer.drain()
                await asyncio.wait({ended}, timeout=0.02)
        # A byte that was on its way at the end makes it a reset.
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(ended, WAIT_SECONDS) == b""


async def test_a_head_without_end_is_refused_before_it_fills_memory(tmp_path: Path) -> None:
    """Class: huge headers. Each may be long, as AWS's session tokens are; not all of them."""
    async with proxy_with(tmp_path, Limits()) as proxy, client(proxy) as (reader, writer):
        writer.write(b"POST /openai/v1/x HTTP/1.1\r\nHost: h\r\n")
        answered = asyncio.ensure_future(reader.read())
        sent = 0
        with contextlib.suppress(ConnectionError):
            while not answered.done() and sent < 100:
                writer.write(b"X-%d: %b\r\n" % (sent, b"a" * 30_000))
                await writer.drain()
                await asyncio.wait({answered}, timeout=0.02)
                sent += 1
        answer = await asyncio.wait_for(answered, WAIT_SECONDS)

    assert sent < 20
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"at most 262144 bytes" in answer


async def test_heads_sent_ahead_of_an_answer_are_refused_before_they_fill_memory(
    tmp_path: Path,
) -> None:
    """Class: huge headers. Behind a call in flight, further heads are read but not yet answered."""
    asked = asyncio.Event()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        asked.set()
        await reader.read()

    lines = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 30_000) for number in range(4))
    async with (
        proxy_with(tmp_path, Limits()) as proxy,
        upstream(proxy.upstream_port, conversation),
        client(proxy) as (reader, writer),
    ):
        ended = asyncio.ensure_future(reader.read())
        writer.write(post(b"/openai/v1/x", b"{}"))
        await asyncio.wait_for(asked.wait(), WAIT_SECONDS)
        sent = 0
        with contextlib.suppress(ConnectionError):
            while not ended.done() and sent < 30:
                writer.write(b"GET /openai/v1/y HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n")
                await writer.drain()
                await asyncio.wait({ended}, timeout=0.02)
                sent += 1
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(ended, WAIT_SECONDS) == b""

    assert sent < 10


async def test_a_head_without_end_behind_a_call_in_flight_ends_the_connection(
    tmp_path: Path,
) -> None:
    asked = asyncio.Event()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        asked.set()
        await reader.read()

    async with (
        proxy_with(tmp_path, Limits()) as proxy,
        upstream(proxy.upstream_port, conversation),
        client(proxy) as (reader, writer),
    ):
        ended = asyncio.ensure_future(reader.read())
        writer.write(post(b"/openai/v1/x", b"{}"))
        await asyncio.wait_for(asked.wait(), WAIT_SECONDS)
        writer.write(b"GET /openai/v1/y HTTP/1.1\r\nHost: h\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while not ended.done() and sent < 100:
                writer.write(b"X-%d: %b\r\n" % (sent, b"a" * 30_000))
                await writer.drain()
                await asyncio.wait({ended}, timeout=0.02)
                sent += 1
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(ended, WAIT_SECONDS)

    assert sent < 20


async def test_requests_sent_ahead_are_answered_in_order(tmp_path: Path) -> None:
    requests: list[Message] = []
    body = b"x" * 600_000
    async with (
        proxy_with(tmp_path, Limits()) as proxy,
        upstream(proxy.upstream_port, answering(plain(b"{}"), requests)),
        client(proxy) as (reader, writer),
    ):
        paths = [b"/v1/%d" % number for number in range(40)]
        for path in paths:
            long = b"X-Long: " + b"a" * 2_000
            writer.write(post(b"/openai" + path, body if path == b"/v1/1" else b"{}", long))
        for _ in paths:
            head = await asyncio.wait_for(read_head(reader), WAIT_SECONDS)
            assert await read_body(reader, head) == b"{}"

    assert [request.first_line.split()[1] for request in requests] == paths
    assert requests[1].body == body


async def test_the_built_in_upstream_takes_a_body_up_to_its_limit(tmp_path: Path) -> None:
    head = b"POST /mock/v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with proxy_with(tmp_path, Limits()) as proxy, client(proxy) as (reader, writer):
        writer.write(head)
        await writer.drain()
        for _ in range(3):
            writer.write(chunk(b"x" * 500))
        answer = await asyncio.wait_for(read_head(reader), WAIT_SECONDS)

    assert answer.startswith(b"HTTP/1.1 413 Content Too Large\r\n")


async def test_a_call_that_outlives_the_stop_is_cut_and_recorded(tmp_path: Path) -> None:
    """C24: a stream that takes longer than the drain is cut, as such, and what came is kept."""

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"part"))
        await reader.read()

    async with proxy_with(tmp_path, Limits()) as proxy:
        async with upstream(proxy.upstream_port, conversation), client(proxy) as (reader, writer):
            writer.write(post(b"/openai/v1/x", b"{}"))
            got = await asyncio.wait_for(reader.readuntil(b"part\r\n"), WAIT_SECONDS)
            assert proxy.server is not None
            await proxy.server.stop(0.05)
            rest = await asyncio.wait_for(reader.read(), WAIT_SECONDS)

    [exchange] = proxy.queue.exchanges
    assert (got[-6:], rest) == (b"part\r\n", b"")
    assert (exchange.end, exchange.error) == ("client_disconnected", "the proxy was stopped.")
    assert exchange.response_body == b"part"
