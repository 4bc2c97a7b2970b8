"""A request to an OTLP backend, by HTTP or gRPC: bytes enter, what the backend means leaves.

Decides what an answer means, once, for both protocols; what to do about it is the caller's. Knows
no queue. Constraints:

1. Whatever happens, it is an Answer: no failure of a backend is an error here.
2. Redirects are not followed, and no proxy of the environment is used: where spans go is what the
   configuration says. Certificates are verified.
3. Of an answer no more is read than it can need, in bytes and in time. Nothing of it is a reason,
   because reasons are logged; what the backend says stands apart.
"""

from __future__ import annotations

import asyncio
import email.utils
import enum
import errno
import gzip
import io
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp
import grpc
import orjson
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from yarl import URL

from tracequill_collector.errors import PermanentError
from tracequill_collector.otlp import JSON, PROTOBUF, decompress, media_type

_PATH = "/v1/traces"
_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_USER_AGENT = "tracequill-collector"
# The first level is three times as quick as the default and a tenth larger.
_GZIP_LEVEL = 1
# An answer of a backend holds a sentence or two; what is longer is not read.
_ANSWER_MAX_BYTES = 64 * 1024
_ANSWER_SECONDS = 5.0
_MAX_SAID_CHARACTERS = 200
_MAX_DELAY_SECONDS = 300.0
# No backend refuses so little for its size: one that says so has too much to do.
_NEVER_TOO_LARGE_BYTES = 64 * 1024

_GRPC_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    # Two minutes by default: a backend that is there again would wait for its spans.
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 10_000),
    # A new channel makes a new connection.
    ("grpc.use_local_subchannel_pool", 1),
)
# What gRPC says here, not there: only an answer to a request that was taken has a body.
_ANSWER_TOO_LONG = "CLIENT: Received message larger than max"
GRPC_PORTS = {"http": 4317, "https": 443}
"""The ports of endpoints that name none."""


class Meaning(enum.Enum):
    """What an answer means for the request."""

    DONE = "taken"
    RETRY = "send the same again later"
    TOO_LARGE = "send it in smaller pieces"
    BAD = "never send this again"
    DOUBTFUL = "the backend failed: over this request, or over everything"
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
    said: str = ""
    """Why, in the backend's words. They may quote what was sent: never log them."""


class OtlpClient(Protocol):
    """Sends requests to one backend."""

    async def send(self, payload: bytes) -> Answer:
        """Send the request *payload*; whatever happens, it is an Answer."""

    async def close(self) -> None:
        """Close the connections."""


_HTTP_MEANINGS = {
    400: Meaning.BAD,
    408: Meaning.RETRY,
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
        self._url = http_url(endpoint)
        self._headers = {
            "User-Agent": _USER_AGENT,
            **headers,
            "Content-Type": PROTOBUF,
            "Accept-Encoding": "identity",
        }
        if is_gzip:
            self._headers["Content-Encoding"] = "gzip"
        self._is_gzip = is_gzip
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            # Unpacked below, no further than an answer is read.
            auto_decompress=False,
        )

    async def send(self, payload: bytes) -> Answer:
        """Send the request *payload*."""
        body = payload
        if self._is_gzip:
            body = await asyncio.to_thread(gzip.compress, payload, _GZIP_LEVEL)
        try:
            # A body as a file, because bytes would be written at once.
            async with self._session.post(
                self._url,
                data=io.BytesIO(body),
                headers=self._headers,
                allow_redirects=False,
            ) as response:
                return http_answer(
                    response.status,
                    retry_after=response.headers.get("Retry-After"),
                    content_type=response.headers.get("Content-Type", ""),
                    content=await _content(response),
                )
        except TimeoutError:
            return Answer(Meaning.DOUBTFUL, "it did not answer in time")
        except (aiohttp.ClientError, OSError) as error:
            if _is_broken_off(error):
                return Answer(Meaning.DOUBTFUL, "it broke off the connection")
            return Answer(Meaning.RETRY, _unreachable(error))
        except Exception as error:  # nothing that a backend does may end the process
            return Answer(Meaning.DOUBTFUL, f"sending to it failed ({type(error).__name__})")

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def http_url(endpoint: str) -> URL:
    """Give the URL for traces; a query stays where it belongs."""
    url = URL(endpoint)
    path = url.path.rstrip("/")
    return url if path.endswith(_PATH) else url.with_path(path + _PATH, keep_query=True)


async def _content(response: aiohttp.ClientResponse) -> bytes:
    """Read the answer's body; nothing where it is too long, too slow or not readable.

    Its status is known already, and decides without it.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            async for part in response.content.iter_any():
                body += part
                if len(body) > _ANSWER_MAX_BYTES:
                    return b""
        encoding = response.headers.get("Content-Encoding", "")
        return decompress(bytes(body), encoding, _ANSWER_MAX_BYTES)
    except (aiohttp.ClientError, OSError, TimeoutError, PermanentError):
        return b""


def http_answer(
    status: int, *, retry_after: str | None = None, content_type: str = "", content: bytes = b""
) -> Answer:
    """Say what an HTTP answer means (OTLP specification, section OTLP/HTTP Response).

    The specification gives up at every other status than the four that it lists. Here nothing is
    given up for a status that says nothing about the request.
    """
    if 200 <= status < 300:
        return _taken(content, content_type)
    meaning = _HTTP_MEANINGS.get(status)
    if meaning is None:
        meaning = Meaning.DOUBTFUL if 500 <= status < 600 else Meaning.WAIT
    return Answer(
        meaning,
        f"it answered {status}",
        _seconds(retry_after),
        said=_said_by_http(content, content_type),
    )


def _seconds(retry_after: str | None) -> float:
    """Read Retry-After: seconds, or a date."""
    if not retry_after:
        return 0.0
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return _bounded(seconds)


def _bounded(seconds: float) -> float:
    """Give what is waited when a backend asks for *seconds*; nothing for what is no number."""
    return min(max(seconds, 0.0), _MAX_DELAY_SECONDS) if seconds == seconds else 0.0


_GRPC_MEANINGS = {
    grpc.StatusCode.ABORTED: Meaning.RETRY,
    grpc.StatusCode.CANCELLED: Meaning.RETRY,
    grpc.StatusCode.DATA_LOSS: Meaning.RETRY,
    grpc.StatusCode.DEADLINE_EXCEEDED: Meaning.DOUBTFUL,
    grpc.StatusCode.INTERNAL: Meaning.DOUBTFUL,
    grpc.StatusCode.INVALID_ARGUMENT: Meaning.BAD,
    grpc.StatusCode.OUT_OF_RANGE: Meaning.RETRY,
    grpc.StatusCode.UNAVAILABLE: Meaning.RETRY,
    grpc.StatusCode.UNKNOWN: Meaning.DOUBTFUL,
}


@dataclass(slots=True, eq=False)
class _Link:
    """A channel and how many calls are on it."""

    channel: grpc.aio.Channel
    export: Any
    calls: int = field(default=0)


class GrpcClient:
    """OTLP/gRPC."""

    def __init__(
        self, endpoint: str, headers: dict[str, str], *, is_gzip: bool, timeout_seconds: float
    ) -> None:
        self._is_secure, self._target = grpc_target(endpoint)
        self._metadata = tuple((name.lower(), value) for name, value in headers.items())
        self._compression = grpc.Compression.Gzip if is_gzip else grpc.Compression.NoCompression
        self._timeout_seconds = timeout_seconds
        self._link = self._connect()

    def _connect(self) -> _Link:
        channel = (
            grpc.aio.secure_channel(self._target, grpc.ssl_channel_credentials(), _GRPC_OPTIONS)
            if self._is_secure
            else grpc.aio.insecure_channel(self._target, _GRPC_OPTIONS)
        )
        # No serializer: bytes go as they are.
        export = channel.unary_unary(_METHOD, request_serializer=None, response_deserializer=None)
        return _Link(channel, export)

    async def send(self, payload: bytes) -> Answer:
        """Send the request *payload*."""
        link = self._link
        link.calls += 1
        try:
            content = await link.export(
                payload,
                timeout=self._timeout_seconds,
                metadata=self._metadata,
                compression=self._compression,
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and link is self._link:
                # The connection may be dead without having said so, for a quarter of an hour.
                self._link = self._connect()
            return grpc_answer(
                error.code(),
                delay_seconds=_delay(error),
                said=error.details() or "",
                payload_bytes=len(payload),
            )
        except Exception as error:  # nothing that a backend does may end the process
            return Answer(Meaning.DOUBTFUL, f"sending to it failed ({type(error).__name__})")
        finally:
            link.calls -= 1
            if link is not self._link and not link.calls:
                await link.channel.close(None)
        return _taken(content, PROTOBUF)

    async def close(self) -> None:
        """Close the connections."""
        await self._link.channel.close(None)


def grpc_target(endpoint: str) -> tuple[bool, str]:
    """Say whether *endpoint* is encrypted, and give its host and port.

    Raises ValueError for what gRPC has no place for.
    """
    url = URL(endpoint)
    if url.user or url.password or url.path.strip("/") or url.query_string:
        raise ValueError("by gRPC an endpoint is a scheme, a host and a port, nothing more")
    port = url.explicit_port or GRPC_PORTS[url.scheme]
    host = f"[{url.host}]" if url.host and ":" in url.host else url.host
    return url.scheme == "https", f"{host}:{port}"


def grpc_answer(
    code: grpc.StatusCode,
    *,
    delay_seconds: float | None = None,
    said: str = "",
    payload_bytes: int = _NEVER_TOO_LARGE_BYTES,
) -> Answer:
    """Say what a gRPC status means; *delay_seconds* is None where no RetryInfo came along."""
    meaning = _GRPC_MEANINGS.get(code, Meaning.WAIT)
    if _ANSWER_TOO_LONG in said:
        return Answer(Meaning.DONE)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        # With RetryInfo it is overload. Without, it should be the size, but servers say it, too,
        # when they have too much to do.
        is_overload = delay_seconds is not None or payload_bytes < _NEVER_TOO_LARGE_BYTES
        meaning = Meaning.RETRY if is_overload else Meaning.TOO_LARGE
    return Answer(meaning, f"it answered {code.name}", delay_seconds or 0.0, said=_short(said))


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
    return _bounded(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)


def _taken(content: bytes, content_type: str) -> Answer:
    """Read how many spans were not taken; an answer that is no OTLP says nothing of it."""
    rejected: Any = 0
    said = ""
    kind = media_type(content_type)
    if kind in ("", PROTOBUF):
        with suppress(DecodeError):
            partial = ExportTraceServiceResponse.FromString(content).partial_success
            rejected, said = partial.rejected_spans, partial.error_message
    elif kind == JSON:
        with suppress(ValueError, TypeError, AttributeError):
            found = orjson.loads(content).get("partialSuccess") or {}
            rejected, said = int(found.get("rejectedSpans") or 0), found.get("errorMessage") or ""
    return Answer(Meaning.DONE, rejected_spans=max(0, int(rejected)), said=_short(said))


def _said_by_http(content: bytes, content_type: str) -> str:
    """Give the message of a ``google.rpc.Status``, else the body as text."""
    if media_type(content_type) == PROTOBUF:
        with suppress(DecodeError):
            return _short(Status.FromString(content).message)
        return ""
    return _short(content[: _MAX_SAID_CHARACTERS * 4].decode("utf-8", "replace"))


def _short(said: object) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in str(said)[:1000])
    return " ".join(text.split())[:_MAX_SAID_CHARACTERS]


def _is_broken_off(error: BaseException) -> bool:
    """Say whether there was a connection, and it ended without an answer."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return False
    return isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError) or (
        isinstance(error, OSError) and error.errno in (errno.ECONNRESET, errno.EPIPE)
    )


def _unreachable(error: BaseException) -> str:
    said = None
    if isinstance(error, OSError):
        # Names that are not found have numbers of their own.
        number = error.errno or 0
        said = os.strerror(number) if number > 0 else error.strerror
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        said = "its certificate is not trusted"
    elif isinstance(error, aiohttp.ClientSSLError):
        said = "TLS failed"
    return f"it cannot be reached ({said or type(error).__name__})"
