"""A response that is passed on as it comes: its last bytes wait for whoever records it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp.streams import StreamReader

from tests.unit.collector.proxy.test_connection import Transport
from tracequill_collector.proxy.connection import UpstreamConnection
from tracequill_collector.proxy.http_upstream import HttpResponse

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
    exchange = cast(Any, SimpleNamespace(keep_alive_header="", payload=None))
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
