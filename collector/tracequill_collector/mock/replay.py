"""Replay: a request that was recorded gets the answer that was recorded, streams in pieces.

A request is one that was recorded when method, raw path and body are equal: JSON bodies as JSON,
forms whatever stands between their parts, and in any order of them. Recorded several times, its
answers take turns.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import orjson

from tracequill_collector.mock.bedrock_converse import stream_failure
from tracequill_collector.mock.openai_errors import server_error
from tracequill_collector.mock.recording import RecordedExchange
from tracequill_collector.mock.reply import MockRequest, Reply, compact_json

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_FRAME_LENGTH = struct.Struct(">I")
_BOUNDARY = re.compile(rb"\A--([^\r\n]{1,256})\r\n")
# Written by the server itself.
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive"})


class Replay:
    """The answers of a recording, by request."""

    def __init__(self, exchanges: Sequence[RecordedExchange]) -> None:
        answers: defaultdict[Hashable, list[RecordedExchange]] = defaultdict(list)
        self._bodies: defaultdict[tuple[str, str], list[bytes]] = defaultdict(list)
        for exchange in exchanges:
            place = exchange.method, exchange.path
            answers[*place, _comparable(exchange.request_body)].append(exchange)
            self._bodies[place].append(exchange.request_body)
        self._answers = {key: itertools.cycle(found) for key, found in answers.items()}
        self._count = len(exchanges)

    def find(self, request: MockRequest) -> Reply | None:
        """Give what was answered to *request*, or None when it was not recorded."""
        key = (request.method, request.raw_path, _comparable(request.body))
        if (found := self._answers.get(key)) is None:
            return None
        exchange = next(found)
        headers = [pair for pair in exchange.headers if pair[0].lower() not in _FRAMING]
        chunks, broken_off = _chunks(exchange)
        return Reply(exchange.status, headers, chunks, broken_off)

    def reason(self, request: MockRequest) -> str:
        """Say why *request* has no answer, in one sentence without content."""
        said = f"{request.method} {request.path}"
        bodies = self._bodies.get((request.method, request.raw_path))
        if bodies is None:
            paths = {path.partition("?")[0] for method, path in self._bodies}
            with_others = " with this query" if request.path in paths else ""
            return f"None of the {self._count} recorded exchanges is {said}{with_others}."
        differing = min((_differing(request.body, body) for body in bodies), key=len)
        where = f"; the nearest differs in {', '.join(differing)}" if differing else ""
        times = f"{len(bodies)} time{'s' if len(bodies) > 1 else ''}"
        return f"{said} was recorded {times}, but not with this body{where}."


def other_error(request: MockRequest, reason: str) -> Reply | None:
    """Answer *reason* in the format of a vendor that is only replayed: Google or Ollama."""
    if request.path.startswith("/v1beta") or "x-goog-api-key" in request.headers:
        error: Any = {"code": 404, "message": reason, "status": "NOT_FOUND"}
    elif request.path.startswith("/api/"):
        error = reason
    else:
        return None
    return Reply(404, [("content-type", "application/json")], [compact_json({"error": error})])


def _comparable(body: bytes) -> Hashable:
    try:
        # Sorted, so that the order of fields says nothing.
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        # No JSON, or nested too deeply to be written again.
        pass
    if boundary := _BOUNDARY.match(body):
        return tuple(sorted(body.split(b"--" + boundary[1])))
    return body


def _differing(sent: bytes, recorded: bytes) -> list[str]:
    """Name the fields in which two JSON objects differ; none when they are none."""
    objects: list[dict[str, Any]] = []
    for body in (sent, recorded):
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            return []
        if not isinstance(value, dict):
            return []
        objects.append(value)
    ours, theirs = objects
    absent = object()
    names = ours.keys() | theirs.keys()
    return sorted(name for name in names if ours.get(name, absent) != theirs.get(name, absent))


def _chunks(exchange: RecordedExchange) -> tuple[list[bytes], bytes]:
    """Give a body in the pieces that a server sends, and how it ends when it is broken off."""
    body = exchange.response_body
    kinds = (value for name, value in exchange.headers if name.lower() == "content-type")
    kind = next(kinds, "").partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return list(_events(body)), server_error().event
    if kind in ("application/x-ndjson", "application/jsonl"):
        error = compact_json({"error": server_error().fields["message"]}) + b"\n"
        return body.splitlines(keepends=True), error
    if kind == "application/vnd.amazon.eventstream":
        return list(_frames(body)), stream_failure()
    return [body], b""


def _events(body: bytes) -> Iterator[bytes]:
    start = 0
    for end in _EVENT_END.finditer(body):
        yield body[start : end.end()]
        start = end.end()
    if start < len(body):
        yield body[start:]


def _frames(body: bytes) -> Iterator[bytes]:
    start = 0
    while len(body) - start >= _FRAME_LENGTH.size:
        (length,) = _FRAME_LENGTH.unpack_from(body, start)
        if length < _FRAME_LENGTH.size:
            break
        yield body[start : start + length]
        start += length
    if start < len(body):
        yield body[start:]
