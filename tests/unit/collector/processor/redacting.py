"""Every detector as one redaction, and what it makes of a text."""

from __future__ import annotations

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracequill_collector.processor.detectors import NAMES
from tracequill_collector.processor.redact import Redaction

ALL = Redaction(detectors=NAMES)


def redacted(text: str, redaction: Redaction = ALL) -> str:
    """Give *text* redacted."""
    return redaction.text(text, set())


def only_value(span: Span) -> AnyValue:
    """Give the value of the first attribute."""
    return span.attributes[0].value
