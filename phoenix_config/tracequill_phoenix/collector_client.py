"""Sends OTLP requests to our collector's HTTP receiver, and gives its answers.

Knows an address. What is in a request it does not know.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict

# Connecting happens on one machine or in one network. An answer comes after fdatasync, which a
# busy disk may hold up for seconds; senders of OTLP give up after 10 s by default.
_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 30.0
# An answer is a few bytes; a stray server that streams for ever must not fill our memory.
_ANSWER_MAX_BYTES = 1024 * 1024
# Headers that belong to one connection (RFC 9110 7.6.1), and those that the client sets anew.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

Headers = Iterable[tuple[str, str]]


class CollectorAwayError(Exception):
    """The collector did not answer; the same request may be sent again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the collector said."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class CollectorClient:
    """One connection pool to ``{base_url}/v1/traces``; usable between ``open`` and ``close``."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the pool, on the running event loop."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=_CONNECT_SECONDS, sock_read=_ANSWER_SECONDS
            ),
            # Bytes in are bytes out: nothing is added, nothing is unpacked.
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post_traces(self, body: bytes | AsyncIterable[bytes], headers: Headers) -> Answer:
        """Send *body* with the end-to-end ones of *headers*, and give the answer.

        Raises CollectorAwayError when there is none. Errors of *body* itself pass unchanged.
        """
        try:
            async with self._open_session().post(
                f"{self.base_url}/v1/traces",
                data=body,
                headers=CIMultiDict(end_to_end(headers)),
                allow_redirects=False,
            ) as response:
                content = await response.content.read(_ANSWER_MAX_BYTES)
                while not response.content.at_eof() and len(content) < _ANSWER_MAX_BYTES:
                    content += await response.content.read(_ANSWER_MAX_BYTES - len(content))
                return Answer(response.status, end_to_end(response.headers.items()), bytes(content))
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as error:
            raise CollectorAwayError(
                f"the collector at {self.base_url} does not answer: {error or type(error).__name__}"
            ) from error

    async def is_ready(self) -> bool:
        """Whether the collector says that it takes work, within a second."""
        try:
            async with self._open_session().get(
                f"{self.base_url}/readyz", timeout=aiohttp.ClientTimeout(total=1.0)
            ) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("CollectorClient is used before open() or after close()")
        return self._session


def end_to_end(headers: Headers) -> list[tuple[str, str]]:
    """Give *headers* without those that are meant for one connection only."""
    pairs = list(headers)
    named = {
        token.strip().lower()
        for name, value in pairs
        if name.lower() == "connection"
        for token in value.split(",")
    }
    return [(name, value) for name, value in pairs if name.lower() not in _HOP_BY_HOP | named]
