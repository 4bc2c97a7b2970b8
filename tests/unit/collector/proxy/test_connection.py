"""A connection to an upstream: when it counts as silent, and who is told that something came."""

from __future__ import annotations

import asyncio
from typing import cast

import aiohttp
import pytest
from aiohttp.streams import StreamReader

from tracequill_collector.proxy.connection import UpstreamConnection, UpstreamConnector

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = b"5\r\nhello\r\n"
WAIT_SECONDS = 10.0


class Transport(asyncio.Transport):
    """Is open until it is closed, and then tells the connection."""

    def __init__(self, connection: UpstreamConnection) -> None:
        super().__init__()
        self._connection = connection
        self._closing = False

        self.unsent_bytes = 0

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def close(self) -> None:
        self._closing = True
        self._connection.connection_lost(None)

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def answered(read_timeout: float) -> tuple[UpstreamConnection, StreamReader]:
    """Give a connection on which a head has come, and the body that follows."""
    connection = UpstreamConnection(asyncio.get_running_loop())
    connection.connection_made(Transport(connection))
    connection.set_response_params(read_until_eof=True, read_timeout=read_timeout)
    connection.start_timeout()
    connection.data_received(HEAD)
    _, payload = await connection.read()
    return connection, payload


async def test_an_upstream_that_falls_silent_is_told_to_who_reads() -> None:
    connection, payload = await answered(read_timeout=0.02)
    told = asyncio.Event()
    connection.on_change = told.set

    async with asyncio.timeout(WAIT_SECONDS):
        await told.wait()

    assert isinstance(payload.exception(), aiohttp.SocketTimeoutError)


async def test_every_piece_moves_the_moment_and_makes_no_new_timer() -> None:
    connection, payload = await answered(read_timeout=60)
    timer = connection._read_timeout_handle
    moment = connection._silent_at

    await asyncio.sleep(0.01)  # the loop's clock must go on
    for _ in range(3):
        connection.data_received(PIECE)

    assert connection._read_timeout_handle is timer
    assert cast(float, connection._silent_at) > cast(float, moment)
    assert payload.exception() is None
    assert payload.read_nowait() == b"hello" * 3


async def test_a_timer_that_finds_more_has_come_waits_on() -> None:
    connection, payload = await answered(read_timeout=60)

    connection._on_read_timeout()

    assert payload.exception() is None
    assert connection._read_timeout_handle is not None


async def test_after_the_answer_nobody_is_waited_for() -> None:
    connection, payload = await answered(read_timeout=60)

    connection.data_received(b"0\r\n\r\n")
    connection._on_read_timeout()

    assert payload.is_eof()
    assert connection.exception() is None
    assert connection._read_timeout_handle is None


async def test_a_connection_that_is_gone_is_kept_by_no_timer() -> None:
    connection, payload = await answered(read_timeout=60)
    changes: list[BaseException | None] = []
    connection.on_change = lambda: changes.append(payload.exception())

    connection.close()

    assert connection._read_timeout_handle is None
    assert isinstance(changes[-1], aiohttp.ClientPayloadError)


async def test_what_waits_is_told_of_every_piece() -> None:
    connection, payload = await answered(read_timeout=60)
    pieces: list[bytes] = []
    connection.on_change = lambda: pieces.append(payload.read_nowait())

    connection.data_received(PIECE)
    connection.data_received(PIECE + PIECE)

    assert pieces == [b"hello", b"hellohello"]


async def test_the_connector_opens_such_connections() -> None:
    connector = UpstreamConnector(limit=0)
    try:
        assert isinstance(connector._factory(), UpstreamConnection)
    finally:
        await connector.close()


END = b"0\r\n\r\n"


async def test_after_a_whole_answer_a_connection_is_at_rest() -> None:
    connection, _ = await answered(read_timeout=60)
    connection.data_received(PIECE + END + b"\r\n")

    assert connection.is_at_rest()
    assert not connection.should_close


@pytest.mark.parametrize("behind", [b"H", b"HTTP/1.1 200 OK\r\nX-Half: ", b"HTTP/1.1 200 OK\r\n\r"])
async def test_with_the_beginning_of_another_answer_it_is_not(behind: bytes) -> None:
    connection, _ = await answered(read_timeout=60)
    connection.data_received(PIECE + END + behind)

    assert not connection.is_at_rest()


async def test_with_a_request_that_is_not_sent_to_its_end_it_is_not() -> None:
    """The next request would stand behind what an upstream that has answered may never read."""
    connection, _ = await answered(read_timeout=60)
    connection.data_received(PIECE + END)
    assert isinstance(connection.transport, Transport)
    connection.transport.unsent_bytes = 1

    assert not connection.is_at_rest()


async def test_whatever_comes_while_nobody_asks_ends_it() -> None:
    connection, _ = await answered(read_timeout=60)
    connection.data_received(PIECE + END)
    connection.idle_until = 1e9
    connection.data_received(b"H")

    assert connection.should_close


async def test_answers_that_nobody_asked_for_do_not_pile_up() -> None:
    connection, _ = await answered(read_timeout=60)
    transport = connection.transport
    assert transport is not None
    connection.data_received(PIECE + END)

    for _ in range(10):
        assert not transport.is_closing()
        connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 100)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 100)

    assert transport.is_closing()
