"""Every request is counted once, by what became of it, wherever it was refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest

from tests.integration.receiver.inside import HttpAnswer, Inside, http_head, servers
from tests.integration.receiver_rig import PROTOBUF, request_of, span
from tracequill_collector.errors import QueueFullError
from tracequill_collector.pipeline import RecordConsumer
from tracequill_collector.testing import FailingConsumer, RecordSink

ONE = request_of(span(1))
TOO_LARGE = bytes(2_000_001)
OUTCOMES = ("accepted", "retryable", "permanent", "failed")


def _requests(inside: Inside, transport: str) -> dict[str, float]:
    name = "tracequill_receiver_requests_total"
    counts = {
        outcome: inside.count(name, transport=transport, outcome=outcome) for outcome in OUTCOMES
    }
    return {outcome: count for outcome, count in counts.items() if count}


def _refused_spans(inside: Inside, transport: str) -> float:
    return inside.count("otelcol_receiver_refused_spans_total", transport=transport)


async def _code(call: Awaitable[bytes]) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


async def _without_room(inside: Inside, send: Callable[[], Awaitable[object]]) -> object:
    async with inside.intake.in_flight.lease() as lease:
        await lease.grow_to(1 << 40)
        return await send()


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        pytest.param(b"x", "text/plain", 415, id="content type"),
        pytest.param(b"\0" * 10, PROTOBUF, 400, id="no request"),
    ],
)
async def test_what_http_refuses_for_good_is_counted(
    body: bytes, content_type: str, status: int
) -> None:
    async with servers(RecordSink()) as inside:
        answer = await inside.post(body, content_type)

        assert answer.status == status
        assert _requests(inside, "http") == {"permanent": 1}
        assert _refused_spans(inside, "http") == 0


async def test_a_body_that_breaks_off_is_counted() -> None:
    async with servers(RecordSink()) as inside:
        _, writer = await asyncio.open_connection("127.0.0.1", inside.http_port)
        writer.write(http_head(100) + b"half")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

        for _ in range(500):  # nobody is told that it was counted
            if _requests(inside, "http"):
                break
            await asyncio.sleep(0.01)
        assert _requests(inside, "http") == {"permanent": 1}


async def test_a_body_that_is_announced_as_too_large_is_counted() -> None:
    async with servers(RecordSink()) as inside:
        reader, writer = await asyncio.open_connection("127.0.0.1", inside.http_port)
        writer.write(http_head(len(TOO_LARGE)))

        assert b" 413 " in await reader.readline()
        assert _requests(inside, "http") == {"permanent": 1}
        writer.close()
        await writer.wait_closed()


async def test_what_grpc_refuses_for_good_is_counted() -> None:
    async with servers(RecordSink()) as inside:
        assert await _code(inside.export(b"\xff")) is grpc.StatusCode.INVALID_ARGUMENT
        assert await _code(inside.export(TOO_LARGE)) is grpc.StatusCode.RESOURCE_EXHAUSTED

        assert _requests(inside, "grpc") == {"permanent": 2}


async def test_what_finds_no_room_is_counted() -> None:
    async with servers(RecordSink(), in_flight_max_bytes=1 << 30) as inside:
        answer = await _without_room(inside, lambda: inside.post(ONE))
        code = await _without_room(inside, lambda: _code(inside.export(ONE)))

        assert isinstance(answer, HttpAnswer)
        assert (answer.status, code) == (503, grpc.StatusCode.UNAVAILABLE)
        assert _requests(inside, "http") == _requests(inside, "grpc") == {"retryable": 1}


@pytest.mark.parametrize(
    ("consumer", "outcome"),
    [
        pytest.param(FailingConsumer(QueueFullError("full")), "retryable", id="full"),
        pytest.param(FailingConsumer(RuntimeError("ours")), "failed", id="a mistake of ours"),
    ],
)
async def test_spans_that_are_known_are_counted_once(
    consumer: RecordConsumer, outcome: str
) -> None:
    async with servers(consumer) as inside:
        assert (await inside.post(request_of(span(1), span(2)))).status == 503
        assert await _code(inside.export(ONE)) is grpc.StatusCode.UNAVAILABLE

        assert _requests(inside, "http") == _requests(inside, "grpc") == {outcome: 1}
        assert (_refused_spans(inside, "http"), _refused_spans(inside, "grpc")) == (2, 1)


async def test_what_is_accepted_is_counted_once() -> None:
    async with servers(RecordSink()) as inside:
        await inside.post(ONE)
        await inside.export(ONE)

        assert _requests(inside, "http") == _requests(inside, "grpc") == {"accepted": 1}
        assert _refused_spans(inside, "http") == _refused_spans(inside, "grpc") == 0
