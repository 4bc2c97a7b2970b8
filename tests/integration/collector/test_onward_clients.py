"""The clients of other backends against servers that answer, break and lie."""

from __future__ import annotations

import asyncio
import resource
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from socket import SO_LINGER, SOL_SOCKET

import grpc
import pytest
from aiohttp import web
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.integration.collector.backends import (
    GrpcContext,
    bomb,
    for_ever,
    grpc_backend,
    http_backend,
    raw_backend,
)
from tests.integration.receiver_rig import request_of, span
from tests.ports import free_port
from tracequill_collector.exporter.otlp import GrpcClient, HttpClient, Meaning, OtlpClient

pytestmark = pytest.mark.integration

_REQUEST = request_of(span(1), span(2))
_LARGE = request_of(span(1, name="x" * 5_000_000))


@asynccontextmanager
async def client_for(
    kind: type[HttpClient] | type[GrpcClient],
    url: str,
    *,
    headers: dict[str, str] | None = None,
    is_gzip: bool = True,
    timeout_seconds: float = 20.0,
) -> AsyncIterator[OtlpClient]:
    """Give a client that is closed afterwards."""
    client = kind(url, headers or {}, is_gzip=is_gzip, timeout_seconds=timeout_seconds)
    try:
        yield client
    finally:
        await client.close()


# --- HTTP -------------------------------------------------------------------------------


@pytest.mark.parametrize("is_gzip", [True, False])
async def test_by_http_a_request_arrives_as_it_is(is_gzip: bool) -> None:
    async with (
        http_backend() as backend,
        client_for(HttpClient, backend.url, headers={"X-Key": "k"}, is_gzip=is_gzip) as client,
    ):
        answers = [await client.send(_REQUEST), await client.send(_LARGE)]

    assert [answer.meaning for answer in answers] == [Meaning.DONE, Meaning.DONE]
    assert [request.SerializeToString() for request in backend.requests] == [_REQUEST, _LARGE]
    assert backend.headers[0]["content-type"] == "application/x-protobuf"
    assert backend.headers[0].get("content-encoding") == ("gzip" if is_gzip else None)
    assert backend.headers[0]["x-key"] == "k"


@pytest.mark.parametrize(
    ("status", "headers", "meaning", "delay_seconds"),
    [
        (503, {"Retry-After": "7"}, Meaning.RETRY, 7),
        (429, {"Retry-After": "1000000"}, Meaning.RETRY, 300),
        (429, {}, Meaning.RETRY, 0),
        (400, {}, Meaning.BAD, 0),
        (401, {}, Meaning.WAIT, 0),
        (413, {}, Meaning.TOO_LARGE, 0),
        (500, {}, Meaning.DOUBTFUL, 0),
    ],
)
async def test_an_answer_by_http_is_understood(
    status: int, headers: dict[str, str], meaning: Meaning, delay_seconds: float
) -> None:
    async def answer(number: int, request: ExportTraceServiceRequest) -> web.Response:
        return web.Response(
            status=status, headers=headers, body=Status(message="why").SerializeToString(),
            content_type="application/x-protobuf",
        )  # fmt: skip

    async with http_backend(answer) as backend, client_for(HttpClient, backend.url) as client:
        answered = await client.send(_REQUEST)

    assert (answered.meaning, answered.delay_seconds) == (meaning, delay_seconds)
    assert answered.said == "why"


async def test_partial_success_by_http_is_read_packed_or_not() -> None:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 1

    async def answer(number: int, request: ExportTraceServiceRequest) -> web.Response:
        answer = web.Response(
            body=response.SerializeToString(), content_type="application/x-protobuf"
        )
        if number == 2:  # although it was not asked for
            answer.enable_compression(web.ContentCoding.gzip)
        return answer

    async with http_backend(answer) as backend, client_for(HttpClient, backend.url) as client:
        answers = [await client.send(_REQUEST), await client.send(_REQUEST)]

    assert [(one.meaning, one.rejected_spans) for one in answers] == [(Meaning.DONE, 1)] * 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async with http_backend() as elsewhere:

        async def answer(number: int, request: ExportTraceServiceRequest) -> web.Response:
            return web.Response(status=status, headers={"Location": f"{elsewhere.url}/v1/traces"})

        async with http_backend(answer) as backend, client_for(HttpClient, backend.url) as client:
            answered = await client.send(_REQUEST)

    assert answered.meaning is Meaning.WAIT
    assert (backend.asked, elsewhere.asked) == (1, 0)


async def test_proxies_of_the_environment_get_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        http_backend() as proxy,
        http_backend() as backend,
        grpc_backend() as by_grpc,
    ):
        for name in ("http_proxy", "HTTP_PROXY", "grpc_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        async with (
            client_for(HttpClient, backend.url) as http_client,
            client_for(GrpcClient, by_grpc.url) as grpc_client,
        ):
            answers = [await http_client.send(_REQUEST), await grpc_client.send(_REQUEST)]

    assert [answer.meaning for answer in answers] == [Meaning.DONE, Meaning.DONE]
    assert proxy.asked == 0


async def test_a_hanging_http_backend_is_given_up_in_time() -> None:
    async def hang(number: int, request: ExportTraceServiceRequest) -> None:
        await for_ever()

    async with (
        http_backend(hang) as backend,
        client_for(HttpClient, backend.url, timeout_seconds=0.3) as client,
    ):
        answer = await client.send(_REQUEST)

    assert (answer.meaning, answer.reason) == (Meaning.DOUBTFUL, "it did not answer in time")


async def test_a_connection_that_breaks_is_doubtful_and_one_refused_is_tried_again() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async with raw_backend(reset) as backend:
        async with client_for(HttpClient, backend.url) as client:
            broken = await client.send(_LARGE)
    async with client_for(HttpClient, f"http://127.0.0.1:{free_port()}") as client:
        refused = await client.send(_REQUEST)

    assert broken.meaning is Meaning.DOUBTFUL, broken
    assert refused.meaning is Meaning.RETRY
    assert "refused" in refused.reason.lower()


def _answering(start: bytes, part: bytes) -> Callable[..., asyncio.Future[None]]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 " + start + b"\r\n\r\n")
        while not writer.is_closing():
            writer.write(part)
            await writer.drain()
            if not part:
                await for_ever()

    return answer  # type: ignore[return-value]


@pytest.mark.parametrize(
    "part", [b"x" * 100_000, b""], ids=["endless", "never complete"]
)  # fmt: skip
@pytest.mark.parametrize(
    ("start", "meaning"), [(b"200 OK", Meaning.DONE), (b"503 Busy", Meaning.RETRY)]
)
async def test_the_status_decides_where_the_body_has_no_end(
    start: bytes, part: bytes, meaning: Meaning, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracequill_collector.exporter.otlp._ANSWER_SECONDS", 0.3)
    before = _memory_kib()

    async with (
        raw_backend(_answering(start, part)) as backend,
        client_for(HttpClient, backend.url) as client,
    ):
        answers = [await client.send(_REQUEST) for _ in range(3)]

    assert [answer.meaning for answer in answers] == [meaning] * 3
    assert _memory_kib() - before < 50_000


async def test_headers_without_an_end_are_no_answer() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not writer.is_closing():
            writer.write(b"x" * 100_000)
            await writer.drain()

    async with raw_backend(answer) as backend, client_for(HttpClient, backend.url) as client:
        answered = await client.send(_REQUEST)

    assert answered.meaning in (Meaning.RETRY, Meaning.DOUBTFUL)


async def test_what_is_no_http_is_no_answer() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()

    async with raw_backend(answer) as backend, client_for(HttpClient, backend.url) as client:
        answered = await client.send(_REQUEST)

    assert answered.meaning in (Meaning.RETRY, Meaning.DOUBTFUL)


async def test_a_packed_answer_is_not_unpacked_past_its_limit() -> None:
    async def answer(number: int, request: ExportTraceServiceRequest) -> web.Response:
        return web.Response(
            body=bomb(50_000_000),
            headers={"Content-Encoding": "gzip"},
            content_type="application/x-protobuf",
        )

    async with http_backend(answer) as backend, client_for(HttpClient, backend.url) as client:
        await client.send(_REQUEST)
        before = _memory_kib()
        answers = [await client.send(_REQUEST) for _ in range(3)]

    assert [answer.meaning for answer in answers] == [Meaning.DONE] * 3
    assert _memory_kib() - before < 30_000


# --- gRPC -------------------------------------------------------------------------------


@pytest.mark.parametrize("is_gzip", [True, False])
async def test_by_grpc_a_request_arrives_as_it_is(is_gzip: bool) -> None:
    limit = (("grpc.max_receive_message_length", -1),)
    async with (
        grpc_backend(options=limit) as backend,
        client_for(GrpcClient, backend.url, headers={"X-Key": "k"}, is_gzip=is_gzip) as client,
    ):
        answers = [await client.send(_REQUEST), await client.send(_LARGE)]

    assert [answer.meaning for answer in answers] == [Meaning.DONE, Meaning.DONE]
    assert [request.SerializeToString() for request in backend.requests] == [_REQUEST, _LARGE]
    assert backend.headers[0]["x-key"] == "k"


def _trailers(kind: str) -> tuple[tuple[str, bytes], ...]:
    info = RetryInfo()
    info.retry_delay.FromMilliseconds(1_500)
    if kind == "own":
        return (("google.rpc.retryinfo-bin", info.SerializeToString()),)
    if kind == "standard":
        detail = AnyMessage()
        detail.Pack(info)
        return (("grpc-status-details-bin", Status(details=[detail]).SerializeToString()),)
    return (("grpc-status-details-bin", b"\xff\xff"),) if kind == "broken" else ()


@pytest.mark.parametrize(
    ("code", "trailers", "meaning", "delay_seconds"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "standard", Meaning.RETRY, 1.5),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "own", Meaning.RETRY, 1.5),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "", Meaning.TOO_LARGE, 0),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "broken", Meaning.TOO_LARGE, 0),
        (grpc.StatusCode.UNAVAILABLE, "standard", Meaning.RETRY, 1.5),
        (grpc.StatusCode.INVALID_ARGUMENT, "", Meaning.BAD, 0),
        (grpc.StatusCode.UNAUTHENTICATED, "", Meaning.WAIT, 0),
    ],
)
async def test_an_answer_by_grpc_is_understood(
    code: grpc.StatusCode, trailers: str, meaning: Meaning, delay_seconds: float
) -> None:
    async def answer(number: int, context: GrpcContext) -> bytes:
        await context.abort(code, "why", _trailers(trailers))

    payload = request_of(span(1, name="x" * 100_000))
    async with grpc_backend(answer) as backend, client_for(GrpcClient, backend.url) as client:
        answered = await client.send(payload)

    assert (answered.meaning, answered.delay_seconds) == (meaning, delay_seconds)
    assert answered.said == "why"


async def test_the_limit_that_servers_have_by_default_is_understood_as_the_size() -> None:
    async with (
        grpc_backend() as backend,
        client_for(GrpcClient, backend.url, is_gzip=False) as client,
    ):
        answers = [await client.send(_LARGE), await client.send(_REQUEST)]

    assert [answer.meaning for answer in answers] == [Meaning.TOO_LARGE, Meaning.DONE]


async def test_partial_success_by_grpc_is_read() -> None:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 2

    async def answer(number: int, context: GrpcContext) -> bytes:
        return response.SerializeToString()

    async with grpc_backend(answer) as backend, client_for(GrpcClient, backend.url) as client:
        answered = await client.send(_REQUEST)

    assert (answered.meaning, answered.rejected_spans) == (Meaning.DONE, 2)


async def test_an_answer_by_grpc_that_is_too_long_is_a_success_all_the_same() -> None:
    async def answer(number: int, context: GrpcContext) -> bytes:
        return bytes(5_000_000)

    async with grpc_backend(answer) as backend, client_for(GrpcClient, backend.url) as client:
        answered = await client.send(_REQUEST)

    assert answered.meaning is Meaning.DONE, answered


async def test_after_a_hanging_call_the_next_one_gets_a_new_connection() -> None:
    peers: list[str] = []

    async def answer(number: int, context: GrpcContext) -> bytes:
        peers.append(context.peer())
        if number < 3:
            await for_ever()
        return b""

    async with (
        grpc_backend(answer) as backend,
        client_for(GrpcClient, backend.url, timeout_seconds=2.0) as client,
        asyncio.TaskGroup() as tasks,
    ):
        first = tasks.create_task(client.send(_REQUEST))
        await asyncio.sleep(1.5)  # how much later its time is over is what is tested
        second = tasks.create_task(client.send(_REQUEST))
        hung = await first
        done = await client.send(_REQUEST)
        assert not second.done(), "the old connection was closed under a call"

    assert [answer.meaning for answer in (hung, second.result())] == [Meaning.DOUBTFUL] * 2
    assert done.meaning is Meaning.DONE
    assert peers[0] == peers[1] != peers[2]


async def test_by_grpc_nobody_there_is_tried_again() -> None:
    async with client_for(GrpcClient, f"http://127.0.0.1:{free_port()}") as client:
        answer = await client.send(_REQUEST)

    assert answer.meaning is Meaning.RETRY
    assert answer.reason == "it answered UNAVAILABLE"


def _memory_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
