"""The mock upstream as one object: a request goes in, status, headers and chunks come out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from tracequill_collector.mock.anthropic import Anthropic, is_anthropic
from tracequill_collector.mock.bedrock import Bedrock
from tracequill_collector.mock.faults import ErrorShare, RateLimit
from tracequill_collector.mock.openai import OpenAI
from tracequill_collector.mock.replay import Replay, other_error
from tracequill_collector.mock.reply import MockRequest, Reply

# A JSON document of a shape that no vendor describes: an array for an object, far too deep, …
_MALFORMED = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)
# What a refused or failed call is told to wait when no rate says it.
_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class MockResponse:
    """What the vendor would have sent, without hop-by-hop headers."""

    status: int
    headers: list[tuple[str, str]]
    chunks: AsyncIterator[bytes]
    """One chunk for a plain answer, one for each event of a stream."""


class MockUpstream:
    """OpenAI and Anthropic under ``/v1/…``, Bedrock under ``/model/…``, from a small book.

    With *replay*, nothing but the answers of a recording, of whatever vendor.
    """

    def __init__(
        self,
        latency_seconds: float = 0,
        chunk_seconds: float = 0,
        error_share: float = 0,
        requests_per_second: float = 0,
        *,
        replay: Replay | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._latency_seconds = latency_seconds
        self._chunk_seconds = chunk_seconds
        self._replay = replay
        self._clock = clock
        self._monotonic = monotonic
        self._rate = RateLimit(requests_per_second)
        self._errors = ErrorShare(error_share)
        self._openai = OpenAI(requests_per_second)
        self._anthropic = Anthropic(requests_per_second)
        self._bedrock = Bedrock()

    async def handle(
        self, method: str, raw_path: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> MockResponse:
        """Answer one request as the vendor would; never raises for anything in the request.

        *raw_path* is the path at the vendor as it was sent, ``%3A`` and ``%2F`` kept, with the
        query if there was one.
        """
        request = MockRequest(
            method=method.upper(),
            path=raw_path.partition("?")[0],
            headers={name.lower(): value for name, value in headers},
            body=body,
            created_unix_seconds=int(self._clock()),
            latency_milliseconds=round(self._latency_seconds * 1000),
            raw_path=raw_path,
        )
        reply = self._reply(request)
        if self._latency_seconds:
            await asyncio.sleep(self._latency_seconds)
        sent = list(reply.headers)
        if not reply.broken_off:
            sent.append(("content-length", str(sum(map(len, reply.chunks)))))
        return MockResponse(reply.status, sent, self._paced(reply.chunks))

    def _reply(self, request: MockRequest) -> Reply:
        delay_seconds = self._rate.delay_seconds(self._monotonic())
        if delay_seconds:
            return self._failure(request, 429, delay_seconds)
        fault = self._errors.next_fault()
        if fault in ("500", "429", "503"):
            return self._failure(request, int(fault), _RETRY_SECONDS)
        reply = self._whole(request)
        if fault == "none":
            return reply
        if not reply.broken_off:
            return self._failure(request, 500, _RETRY_SECONDS)
        first_half = reply.chunks[: len(reply.chunks) // 2]
        return Reply(reply.status, reply.headers, [*first_half, reply.broken_off], reply.broken_off)

    def _whole(self, request: MockRequest) -> Reply:
        vendor = self._vendor(request)
        if self._replay is not None:
            if reply := self._replay.find(request):
                return reply
            reason = self._replay.reason(request)
            return other_error(request, reason) or vendor.unrecorded(request, reason)
        try:
            return vendor.reply(request)
        except _MALFORMED:
            return vendor.malformed(request)

    def _vendor(self, request: MockRequest) -> OpenAI | Anthropic | Bedrock:
        if _is_bedrock(request):
            return self._bedrock
        return self._anthropic if is_anthropic(request) else self._openai

    def _failure(self, request: MockRequest, status: int, delay_seconds: float) -> Reply:
        if _is_bedrock(request):
            return self._bedrock.failure(request, status)
        if is_anthropic(request):
            return self._anthropic.failure(request, status, delay_seconds)
        return self._openai.failure(request, status, delay_seconds)

    async def _paced(self, chunks: list[bytes]) -> AsyncIterator[bytes]:
        for number, chunk in enumerate(chunks):
            if number and self._chunk_seconds:
                await asyncio.sleep(self._chunk_seconds)
            yield chunk


def _is_bedrock(request: MockRequest) -> bool:
    """Which vendor is asked: by path, and elsewhere by how the request is signed."""
    if request.path.startswith("/model/"):
        return True
    signed = request.headers.get("authorization", "").startswith("AWS4-")
    return signed and not request.path.startswith("/v1/")
