"""Streams, cuts and disconnects through the forwarding process, and what the queue says of them."""

from __future__ import annotations

import asyncio
import socket
import struct

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
from tracequill_collector.recorder.interpret import interpret

pytestmark = pytest.mark.integration

SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
TRACEPARENT = b"traceparent: 00-%s-00f067aa0ba902b7-01"


def abort(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, as a machine that loses power does."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    size = int(await asyncio.wait_for(reader.readuntil(b"\r\n"), WAIT_SECONDS), 16)
    return (await asyncio.wait_for(reader.readexactly(size + 2), WAIT_SECONDS))[:-2]


async def test_each_chunk_arrives_before_the_next_is_sent(proxy: ProxyProcess) -> None:
    """C01: unity-gateway read in pieces of 8,192 bytes and held heartbeats for minutes (361); in
    litellm all tokens came at one instant (26102).
    """
    events = [b"data: %d\n\n" % number for number in range(5)]
    seen = asyncio.Semaphore(0)

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        writer.write(SSE_HEAD)
        for event in events:
            await asyncio.wait_for(seen.acquire(), WAIT_SECONDS)
            writer.write(chunk(event))
        await asyncio.wait_for(seen.acquire(), WAIT_SECONDS)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async with upstream(proxy.upstream_port, conversation), client(proxy) as (reader, writer):
        writer.write(post(b"/openai/v1/chat/completions", b'{"stream": true}'))
        head = await asyncio.wait_for(read_head(reader), WAIT_SECONDS)
        received = []
        for _ in events:
            seen.release()
            received.append(await read_chunk(reader))
        seen.release()
        assert await read_chunk(reader) == b""
    exchange = await proxy.exchange(Message(head, b"").trace_id)

    assert received == events
    assert exchange.response_body == b"".join(events)
    assert (exchange.end, exchange.chunk_count) == ("complete", 5)


async def test_nothing_is_asked_for_in_the_clients_name(proxy: ProxyProcess) -> None:
    """C04: gateways put `stream_options` into requests to count tokens, over an explicit false, and
    clients met a last chunk that they had not asked for (headroom 2026, OmniRoute 9750).
    """
    asked = b'{"model": "m", "stream":true,"stream_options": {"include_usage":false} }'
    requests: list[Message] = []
    answer = SSE_HEAD + chunk(b'data: {"choices": []}\n\ndata: [DONE]\n\n') + b"0\r\n\r\n"
    async with upstream(proxy.upstream_port, answering(answer, requests)):
        response = await ask(proxy, post(b"/openai/v1/chat/completions", asked))
    span = interpret(await proxy.exchange(response.trace_id), "default")

    assert requests[0].body == asked
    assert response.body == b'data: {"choices": []}\n\ndata: [DONE]\n\n'
    assert [key for key in span.attributes if "token_count" in key] == []


async def test_parts_of_a_request_arrive_before_the_next_is_sent(proxy: ProxyProcess) -> None:
    """C01, the other way: an upload is not gathered either."""
    parts: asyncio.Queue[bytes] = asyncio.Queue()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        for _ in range(3):
            await parts.put(await read_chunk(reader))
        await read_chunk(reader)
        writer.write(plain(b"{}"))
        await writer.drain()

    async with upstream(proxy.upstream_port, conversation), client(proxy) as (reader, writer):
        writer.write(b"POST /openai/v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (b"one", b"two", b"three"):
            writer.write(chunk(part))
            assert await asyncio.wait_for(parts.get(), WAIT_SECONDS) == part
        writer.write(b"0\r\n\r\n")
        assert (await asyncio.wait_for(read_head(reader), WAIT_SECONDS)).startswith(b"HTTP/1.1 200")


async def test_a_client_that_leaves_a_stream_ends_the_upstream_and_the_part_is_recorded(
    proxy: ProxyProcess,
) -> None:
    """C05: litellm went on paying for streams that nobody read, and logged nothing of them until
    2026 (30630, 33736, 37558).
    """
    upstream_ended = asyncio.Event()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        writer.write(SSE_HEAD + chunk(b"data: part\n\n"))
        await writer.drain()
        assert await reader.read() == b""
        upstream_ended.set()

    async with upstream(proxy.upstream_port, conversation):
        async with client(proxy) as (reader, writer):
            writer.write(post(b"/openai/v1/chat/completions", b'{"stream": true}'))
            head = await asyncio.wait_for(read_head(reader), WAIT_SECONDS)
            assert await read_chunk(reader) == b"data: part\n\n"
        await asyncio.wait_for(upstream_ended.wait(), WAIT_SECONDS)
    exchange = await proxy.exchange(Message(head, b"").trace_id)

    assert exchange.end == "client_disconnected"
    assert (exchange.status, exchange.response_body) == (200, b"data: part\n\n")
    assert exchange.request_body == b'{"stream": true}'


async def test_a_client_that_leaves_before_the_answer_ends_the_upstream(
    proxy: ProxyProcess,
) -> None:
    """C05: as above, before the first byte."""
    trace = b"a" * 31 + b"1"
    upstream_ended = asyncio.Event()
    asked = asyncio.Event()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        asked.set()
        assert await reader.read() == b""
        upstream_ended.set()

    async with upstream(proxy.upstream_port, conversation):
        async with client(proxy) as (_, writer):
            writer.write(post(b"/openai/v1/x", b"{}", TRACEPARENT % trace))
            await asyncio.wait_for(asked.wait(), WAIT_SECONDS)
        await asyncio.wait_for(upstream_ended.wait(), WAIT_SECONDS)
    exchange = await proxy.exchange(trace.decode())

    assert (exchange.end, exchange.status, exchange.response_body) == (
        "client_disconnected",
        0,
        b"",
    )
    assert exchange.request_body == b"{}"


async def test_a_client_that_leaves_in_its_upload_never_ends_the_request_cleanly(
    proxy: ProxyProcess,
) -> None:
    """C05: half a question with a clean end would be answered, and paid for."""
    trace = b"a" * 31 + b"2"
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    started = asyncio.Event()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        first = await reader.readexactly(7)
        started.set()
        got.set_result(first + await reader.read())

    async with upstream(proxy.upstream_port, conversation):
        async with client(proxy) as (_, writer):
            writer.write(
                b"POST /openai/v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
                + TRACEPARENT % trace
                + b"\r\n\r\n"
                + chunk(b"ab")
            )
            await asyncio.wait_for(started.wait(), WAIT_SECONDS)
        received = await asyncio.wait_for(got, WAIT_SECONDS)
    exchange = await proxy.exchange(trace.decode())

    assert received == b"2\r\nab\r\n"
    assert (exchange.end, exchange.request_body) == ("client_disconnected", b"ab")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"part"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
    ],
    ids=["chunked", "with a length"],
)
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_an_answer_that_is_cut_is_cut_for_the_client(
    proxy: ProxyProcess, head: bytes, reset: bool
) -> None:
    """C06: a proxy that ends a cut stream cleanly, or adds `[DONE]`, sells half an answer as a
    whole one (macprovider 187).
    """
    received = asyncio.Event()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        writer.write(head)
        await writer.drain()
        await asyncio.wait_for(received.wait(), WAIT_SECONDS)
        if reset:
            abort(writer)

    async with upstream(proxy.upstream_port, conversation), client(proxy) as (reader, writer):
        writer.write(post(b"/openai/v1/x", b"{}"))
        got = await asyncio.wait_for(reader.readuntil(b"part"), WAIT_SECONDS)
        received.set()
        rest = await asyncio.wait_for(reader.read(), WAIT_SECONDS)
    exchange = await proxy.exchange(Message(got.partition(b"\r\n\r\n")[0], b"").trace_id)

    assert rest.strip() == b""
    assert (exchange.end, exchange.response_body) == ("upstream_cut", b"part")
    assert exchange.error.startswith("the upstream cut its answer")


@pytest.mark.parametrize("whole", [0, 3], ids=["at once", "after whole chunks"])
async def test_an_upstream_that_breaks_its_own_framing_is_cut_and_not_waited_for(
    proxy: ProxyProcess, whole: int
) -> None:
    """C06: a cut as well, which aiohttp tells nobody who reads the body."""

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        for data in [SSE_HEAD, *(chunk(b"whole %d" % number) for number in range(whole))]:
            writer.write(data)
            await writer.drain()
            await asyncio.wait_for(passed.get(), WAIT_SECONDS)
        writer.write(b"2\r\nlonger than that\r\n")
        await writer.drain()
        # It does not hang up: the proxy has to.
        hung_up.set_result(await reader.read())

    passed = asyncio.Queue[None]()
    hung_up = asyncio.get_running_loop().create_future()
    async with upstream(proxy.upstream_port, conversation), client(proxy) as (reader, writer):
        writer.write(post(b"/openai/v1/x", b"{}"))
        head = await asyncio.wait_for(read_head(reader), WAIT_SECONDS)
        passed.put_nowait(None)
        for number in range(whole):
            assert await read_chunk(reader) == b"whole %d" % number
            passed.put_nowait(None)
        rest = await asyncio.wait_for(reader.read(), WAIT_SECONDS)
        assert await asyncio.wait_for(hung_up, WAIT_SECONDS) == b""
    exchange = await proxy.exchange(Message(head, b"").trace_id)

    assert not rest.endswith(b"0\r\n\r\n")
    assert exchange.end == "upstream_cut"
    assert exchange.error == "the upstream cut its answer: it is not valid HTTP."


async def test_bytes_that_come_together_with_the_cut_still_cross(proxy: ProxyProcess) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        writer.write(SSE_HEAD + chunk(b"one") + chunk(b"two"))

    async with upstream(proxy.upstream_port, conversation), client(proxy) as (reader, writer):
        writer.write(post(b"/openai/v1/x", b"{}"))
        got = await asyncio.wait_for(reader.read(), WAIT_SECONDS)
    head, _, body = got.partition(b"\r\n\r\n")
    exchange = await proxy.exchange(Message(head, b"").trace_id)

    assert body == chunk(b"onetwo")
    assert (exchange.end, exchange.response_body) == ("upstream_cut", b"onetwo")


@pytest.mark.parametrize("reset", [False, True], ids=["ended", "reset"])
async def test_a_body_that_ends_with_the_connection_is_complete_unless_reset(
    proxy: ProxyProcess, reset: bool
) -> None:
    """C06: as above, where only the connection's end tells."""
    received = asyncio.Event()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\npart")
        await writer.drain()
        await asyncio.wait_for(received.wait(), WAIT_SECONDS)
        if reset:
            abort(writer)

    async with upstream(proxy.upstream_port, conversation), client(proxy) as (reader, writer):
        writer.write(post(b"/openai/v1/x", b"{}", b"Connection: close"))
        head = await asyncio.wait_for(read_head(reader), WAIT_SECONDS)
        assert await read_chunk(reader) == b"part"
        received.set()
        rest = await asyncio.wait_for(reader.read(), WAIT_SECONDS)
    exchange = await proxy.exchange(Message(head, b"").trace_id)

    assert rest == (b"" if reset else b"0\r\n\r\n")
    assert exchange.end == ("upstream_cut" if reset else "complete")


async def test_an_early_answer_ends_the_upload_and_crosses(proxy: ProxyProcess) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(plain(b"too large", status=b"413 Content Too Large"))
        await writer.drain()
        await reader.read()

    async with upstream(proxy.upstream_port, conversation), client(proxy) as (reader, writer):
        writer.write(b"POST /openai/v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: 90000000\r\n\r\nx")
        head = await asyncio.wait_for(read_head(reader), WAIT_SECONDS)
        body = await asyncio.wait_for(read_body(reader, head, response=True), WAIT_SECONDS)

    assert head.startswith(b"HTTP/1.1 413")
    assert body == b"too large"


async def test_a_request_that_may_have_been_read_is_never_sent_twice(proxy: ProxyProcess) -> None:
    """C19: a retry after the body may have arrived is billed twice (shunt 126, ComfyUI 16204)."""
    asked = 0

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await read_body(reader, await read_head(reader))
        writer.write(plain(b"{}"))
        await read_head(reader)
        asked += 1

    async with upstream(proxy.upstream_port, conversation):
        await ask(proxy, b"GET /openai/v1/models HTTP/1.1\r\nHost: h\r\n\r\n")
        response = await ask(proxy, b"GET /openai/v1/models HTTP/1.1\r\nHost: h\r\n\r\n")
    exchange = await proxy.exchange(response.trace_id)

    assert response.status == 502
    assert asked == 1
    assert (exchange.end, exchange.status) == ("upstream_unreachable", 0)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/openai/v1/chat/completions", b'"code":"tracequill_upstream"'),
        (b"/bedrock/us-east-1/model/m/converse", b'{"message":"Tracequill proxy: cannot connect'),
        (b"/anthropic/v1/messages", b'{"type":"error","error":{"type":"api_error"'),
    ],
    ids=["openai", "bedrock", "anthropic"],
)
async def test_an_upstream_that_is_down_is_a_502_in_the_vendors_format(
    proxy: ProxyProcess, path: bytes, expected: bytes
) -> None:
    response = await ask(proxy, post(path, b'{"q": 1}'))
    exchange = await proxy.exchange(response.trace_id)

    assert response.status == 502
    assert expected in response.body
    assert b"onnection refused" in response.body
    assert (exchange.end, exchange.status) == ("upstream_unreachable", 0)
    assert exchange.request_body == b'{"q": 1}'


async def test_one_slow_client_does_not_stop_the_others(proxy: ProxyProcess) -> None:
    """C17: one call that waits for its client must not hold up the loop."""
    piece = b"x" * 65536

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        if b"/slow" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1000 * len(piece)))
            for _ in range(1000):
                writer.write(piece)
                await writer.drain()
        else:
            writer.write(plain(b"{}"))
            await answering(plain(b"{}"))(reader, writer)

    async with (
        upstream(proxy.upstream_port, conversation),
        client(proxy, limit=1024) as (slow_reader, slow_writer),
    ):
        slow_writer.write(b"GET /openai/slow HTTP/1.1\r\nHost: h\r\n\r\n")
        await read_head(slow_reader)
        for _ in range(20):
            fast = await ask(proxy, b"GET /openai/a HTTP/1.1\r\nHost: h\r\n\r\n")
            assert fast.body == b"{}"


async def test_a_hundred_streams_at_once_each_get_their_own(proxy: ProxyProcess) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            mark = await read_body(reader, head)
            writer.write(SSE_HEAD)
            for number in range(10):
                writer.write(chunk(b"%b-%d " % (mark, number)))
                await asyncio.sleep(0)
            writer.write(b"0\r\n\r\n")
            await writer.drain()

    async def one(number: int) -> Message:
        return await ask(proxy, post(b"/openai/v1/x", b"%d" % number))

    async with upstream(proxy.upstream_port, conversation), asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(one(number)) for number in range(100)]
    messages = [call.result() for call in calls]
    exchanges = await proxy.exchanges([message.trace_id for message in messages])

    for number, (message, exchange) in enumerate(zip(messages, exchanges, strict=True)):
        expected = b"".join(b"%d-%d " % (number, index) for index in range(10))
        assert message.body == expected
        assert exchange.response_body == expected
