"""What flows between stages, and the one contract they share. No input or output here.

A stage answers in three ways: it returns (done), raises RetryableError (keep it and try again)
or raises PermanentError (dead letter).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class RecordKind(enum.IntEnum):
    """What the payload of a record is."""

    OTLP_TRACES = 1
    """An ``ExportTraceServiceRequest`` as it came, still in its content encoding."""
    EXCHANGE = 2
    """One LLM call that crossed the proxy: request and response (see ``exchange.py``)."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a queue keeps: the bytes as they came, and what is needed to read them.

    ``received_unix_ns`` is wall time and only data; no timer depends on it.
    """

    kind: RecordKind
    received_unix_ns: int
    payload: bytes
    content_type: str = ""
    content_encoding: str = ""
    project_name: str = ""
    """The ``x-project-name`` header or metadata entry; empty when the sender gave none."""


@dataclass(frozen=True, slots=True)
class QueuedRecord:
    """A record and its place in the queue; the first record of a queue has sequence 0."""

    sequence: int
    record: Record


class RecordConsumer(Protocol):
    """The next stage, for records."""

    async def consume(self, record: Record) -> None:
        """Take *record* over; returning means that the caller may forget it."""


@dataclass(slots=True)
class SpanEvent:
    """One event of a span, as Phoenix stores it: ISO time, name, attributes."""

    name: str
    timestamp_unix_ns: int
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Span:
    """One decoded OpenInference span; ids are lower-case hex, attributes are nested."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    span_kind: str
    start_time_unix_ns: int
    end_time_unix_ns: int
    attributes: dict[str, Any]
    events: list[SpanEvent]
    status_code: str
    status_message: str
    project_name: str
    attributes_json: str = ""
    """``attributes`` as JSON, where it was made already; empty where not."""


def nested_value(attributes: Mapping[str, Any], *path: str) -> Any:
    """Give the value at *path* of nested attributes, None where there is none."""
    value: Any = attributes
    for segment in path:
        if not isinstance(value, dict):
            return None
        value = value.get(segment)
    return value


class SpanConsumer(Protocol):
    """The next stage, for decoded spans."""

    async def consume(self, spans: Sequence[Span]) -> None:
        """Store *spans*; returning means that they are committed."""
