"""A request to an OTLP backend, by HTTP or gRPC: bytes enter, what the backend means leaves.

Decides what an answer means, once, for both protocols; what to do about it is the caller's. Knows
no queue. Redirects are not followed: where spans go is what the configuration says.
"""

from __future__ import annotations

import asyncio
import email.utils
import enum
import gzip
import time
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

_PATH = "/v1/traces"
_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_PROTOBUF = "application/x-protobuf"
# The first level is three times as quick as the default and a tenth larger.
_GZIP_LEVEL = 1
# An answer of a backend holds a sentence or two; what is longer is not read.
_ANSWER_MAX_BYTES = 64 * 1024
_MAX_DELAY_SECONDS = 300.0


class Meaning(enum.Enum):
    """What an answer means for the request."""

    DONE = "taken"
    RETRY = "send the same again later"
    TOO_LARGE = "send it in smaller pieces"
    BAD = "never send this again"
    WAIT = "nothing is taken until a person has acted"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend answered."""

    meaning: Meaning
    reason: str = ""
    """A status without a word of what was sent."""
    delay_seconds: float = 0.0
    """What the backend asks to wait; 0 where it asks nothing."""
    rejected_spans: int = 0
    """Of a request that was taken: how many of its spans were not."""


class OtlpClient(Protocol):
    """Sends requests to one backend."""

    async def send(self, payload: bytes, project_name: str) -> Answer:
        """Send the request *payload*; whatever happens, it is an Answer."""

    async def close(self) -> None:
        """Close the connections."""


_HTTP_MEANINGS = {
    400: Meaning.BAD,
    413: Meaning.TOO_LARGE,
    422: Meaning.BAD,
    429: Meaning.RETRY,
    502: Meaning.RETRY,
    503: Meaning.RETRY,
    504: Meaning.RETRY,
}


class HttpClient:
    """OTLP/HTTP with protobuf."""

    def __init__(
        self, endpoint: str, headers: dict[str, str], *, is_gzip: bool, timeout_seconds: float
    ) -> None:
        self._url = endpoint if endpoint.endswith(_PATH) else endpoint + _PATH
        self._headers = {"Content-Type": _PROTOBUF, **headers}
        if is_gzip:
            self._headers["Content-Encoding"] = "gzip"
        self._is_gzip = is_gzip
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
        )

    async def send(self, payload: bytes, project_name: str) -> Answer:
        """Send the request *payload*."""
        body = payload
        if self._is_gzip:
            body = await asyncio.to_thread(gzip.compress, payload, _GZIP_LEVEL)
        try:
            async with self._session.post(
                self._url,
                data=body,
                headers=_with_project(self._headers, project_name),
                allow_redirects=False,
            ) as response:
                content = await response.content.read(_ANSWER_MAX_BYTES)
                return http_answer(response.status, response.headers.get("Retry-After"), content)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Answer(Meaning.RETRY, _unreachable(error))

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def http_answer(status: int, retry_after: str | None, content: bytes) -> Answer:
    """Say what an HTTP answer means (OTLP specification, section OTLP/HTTP Response)."""
    if 200 <= status < 300:
        return Answer(Meaning.DONE, rejected_spans=_rejected(content))
    meaning = _HTTP_MEANINGS.get(status, Meaning.WAIT)
    return Answer(meaning, f"it answered {status}", _seconds(retry_after))


def _seconds(retry_after: str | None) -> float:
    """Read Retry-After: seconds, or a date."""
    if not retry_after:
        return 0.0
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            return 0.0
    return min(max(seconds, 0.0), _MAX_DELAY_SECONDS) if seconds == seconds else 0.0


_GRPC_RETRY = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


class GrpcClient:
    """OTLP/gRPC."""

    def __init__(
        self, endpoint: str, headers: dict[str, str], *, is_gzip: bool, timeout_seconds: float
    ) -> None:
        scheme, _, rest = endpoint.partition("://")
        target = rest.partition("/")[0]
        self._channel = (
            grpc.aio.secure_channel(target, grpc.ssl_channel_credentials())
            if scheme == "https"
            else grpc.aio.insecure_channel(target)
        )
        self._headers = {name.lower(): value for name, value in headers.items()}
        self._compression = grpc.Compression.Gzip if is_gzip else grpc.Compression.NoCompression
        self._timeout_seconds = timeout_seconds
        # No serializer: bytes go as they are.
        self._export: Any = self._channel.unary_unary(
            _METHOD, request_serializer=None, response_deserializer=None
        )

    async def send(self, payload: bytes, project_name: str) -> Answer:
        """Send the request *payload*."""
        headers = _with_project(self._headers, project_name)
        if not headers.get("x-project-name", "").isascii():
            del headers["x-project-name"]  # stands in the resource as well
        try:
            content = await self._export(
                payload,
                timeout=self._timeout_seconds,
                metadata=tuple(headers.items()),
                compression=self._compression,
            )
        except grpc.aio.AioRpcError as error:
            return grpc_answer(error.code(), _delay(error))
        return Answer(Meaning.DONE, rejected_spans=_rejected(content))

    async def close(self) -> None:
        """Close the connections."""
        await self._channel.close(None)


def grpc_answer(code: grpc.StatusCode, delay_seconds: float | None) -> Answer:
    """Say what a gRPC status means; *delay_seconds* is None where no RetryInfo came along."""
    reason = f"it answered {code.name}"
    if code in _GRPC_RETRY or delay_seconds is not None:
        return Answer(Meaning.RETRY, reason, delay_seconds or 0.0)
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return Answer(Meaning.BAD, reason)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        # Without RetryInfo it is a limit on the size of a message.
        return Answer(Meaning.TOO_LARGE, reason)
    return Answer(Meaning.WAIT, reason)


def _delay(error: grpc.aio.AioRpcError) -> float | None:
    """Read RetryInfo from either trailer in which servers send it."""
    trailers: Any = error.trailing_metadata() or ()
    for name, value in trailers:
        try:
            if name == "google.rpc.retryinfo-bin" and isinstance(value, bytes):
                return _delay_of(RetryInfo.FromString(value))
            if name == "grpc-status-details-bin" and isinstance(value, bytes):
                for detail in Status.FromString(value).details:
                    info = RetryInfo()
                    if detail.Unpack(info):
                        return _delay_of(info)
        except DecodeError:
            continue
    return None


def _delay_of(info: RetryInfo) -> float:
    seconds: float = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
    return min(max(seconds, 0.0), _MAX_DELAY_SECONDS)


def _with_project(headers: dict[str, str], project_name: str) -> dict[str, str]:
    return {**headers, "x-project-name": project_name} if project_name else dict(headers)


def _rejected(content: bytes) -> int:
    try:
        partial = ExportTraceServiceResponse.FromString(content).partial_success
    except DecodeError:  # some backends answer JSON or nothing sensible with their 200
        return 0
    return max(0, int(partial.rejected_spans))


def _unreachable(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    number = getattr(error, "strerror", None)
    return f"it cannot be reached ({number or type(error).__name__})"
