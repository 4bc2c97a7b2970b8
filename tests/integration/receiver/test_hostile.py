"""Clients that mean no good, or are broken: they cost little, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, suppress
from pathlib import Path

import grpc
import psutil
import pytest
from google.rpc.status_pb2 import Status

from tests.integration.receiver.http2 import (
    ACK,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    Http2Connection,
    message,
)
from tests.integration.receiver.inside import http_head, servers
from tests.integration.receiver_rig import (
    JSON,
    SHARED_MAX_BYTES,
    ReceiverProcess,
    names_in,
    request_of,
    span,
    trailers_of,
    wait_until,
)
from tracequill_collector.receiver import http_server, otlp_grpc, otlp_http
from tracequill_collector.receiver.connections import ConnectionLimits
from tracequill_collector.testing import RecordSink

pytestmark = pytest.mark.integration

BODY = request_of(span(1))
MIB = 1024 * 1024


async def _closed(reader: asyncio.StreamReader) -> bytes:
    """All that the server says until it closes."""
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def _connection(port: int, beginning: bytes = b"") -> AsyncIterator[asyncio.StreamReader]:
    """A connection on which *beginning* is sent, and no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(beginning)
    try:
        yield reader
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


# --- connections that do nothing, or little ----------------------------------------------


@pytest.mark.parametrize(
    "beginning", [b"", b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nA: "], ids=["idle", "half a head"]
)
async def test_an_http_connection_whose_head_never_ends_is_closed(beginning: bytes) -> None:
    async with (
        servers(RecordSink(), limits=ConnectionLimits(100, idle_seconds=0.5)) as inside,
        _connection(inside.http_port, beginning) as reader,
    ):
        assert (await inside.post(BODY)).status == 200
        assert await _closed(reader) == b""


async def test_a_grpc_connection_that_never_speaks_is_closed() -> None:
    async with (
        servers(RecordSink(), limits=ConnectionLimits(100, idle_seconds=0.5)) as inside,
        _connection(inside.grpc_port) as reader,
    ):
        await _closed(reader)
        assert await inside.export(BODY) == b""


async def test_a_body_that_trickles_in_is_refused_retryably_and_gives_its_memory_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(otlp_http, "_BODY_SECONDS", 0.3)
    sink = RecordSink()
    async with (
        servers(sink) as inside,
        _connection(inside.http_port, http_head(len(BODY)) + BODY[:-1]) as reader,
    ):
        async with asyncio.timeout(20):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 503 ")
        assert "Retry-After: " in head
        assert inside.intake.in_flight.held_bytes == 0
    assert sink.records == []


async def test_bodies_that_are_announced_and_do_not_come_hold_no_memory() -> None:
    async with AsyncExitStack() as stack:
        inside = await stack.enter_async_context(
            servers(RecordSink(), in_flight_max_bytes=2_000_000)
        )
        for _ in range(5):
            beginning = http_head(1_900_000) + b"\n"
            await stack.enter_async_context(_connection(inside.http_port, beginning))
        await _until(lambda: 5 <= inside.intake.in_flight.held_bytes < 100)

        assert (await inside.post(BODY)).status == 200


async def test_a_call_whose_request_does_not_come_is_refused_retryably(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(otlp_grpc, "_READ_SECONDS", 0.3)
    async with servers(RecordSink()) as inside:
        with Http2Connection(inside.grpc_port) as connection:
            connection.begin_export()
            connection.send(DATA, message(BODY)[:-1], stream=1)

            trailers = await asyncio.to_thread(_trailers, connection)

        assert b"grpc-status\x0214" in trailers
        assert b"google.rpc.retryinfo-bin" in trailers
        assert b"grpc-status-details-bin" in trailers
        assert inside.intake.in_flight.held_bytes == 0


def _trailers(connection: Http2Connection) -> bytes:
    for frame in connection.frames():
        if frame.kind == HEADERS and frame.flags & END_STREAM:
            return frame.payload
    raise AssertionError("the call was not answered")


async def test_calls_wait_at_the_sender_while_there_is_no_room_for_them() -> None:
    async with servers(RecordSink(), in_flight_max_bytes=6 * MIB) as inside:
        with Http2Connection(inside.grpc_port) as silent:
            silent.begin_export()
            await _until(lambda: inside.intake.in_flight.held_bytes > 0)

            with pytest.raises(grpc.RpcError) as caught:
                await inside.export(BODY)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "google.rpc.retryinfo-bin" in trailers_of(caught.value)

        await _until(lambda: inside.intake.in_flight.held_bytes == 0)
        assert await inside.export(BODY) == b""


async def test_clients_that_hold_on_do_not_keep_the_servers_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(otlp_grpc, "_STOP_SECONDS", 0.2)
    monkeypatch.setattr(http_server, "_STOP_SECONDS", 0.2)
    sink = RecordSink()
    async with AsyncExitStack() as clients, asyncio.timeout(20):
        async with servers(sink) as inside:
            body = await clients.enter_async_context(
                _connection(inside.http_port, http_head(len(BODY)) + BODY[:-1])
            )
            head = await clients.enter_async_context(_connection(inside.http_port, b"POST "))
            call = clients.enter_context(Http2Connection(inside.grpc_port))
            call.begin_export()
            await _until(lambda: inside.intake.in_flight.held_bytes > len(BODY))

        assert await _closed(body) == await _closed(head) == b""
        assert not [frame for frame in call.frames() if frame.kind == DATA]
    assert sink.records == []


def test_a_call_without_a_request_is_refused_for_good(shared: ReceiverProcess) -> None:
    with Http2Connection(shared.grpc_port) as connection:
        connection.begin_export()
        connection.send(DATA, flags=END_STREAM, stream=1)

        trailers = _trailers(connection)

    assert b"grpc-status\x018" in trailers
    assert b"retryinfo" not in trailers


# --- more connections than there may be --------------------------------------------------


async def test_an_http_connection_too_many_is_told_to_come_back() -> None:
    async with AsyncExitStack() as stack:
        inside = await stack.enter_async_context(servers(RecordSink(), limits=ConnectionLimits(2)))
        await stack.enter_async_context(_connection(inside.http_port))
        async with _connection(inside.http_port):
            async with _connection(inside.http_port) as third:
                answer = await _closed(third)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 1\r\n" in answer

        async with asyncio.timeout(20):
            while (await inside.post(BODY)).status != 200:
                pass


@pytest.fixture
def few_files(tmp_path: Path) -> Iterator[ReceiverProcess]:
    """A receiver that may open 160 files."""
    receiver = ReceiverProcess(tmp_path, files_max=160)
    yield receiver
    receiver.kill()


def test_when_files_run_out_those_who_are_connected_are_served_and_later_all_are(
    few_files: ReceiverProcess,
) -> None:
    few_files.start()
    with ExitStack() as stack:
        first = stack.enter_context(
            closing(socket.create_connection(("127.0.0.1", few_files.http_port), timeout=20))
        )
        channel = stack.enter_context(grpc.insecure_channel(few_files.grpc_address))
        export = channel.unary_unary(
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export", bytes, bytes
        )
        assert export(request_of(span(1)), timeout=20) == b""
        idle = ExitStack()
        for port in (few_files.http_port, few_files.grpc_port):
            for _ in range(150):
                idle.enter_context(
                    closing(socket.create_connection(("127.0.0.1", port), timeout=20))
                )

        for number in range(2, 30):
            assert export(request_of(span(number)), timeout=20) == b""
            body = request_of(span(number + 100))
            first.sendall(http_head(len(body)) + body)
            assert first.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert psutil.Process(few_files.running.pid).num_fds() < 160
        idle.close()

    wait_until(lambda: _is_taken(few_files))
    assert few_files.export(request_of(span(999))) == b""
    code, logged = few_files.stop()
    assert code == 0
    assert "Traceback" not in logged
    assert {"span 1", "span 29", "span 129", "span 999"} <= names_in(few_files)


def _is_taken(receiver: ReceiverProcess) -> bool:
    try:
        return receiver.post(BODY).status == 200
    except OSError:
        return False


def test_a_thousand_idle_connections_are_no_trouble(receiver: ReceiverProcess) -> None:
    receiver.start()
    before = psutil.Process(receiver.running.pid).memory_info().rss
    with ExitStack() as idle:
        for _ in range(500):
            for port in (receiver.http_port, receiver.grpc_port):
                idle.enter_context(
                    closing(socket.create_connection(("127.0.0.1", port), timeout=20))
                )

        assert receiver.post(BODY).status == 200
        assert receiver.export(BODY) == b""
        after = psutil.Process(receiver.running.pid).memory_info().rss
    assert after - before < 60 * MIB


# --- large requests ----------------------------------------------------------------------


def test_others_are_served_while_a_large_request_is_read(receiver: ReceiverProcess) -> None:
    receiver.start()
    attributes = [{"key": f"key {place}", "value": {"stringValue": "v"}} for place in range(100)]
    one = {"traceId": "ab" * 16, "spanId": "cd" * 8, "attributes": attributes}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [one] * 400}]}]}).encode()
    statuses: list[int] = []
    sender = threading.Thread(target=lambda: statuses.append(receiver.post(body, JSON).status))
    sender.start()
    wait_until(lambda: _in_flight(receiver) >= len(body))

    assert receiver.export(BODY) == b""
    assert receiver.post(BODY).status == 200
    assert statuses == []  # it is being read still

    sender.join()
    assert statuses == [200]


def _in_flight(receiver: ReceiverProcess) -> float:
    for line in receiver.request("GET", "/metrics").body.decode().splitlines():
        if line.startswith("tracequill_receiver_in_flight_bytes "):
            return float(line.split()[1])
    raise AssertionError("no such metric")


def test_a_bomb_over_grpc_takes_no_more_memory_than_a_request_may(
    shared: ReceiverProcess,
) -> None:
    shared.export(BODY)
    before = _peak_bytes(shared)

    with pytest.raises(grpc.RpcError) as caught:
        shared.export(bytes(100 * SHARED_MAX_BYTES), compression=grpc.Compression.Gzip)

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert _peak_bytes(shared) - before < 20 * SHARED_MAX_BYTES


def _peak_bytes(receiver: ReceiverProcess) -> int:
    status = Path(f"/proc/{receiver.running.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


# --- pings and browsers ------------------------------------------------------------------


def test_a_client_may_ping_every_second_without_a_call(shared: ReceiverProcess) -> None:
    with Http2Connection(shared.grpc_port) as connection:
        frames = connection.frames()
        for number in range(5):
            time.sleep(1.05 if number else 0)  # the distance between the pings is what is tested
            connection.send(PING, number.to_bytes(8, "big"))
            seen = []
            for frame in frames:
                seen.append(frame.kind)
                if (frame.kind, frame.flags) == (PING, ACK):
                    break
            assert seen[-1:] == [PING]
            assert GOAWAY not in seen
        connection.begin_export()
        connection.send(DATA, message(BODY), flags=END_STREAM, stream=1)
        assert b"grpc-status\x010" in _trailers(connection)


def test_a_browser_is_not_invited(shared: ReceiverProcess) -> None:
    asked = shared.request(
        "OPTIONS",
        "/v1/traces",
        origin="https://example.com",
        access_control_request_method="POST",
        access_control_request_headers="content-type",
    )
    # What a page may send without asking first.
    sent = shared.post(BODY, "text/plain", origin="https://example.com")

    assert asked.status == 405
    assert sent.status == 415
    for answer in (asked, sent):
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_bytes_that_are_no_http2_hurt_nobody(shared: ReceiverProcess) -> None:
    for junk in (b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 40, b"\xff" * 9):
        with Http2Connection(shared.grpc_port) as connection:
            connection.send_bytes(junk)
            list(connection.frames())

    assert shared.export(BODY) == b""


def test_every_unknown_path_is_a_status(shared: ReceiverProcess) -> None:
    answer = shared.request("POST", "/v1/trace", BODY, content_type="application/x-protobuf")

    assert answer.status == 404
    assert Status.FromString(answer.body).message == (
        "/v1/trace is not served. Send traces to /v1/traces."
    )


def test_requests_that_are_none_do_not_fill_the_log(receiver: ReceiverProcess) -> None:
    receiver.start()
    for line in (b"Authorization: Bearer secret\x01\r\n", b"Content-Length: secret\r\n", b"\xff\n"):
        with closing(
            socket.create_connection(("127.0.0.1", receiver.http_port), timeout=20)
        ) as connection:
            connection.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.0 400 ")
    for body in (b"\xff", b"{"):
        assert receiver.post(body, JSON).status == 400
    assert receiver.post(BODY).status == 200

    _, logged = receiver.stop()
    assert [line for line in logged.splitlines() if " INFO " not in line] == []
