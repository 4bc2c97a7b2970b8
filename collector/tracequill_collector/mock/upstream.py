"""The mock upstream as one object: a request goes in, status, headers and chunks come out."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MockResponse:
    """What the vendor would have sent, without hop-by-hop headers."""

    status: int
    headers: list[tuple[str, str]]
    chunks: AsyncIterator[bytes]
    """One chunk for a plain answer, one for each event of a stream."""


class MockUpstream:
    """OpenAI under ``/v1/…`` and Bedrock under ``/model/…``, answering from a small book."""

    def __init__(
        self,
        latency_seconds: float = 0,
        chunk_seconds: float = 0,
        error_share: float = 0,
        requests_per_second: float = 0,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._latency_seconds = latency_seconds
        self._chunk_seconds = chunk_seconds
        self._error_share = error_share
        self._requests_per_second = requests_per_second
        self._clock = clock
        self._monotonic = monotonic

    async def handle(
        self, method: str, raw_path: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> MockResponse:
        """Answer one request as the vendor would; never raises for anything in the request.

        *raw_path* is the path at the vendor as it was sent, ``%3A`` and ``%2F`` kept, with the
        query if there was one.
        """
        raise NotImplementedError
