"""One request to a mock upstream with a fixed clock, and its answer read whole."""

from __future__ import annotations

from typing import Any

import orjson

from tracequill_collector.mock import MockUpstream

NOW = 1_767_225_600.0


class Got:
    """An answer: status, headers by name, and the chunks as they came."""

    def __init__(self, status: int, headers: list[tuple[str, str]], chunks: list[bytes]) -> None:
        self.status = status
        self.headers = dict(headers)
        self.chunks = chunks

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The JSON of all server-sent events, without the closing [DONE]."""
        data = [
            line.removeprefix(b"data: ")
            for chunk in self.chunks
            for line in chunk.splitlines()
            if line.startswith(b"data: ")
        ]
        return [orjson.loads(item) for item in data if item != b"[DONE]"]


def fixed_upstream(**options: Any) -> MockUpstream:
    return MockUpstream(**options, clock=lambda: NOW)


async def ask(
    path: str,
    fields: Any = None,
    *,
    upstream: MockUpstream | None = None,
    method: str = "POST",
    headers: list[tuple[str, str]] | None = None,
    body: bytes | None = None,
) -> Got:
    sent = body if body is not None else orjson.dumps(fields) if fields is not None else b""
    response = await (upstream or fixed_upstream()).handle(method, path, headers or [], sent)
    return Got(response.status, response.headers, [chunk async for chunk in response.chunks])
