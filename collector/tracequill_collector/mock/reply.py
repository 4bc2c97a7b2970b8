"""What the vendors' modules are given and what they give back; whole, without input or output."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson

HeaderList = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class MockRequest:
    """One request, with the two facts an answer needs that do not stand in it."""

    method: str
    path: str
    """The raw path, without the query."""
    headers: dict[str, str]
    """By lower-case name; the last of repeated ones."""
    body: bytes
    created_unix_seconds: int
    latency_milliseconds: int
    raw_path: str = ""
    """The raw path with the query."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; a stream is a list of chunks that ``upstream.py`` paces."""

    status: int
    headers: HeaderList
    chunks: list[bytes]
    broken_off: bytes = b""
    """What the vendor sends in the middle of a stream that fails; empty when it is no stream."""


def compact_json(value: Any) -> bytes:
    """JSON as the vendors put it on one line."""
    return orjson.dumps(value)


def pretty_json(value: Any, indent: int = 2) -> bytes:
    """JSON as OpenAI puts it in a plain answer: indented, all signs beyond ASCII escaped."""
    return (json.dumps(value, indent=indent) + "\n").encode()
