"""Upstreams and clients that break HTTP: nobody is left waiting, no call gets another's bytes."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from aiohttp.client_proto import ResponseHandler

from tests.integration.proxy_here import Limits, ProxyHere, proxy_with
from tests.integration.proxy_rig import (
    WAIT_SECONDS,
    Conversation,
    Message,
    ProxyProcess,
    ask,
    chunk,
    client,
    plain,
    read_body,
    read_head,
    upstream,
)
from tracequill_collector.proxy.connection import UpstreamConnection

pytestmark = pytest.mark.integration

GET = b"GET /openai/v1/x HTTP/1.1\r\nHost: h\r\n\r\n"
UPLOAD = b"POST /openai/v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "broken",
    [b"zz\r\n", b"3\r\nlonger\r\n", b"-1\r\n", b"3\nabc\r\n"],
    ids=["no size", "longer than its size", "sign", "bare LF"],
)
async def test_a_client_that_breaks_its_own_framing_is_told_and_the_upstream_let_go(
    proxy: ProxyProcess, broken: bytes
) -> None:
    """aiohttp tells nobody who reads such a body: the call and its client waited for ever."""
    begun = asyncio.Event()
    crossed: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        begun.set()
        crossed.set_result(await reader.read())
        assert head

    async with (
        asyncio.timeout(WAIT_SECONDS),
        upstream(proxy.upstream_port, conversation),
        client(proxy) as (reader, writer),
    ):
        writer.write(UPLOAD + chunk(b"first"))
        await begun.wait()
        writer.write(broken)
        answer = await reader.read()
        reached = await crossed
    exchange = await proxy.exchange(Message(answer, b"").trace_id)

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert not reached.endswith(b"0\r\n\r\n")
    assert exchange.end == "client_disconnected"
    assert exchange.error == "the request body is not valid HTTP."


async def test_a_client_that_breaks_its_framing_while_it_is_answered_is_cut(
    proxy: ProxyProcess,
) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"one"))
        await reader.read()

    async with (
        asyncio.timeout(WAIT_SECONDS),
        upstream(proxy.upstream_port, conversation),
        client(proxy) as (reader, writer),
    ):
        writer.write(UPLOAD + chunk(b"first"))
        head = await read_head(reader)
        writer.write(b"zz\r\n")
        rest = await reader.read()
    exchange = await proxy.exchange(Message(head, b"").trace_id)

    assert rest == chunk(b"one")
    assert exchange.end == "client_disconnected"
    assert exchange.error == "the request body is not valid HTTP."


def saying(*parts: bytes, pause: asyncio.Event | None = None) -> Conversation:
    """Say *parts* to the first request of a connection and nothing more; wait before the last."""

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        for number, part in enumerate(parts):
            if number and pause is not None:
                await pause.wait()
            writer.write(part)
        await reader.read()

    return conversation


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 099 Early\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 400000\r\n\r\n" + b"a" * 400_000,
        b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"a" * 400_000),
        b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"
        + chunk(b"ab")
        + b"0\r\n\r\n",
    ],
    ids=[
        "a status below 100",
        "an interim answer with a length",
        "an interim answer in chunks",
        "a length that nobody can count to",
        "a coding that is none",
    ],
)
async def test_an_answer_that_has_no_meaning_is_a_502_and_not_waited_for(
    proxy: ProxyProcess, answer: bytes
) -> None:
    async with asyncio.timeout(WAIT_SECONDS), upstream(proxy.upstream_port, saying(answer)):
        message = await ask(proxy, GET)
    exchange = await proxy.exchange(message.trace_id)

    assert message.status == 502
    assert exchange.end == "upstream_unreachable"


@pytest.mark.parametrize("early", [b"100 Continue", b"103 Early Hints"])
async def test_silence_after_an_interim_answer_has_an_end_too(tmp_path: Path, early: bytes) -> None:
    """aiohttp takes an interim answer for a whole one and stops its clock."""
    answer = saying(b"HTTP/1.1 " + early + b"\r\n\r\n")
    async with (
        asyncio.timeout(WAIT_SECONDS),
        proxy_with(tmp_path, Limits(read_seconds=0.3)) as proxy,
        upstream(proxy.upstream_port, answer),
    ):
        message = await ask(proxy, GET)

    assert message.status == 504


def pooled(proxy: ProxyHere) -> list[ResponseHandler]:
    return [item for pool in proxy.http._connector._conns.values() for item, _ in pool]


@pytest.mark.parametrize("together", [True, False])
async def test_a_connection_on_which_an_upstream_began_to_speak_unasked_is_not_used_again(
    tmp_path: Path, together: bool
) -> None:
    """C18: half a head is in the parser only; the next call would read the other half."""
    unasked = b"HTTP/1.1 200 OK\r\nX-Half: "
    answered, came = asyncio.Event(), asyncio.Event()
    parts = [plain(b"first") + unasked] if together else [plain(b"first"), unasked]
    async with (
        asyncio.timeout(WAIT_SECONDS),
        proxy_with(tmp_path, Limits()) as proxy,
        upstream(proxy.upstream_port, saying(*parts, pause=answered)),
    ):
        first = await ask(proxy, GET)
        for connection in pooled(proxy):
            assert isinstance(connection, UpstreamConnection)
            connection.on_change = came.set
        answered.set()
        assert len(pooled(proxy)) == (0 if together else 1)
        if not together:
            await came.wait()
        second = await ask(proxy, GET)

    assert first.body == second.body == b"first"


@pytest.mark.parametrize("body", [b"", chunk(b"part")])
async def test_a_client_of_http_1_0_sees_a_cut_as_a_reset(proxy: ProxyProcess, body: bytes) -> None:
    """C06: its body ends with the connection, so that a clean end says that it is whole."""

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)

    async with (
        asyncio.timeout(WAIT_SECONDS),
        upstream(proxy.upstream_port, conversation),
        client(proxy) as (reader, writer),
    ):
        writer.write(b"GET /openai/v1/x HTTP/1.0\r\nHost: h\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()


def drawn(source: random.Random) -> tuple[bytes, list[bytes]]:
    """A body in chunks that look like framing, and what stands on the wire, in random pieces."""
    parts = [
        source.choice([b"0\r\n\r\n", b"3\r\nabc\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"data: x\n\n"])
        for _ in range(source.randint(1, 8))
    ]
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    units = [head, *map(chunk, parts), b"0\r\n\r\n"]
    if source.random() < 0.5:
        wire, units = b"".join(units), []
        while wire:
            count = source.randint(1, 40)
            units.append(wire[:count])
            wire = wire[count:]
    return b"".join(parts), units


def damaged(units: list[bytes], source: random.Random) -> list[bytes]:
    """Lose, change or add one byte."""
    place = source.randrange(len(units))
    unit = bytearray(units[place])
    start = source.randrange(len(unit))
    end = start + source.randint(0, 1)
    unit[start:end] = source.choice([b"", b"0", b"\r", b"\n", b" ", b";"])
    return [*units[:place], bytes(unit), *units[place + 1 :]]


@pytest.mark.parametrize("seed", range(40))
async def test_an_answer_of_any_form_is_whole_or_visibly_cut_and_recorded_so(
    proxy: ProxyProcess, seed: int
) -> None:
    """C06: whatever the upstream does wrong, half an answer never looks whole."""
    source = random.Random(seed)
    body, units = drawn(source)
    is_damaged = bool(seed % 4)
    if is_damaged:
        units = damaged(units, source)

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        for unit in units:
            writer.write(unit)
            await writer.drain()
            await asyncio.sleep(0.001)

    async with (
        asyncio.timeout(WAIT_SECONDS),
        upstream(proxy.upstream_port, conversation),
        client(proxy) as (reader, writer),
    ):
        writer.write(GET)
        head = await read_head(reader)
        try:
            received = await read_body(reader, head, response=True)
        except asyncio.IncompleteReadError:
            received = None
    message = Message(head, received or b"")
    exchange = await proxy.exchange(message.trace_id)

    if not is_damaged:
        assert (message.status, received) == (200, body)
    if message.status == 502:
        assert exchange.end == "upstream_unreachable"
    elif received is None:
        assert exchange.end == "upstream_cut"
    else:
        assert (exchange.end, exchange.response_body) == ("complete", received)
