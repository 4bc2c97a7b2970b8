"""Recorded exchanges: a file or folder enters, exchanges leave.

A file is JSON Lines, each an object with ``method``, ``path``, ``request_body``, ``status``,
``content_type`` and ``response_body``; a folder holds a JSON file for each exchange, as
``tests/data/exchanges/README.md`` describes it. It does not know what the bodies say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracequill_collector.errors import StartError
from tracequill_collector.mock.case_body import encode_body

_FAULTS = (AttributeError, KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class RecordedExchange:
    """What was asked once, and what was answered."""

    name: str
    method: str
    path: str
    """The raw path at the vendor, with the query."""
    request_body: bytes
    status: int
    headers: list[tuple[str, str]]
    response_body: bytes


def read_recording(place: Path) -> list[RecordedExchange]:
    """Read all exchanges at *place*; StartError says what cannot be read and why."""
    try:
        exchanges = list(_of_folder(place) if place.is_dir() else _of_file(place))
    except OSError as error:
        raise StartError(f"{place} cannot be read ({error.strerror}).") from None
    if not exchanges:
        raise StartError(
            f"{place} holds no exchange. Name a .jsonl file or a folder of .json files."
        )
    return exchanges


def _of_file(place: Path) -> Iterator[RecordedExchange]:
    with place.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _checked(f"{place} line {number}", line, _of_line)


def _of_folder(place: Path) -> Iterator[RecordedExchange]:
    for path in sorted(place.glob("*.json")):
        yield _checked(str(path), path.read_text(encoding="utf-8"), _of_case)


def _checked(name: str, text: str, read: Any) -> RecordedExchange:
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            raise TypeError("it is no JSON object")
        exchange: RecordedExchange = read(name, value)
        return exchange
    except _FAULTS as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise StartError(f"{name} is no recorded exchange: {reason}.") from None


def _of_line(name: str, line: dict[str, Any]) -> RecordedExchange:
    return RecordedExchange(
        name=str(line.get("id", name)),
        method=_text(line["method"]),
        path=_text(line["path"]),
        request_body=encode_body(line.get("request_body") or {}),
        status=int(line["status"]),
        headers=_headers(line["content_type"], line.get("response_headers") or {}),
        response_body=encode_body(line.get("response_body") or {}),
    )


def _of_case(name: str, case: dict[str, Any]) -> RecordedExchange:
    request, response = case["request"], case["response"]
    return RecordedExchange(
        name=Path(name).stem,
        method=_text(request.get("method", "POST")),
        path=_text(request["path"]),
        request_body=encode_body(request.get("body") or {}),
        status=int(response["status"]),
        headers=_headers(response["content_type"], response.get("headers") or {}),
        response_body=encode_body(response.get("body") or {}),
    )


def _headers(content_type: Any, others: dict[str, Any]) -> list[tuple[str, str]]:
    named = [("content-type", content_type)] if content_type else []
    return [(_text(name), _text(value)) for name, value in (*named, *others.items())]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value
