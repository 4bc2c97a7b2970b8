"""A response that is passed on as it comes: its last bytes wait for whoever records it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp.streams import StreamReader
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.collector.proxy.test_connection import Transport
from tracequill_collector.proxy.answer import ClientGoneError
from tracequill_collector.proxy.connection import UpstreamConnection
from tracequill_collector.proxy.http_upstream import HttpResponse, HttpUpstream
from tracequill_collector.proxy.upstream import ClientBodyError, UpstreamCutError

HEAD = b"HTTP/1.1 200 OK\r\n"
# More than a connection takes before it asks its reader to go on.
BODY = bytes(range(256)) * 2_000
WAIT_SECONDS = 10.0


def framed(body: bytes, chunk_bytes: int) -> bytes:
    """Give *body* with its head, in chunks of so many bytes; 0: with a length."""
    if not chunk_bytes:
        return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    parts = [body[start : start + chunk_bytes] for start in range(0, len(body), chunk_bytes)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


async def response_on(connection: UpstreamConnection) -> tuple[HttpResponse, StreamReader]:
    message, payload = await connection.read()
    exchange = cast(Any, SimpleNamespace(keep_alive_header="", payload=None, upload_error=None))
    return HttpResponse(exchange, connection, message, payload), payload


@pytest.mark.parametrize("received_bytes", [1 << 20, 200_000, 65_536, 4_099])
@pytest.mark.parametrize("chunk_bytes", [0, len(BODY), 50_000, 1_000])
@pytest.mark.parametrize("is_waiting", [True, False])
async def test_the_last_bytes_are_left_to_who_asks_for_the_end(
    received_bytes: int, chunk_bytes: int, is_waiting: bool
) -> None:
    """Else a client that has them all may see the end before the exchange is kept."""
    connection = UpstreamConnection(asyncio.get_running_loop())
    connection.connection_made(Transport(connection))
    connection.set_response_params(
        read_until_eof=True, auto_decompress=False, read_bufsize=64 * 1024
    )
    wire = framed(BODY, chunk_bytes)
    pieces = [wire[at : at + received_bytes] for at in range(0, len(wire), received_bytes)]
    connection.data_received(pieces.pop(0))
    response, payload = await response_on(connection)
    taken: list[tuple[bytes, bool]] = []

    def take(piece: bytes) -> bool:
        taken.append((piece, payload.is_eof()))
        return True

    async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as tasks:
        if is_waiting:
            tasks.create_task(response.pass_on(take))
            await asyncio.sleep(0)
        for piece in pieces:
            connection.data_received(piece)
        if not is_waiting:
            await response.pass_on(take)
    last = b""
    while not response.at_end:
        last += await response.read()

    assert b"".join(piece for piece, _ in taken) + last == BODY
    assert not any(ended for _, ended in taken)


async def responding(*received: bytes) -> tuple[HttpResponse, UpstreamConnection]:
    connection = UpstreamConnection(asyncio.get_running_loop())
    connection.connection_made(Transport(connection))
    connection.set_response_params(read_until_eof=True, auto_decompress=False)
    for data in received:
        connection.data_received(data)
    response, _ = await response_on(connection)
    return response, connection


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


@settings(deadline=None)
@given(
    st.lists(
        st.binary(min_size=1, max_size=30) | st.sampled_from([chunk(b"abc"), END]), max_size=8
    ),
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
    st.lists(st.booleans(), min_size=1, max_size=5),
)
def test_a_body_crosses_unchanged_however_it_comes(
    bodies: list[bytes], lengths: list[int], wants_more: list[bool]
) -> None:
    """Cut anywhere, also inside of sizes and of what looks like a chunk."""

    async def cross() -> bytes:
        wire = b"".join(map(chunk, bodies)) + END
        cuts = itertools.accumulate(itertools.islice(itertools.cycle(lengths), len(wire)))
        ends = [*itertools.takewhile(lambda end: end < len(wire), cuts), len(wire)]
        response, connection = await responding(CHUNKED)
        taken: list[bytes] = []
        answers = itertools.cycle(wants_more)

        def take(piece: bytes) -> bool:
            taken.append(piece)
            return next(answers)

        async def read() -> None:
            while not response.at_end:
                await response.pass_on(take)
                taken.append(await response.read())

        async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            await asyncio.sleep(0)
            for start, end in itertools.pairwise([0, *ends]):
                connection.data_received(wire[start:end])
                if next(answers):
                    await asyncio.sleep(0)
        assert not connection.should_close
        return b"".join(taken)

    assert asyncio.run(cross()) == b"".join(bodies)


class Taken:
    """What was passed on; the client reads no more after *room* pieces."""

    def __init__(self, room: int = 100) -> None:
        self.pieces: list[bytes] = []
        self._room = room

    def __call__(self, piece: bytes) -> bool:
        self.pieces.append(piece)
        return len(self.pieces) < self._room


@asynccontextmanager
async def passing_on(
    response: HttpResponse, take: Callable[[bytes], bool]
) -> AsyncIterator[asyncio.Task[None]]:
    """Pass *response* on meanwhile, until it has ended or is not taken any more."""
    async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(response.pass_on(take))
        await asyncio.sleep(0)
        yield task


async def test_each_chunk_that_comes_by_itself_is_a_piece_and_needs_no_parser() -> None:
    response, connection = await responding(CHUNKED + chunk(b"first"))
    taken = Taken()
    async with passing_on(response, taken):
        for body in (b"second", b"third"):
            connection.data_received(chunk(body))
        parsed_bytes = response._payload.total_bytes
        connection.data_received(END)

    assert taken.pieces == [b"first", b"second", b"third"]
    assert parsed_bytes == len(b"first")
    assert response.at_end


async def test_what_comes_after_a_client_reads_no_more_waits_for_it() -> None:
    response, connection = await responding(CHUNKED)
    taken = Taken(room=1)
    async with passing_on(response, taken):
        for body in (b"one", b"two", b"three"):
            connection.data_received(chunk(body))

    assert taken.pieces == [b"one"]
    assert await response.read() == b"twothree"


@pytest.mark.parametrize("before", [[], [chunk(b"second")]])
async def test_a_chunk_with_a_wrong_size_is_a_cut_and_not_waited_for(before: list[bytes]) -> None:
    response, connection = await responding(CHUNKED + chunk(b"first"))
    taken = Taken()
    async with passing_on(response, taken):
        for data in [*before, b"4\r\nthird\r\n"]:
            connection.data_received(data)

    async with asyncio.timeout(WAIT_SECONDS):
        with pytest.raises(UpstreamCutError, match="not valid HTTP"):
            while True:
                taken(await response.read())
    assert b"".join(taken.pieces).startswith(b"first" + b"second" * len(before))


async def test_a_client_that_is_gone_ends_the_call_at_a_whole_chunk_too() -> None:
    response, connection = await responding(CHUNKED + chunk(b"first"))

    def take(piece: bytes) -> bool:
        if piece != b"first":
            raise ClientGoneError
        return True

    with pytest.raises(ExceptionGroup) as caught:
        async with passing_on(response, take):
            connection.data_received(chunk(b"second"))

    assert caught.group_contains(ClientGoneError)
    assert connection.on_piece is None


async def test_a_call_that_was_cancelled_breaks_nothing_when_more_comes() -> None:
    response, connection = await responding(CHUNKED + chunk(b"first"))
    async with passing_on(response, Taken(room=2)) as task:
        task.cancel()
        connection.data_received(chunk(b"second"))

    assert task.cancelled()
    assert connection.on_change is None
    assert connection.on_piece is None
    assert connection.is_connected()


async def test_a_head_that_comes_as_the_request_breaks_is_not_waited_on_for_its_body() -> None:
    """The connection is closed by then, and no reader of the body would be told."""
    connection = UpstreamConnection(asyncio.get_running_loop())
    connection.connection_made(Transport(connection))
    connection.set_response_params(read_until_eof=True)
    connection.data_received(CHUNKED)
    exchange = cast(Any, SimpleNamespace(upload=None, upload_error=ClientBodyError("broken")))

    with pytest.raises(ClientBodyError, match="broken"):
        await HttpUpstream()._response_head(exchange, connection, has_body=True)
