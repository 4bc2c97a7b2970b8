"""The forwarding process is killed, stopped and started; no finished exchange is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

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

pytestmark = pytest.mark.integration


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[ProxyProcess]:
    process = ProxyProcess(tmp_path)
    process.start()
    yield process
    process.stop(signal.SIGKILL)


@pytest.mark.parametrize(
    "answer",
    [
        plain(b'{"answer": 42}'),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunk(b'{"answer": ')
        + chunk(b"42}")
        + b"0\r\n\r\n",
    ],
    ids=["with a length", "chunked"],
)
async def test_an_exchange_is_in_the_queue_when_the_client_has_the_last_byte(
    proxy: ProxyProcess, answer: bytes
) -> None:
    """C24: litellm's spend logs live in memory and are gone with the pod (34675, 38157)."""
    async with upstream(proxy.upstream_port, answering(answer)):
        first = [await ask(proxy, post(b"/openai/v1/x", b"%d" % number)) for number in range(20)]
        async with client(proxy) as (reader, writer):
            writer.write(post(b"/openai/v1/x", b"last"))
            head = await read_head(reader)
            body = await read_body(reader, head, response=True)
            os.kill(proxy.pid, signal.SIGKILL)
    proxy.stop()
    trace_ids = [message.trace_id for message in [*first, Message(head, body)]]
    exchanges = await proxy.exchanges(trace_ids)

    assert body == b'{"answer": 42}'
    assert [exchange.request_body for exchange in exchanges] == [
        *(b"%d" % number for number in range(20)),
        b"last",
    ]
    assert {exchange.end for exchange in exchanges} == {"complete"}


async def test_a_large_exchange_is_in_the_queue_when_the_client_has_the_last_byte(
    proxy: ProxyProcess,
) -> None:
    """C24: also where a thread writes it, because it is large."""
    answer = bytes(range(256)) * 12_000
    async with (
        upstream(proxy.upstream_port, answering(plain(answer))),
        client(proxy) as (
            reader,
            writer,
        ),
    ):
        writer.write(post(b"/openai/v1/x", b"large"))
        head = await read_head(reader)
        body = await read_body(reader, head, response=True)
        os.kill(proxy.pid, signal.SIGKILL)
    proxy.stop()
    exchange = await proxy.exchange(Message(head, b"").trace_id)

    assert body == exchange.response_body == answer
    assert exchange.end == "complete"


async def test_it_starts_again_after_a_kill_and_goes_on(proxy: ProxyProcess) -> None:
    """C24: what is queued is kept over a kill."""
    async with upstream(proxy.upstream_port, answering(plain(b"{}"))):
        before = await ask(proxy, post(b"/openai/v1/x", b"1"))
        proxy.stop(signal.SIGKILL)
        await asyncio.to_thread(proxy.start)
        after = await ask(proxy, post(b"/openai/v1/x", b"2"))
    exchanges = await proxy.exchanges([before.trace_id, after.trace_id])

    assert [exchange.request_body for exchange in exchanges] == [b"1", b"2"]


async def test_a_stop_lets_a_stream_finish_and_takes_no_new_call(proxy: ProxyProcess) -> None:
    """C24: streams were cut by deployments (litellm 14334); PostHog drains for 600 s (73863)."""
    finish = asyncio.Event()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"one "))
        await asyncio.wait_for(finish.wait(), WAIT_SECONDS)
        writer.write(chunk(b"two") + b"0\r\n\r\n")
        await writer.drain()

    async with upstream(proxy.upstream_port, conversation), client(proxy) as (reader, writer):
        writer.write(post(b"/openai/v1/x", b"{}"))
        head = await asyncio.wait_for(read_head(reader), WAIT_SECONDS)
        os.kill(proxy.pid, signal.SIGTERM)
        await asyncio.to_thread(proxy.wait_until_closed)
        finish.set()
        body = await asyncio.wait_for(read_body(reader, head, response=True), WAIT_SECONDS)
    code = await asyncio.to_thread(proxy.stop)
    exchange = await proxy.exchange(Message(head, b"").trace_id)

    assert body == b"one two"
    assert code == 0
    assert (exchange.end, exchange.response_body) == ("complete", b"one two")


async def test_an_upload_in_flight_is_finished_by_a_stop(proxy: ProxyProcess) -> None:
    """C24: as above, for a request that is still coming."""
    requests: list[Message] = []
    started = asyncio.Event()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        started.set()
        requests.append(Message(head, await read_body(reader, head)))
        writer.write(plain(b"{}"))
        await writer.drain()

    async with upstream(proxy.upstream_port, conversation), client(proxy) as (reader, writer):
        writer.write(b"POST /openai/v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc")
        await asyncio.wait_for(started.wait(), WAIT_SECONDS)
        os.kill(proxy.pid, signal.SIGTERM)
        await asyncio.to_thread(proxy.wait_until_closed)
        writer.write(b"def")
        head = await asyncio.wait_for(read_head(reader), WAIT_SECONDS)
    code = await asyncio.to_thread(proxy.stop)

    assert head.startswith(b"HTTP/1.1 200")
    assert Message(head, b"").header(b"connection") == b"close"
    assert requests[0].body == b"abcdef"
    assert code == 0


async def test_an_idle_connection_does_not_hold_up_a_stop(proxy: ProxyProcess) -> None:
    async with client(proxy) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        await read_head(reader)
        async with asyncio.timeout(WAIT_SECONDS):
            code = await asyncio.to_thread(proxy.stop)

    assert code == 0
