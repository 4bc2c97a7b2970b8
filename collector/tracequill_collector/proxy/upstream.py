"""The contract between forwarding and what answers: an HTTP server, or the mock in this process.

An upstream gets one request and gives one response whose body comes in chunks. It changes neither
and records nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from tracequill_collector.errors import RetryableError
from tracequill_collector.proxy.headers import RawHeaders, text
from tracequill_collector.proxy.route import Origin
from tracequill_collector.proxy.sigv4 import Scope

ReadBody = Callable[[], Awaitable[bytes]]
"""Gives the next bytes of a request body, and nothing at its end."""

Take = Callable[[bytes], bool]
"""Takes a piece of a response body; False: no more for now."""

BUILT_IN_BODY_MAX_BYTES = 64 * 1024 * 1024


class UpstreamError(RetryableError):
    """The upstream gave no response; *status* is what the caller is told: 502, 503 or 504."""

    def __init__(self, message: str, *, status: int = 502) -> None:
        super().__init__(message)
        self.status = status


class UpstreamCutError(RetryableError):
    """The response ended before it was complete."""


class ClientBodyError(Exception):
    """The request body itself is broken or too large; *status* is what the caller is told."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class UpstreamRequest:
    """One request as it crosses; headers are complete, framing included."""

    method: str
    origin: Origin | None
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    """What has come of the body so far."""
    read_more: ReadBody | None
    """Gives the rest; None when *body* is all."""
    chunked: bool
    scope: Scope | None = None
    """What the request is to be signed for before it goes out; None: it goes as it is."""


class UpstreamResponse(Protocol):
    """One response; the body is read with ``read_now``, then ``read`` until ``at_end``."""

    status: int
    reason: str
    headers: RawHeaders

    @property
    def at_end(self) -> bool:
        """Whether the body is complete and all of it was read."""

    def read_now(self) -> bytes:
        """Give what has already come, perhaps nothing."""

    async def pass_on(self, take: Take) -> None:
        """Give what comes to *take* at once, until the body has ended or *take* wants no more.

        May return before that. What came last is left to be read, and an error to be raised, by
        ``read``. An exception of *take* is raised.
        """

    async def read(self) -> bytes:
        """Wait for more and give it; nothing at the end. UpstreamCutError when it was cut."""

    async def close(self) -> None:
        """Let go of the upstream: nothing more is wanted of this response."""


class Upstream(Protocol):
    """What answers the calls of a route."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send *request*; UpstreamError when no response came, ClientBodyError for its body."""


class BuiltInResponse(Protocol):
    """A response made in this process; ``MockResponse`` is one."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> list[tuple[str, str]]: ...
    @property
    def chunks(self) -> AsyncIterator[bytes]: ...


class BuiltInServer(Protocol):
    """What answers in this process; ``MockUpstream`` is one."""

    async def handle(
        self, method: str, raw_path: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> BuiltInResponse:
        """Answer one request."""


class BuiltInUpstream:
    """An upstream without a socket."""

    def __init__(
        self, server: BuiltInServer, *, body_max_bytes: int = BUILT_IN_BODY_MAX_BYTES
    ) -> None:
        self._server = server
        self._body_max_bytes = body_max_bytes

    async def send(self, request: UpstreamRequest) -> _BuiltInAnswer:
        """Hand the whole request over and give the response."""
        parts = [request.body]
        size = len(request.body)
        while request.read_more and (chunk := await request.read_more()):
            size += len(chunk)
            if size > self._body_max_bytes:
                raise ClientBodyError(
                    f"the built-in upstream takes at most {self._body_max_bytes} bytes.", status=413
                )
            parts.append(chunk)
        headers = [(text(name), text(value)) for name, value in request.headers]
        response = await self._server.handle(request.method, request.path, headers, b"".join(parts))
        return _BuiltInAnswer(response)


class _BuiltInAnswer:
    """A response of this process in the form that forwarding reads."""

    def __init__(self, response: BuiltInResponse) -> None:
        self.status = response.status
        self.reason = _reason(response.status)
        self.headers: RawHeaders = [
            (name.encode("latin-1"), value.encode("utf-8")) for name, value in response.headers
        ]
        self.at_end = False
        self._chunks = response.chunks

    def read_now(self) -> bytes:
        return b""

    async def pass_on(self, take: Take) -> None:
        """Leave all of it to ``read``."""

    async def read(self) -> bytes:
        try:
            async for chunk in self._chunks:
                if chunk:
                    return chunk
        except Exception as error:
            raise UpstreamCutError(f"the built-in upstream failed: {error}.") from error
        self.at_end = True
        return b""

    async def close(self) -> None:
        if (aclose := getattr(self._chunks, "aclose", None)) is not None:
            await aclose()


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
