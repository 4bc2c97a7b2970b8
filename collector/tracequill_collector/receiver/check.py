"""What a receiver has to know about a request before it answers. Pure: no input or output.

Decompressed bytes come in, counts and a sentence for the sender go out. The processor runs the same
parsing and the same check of ids (``otlp``), and dead-letters the spans that are counted here.
"""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracequill_collector.otlp import count_spans, parse_traces, rejected_spans

# Each is a sentence; one request may hold thousands of different ones.
_REASONS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that could be parsed, and what is to be said about it."""

    request: ExportTraceServiceRequest
    span_count: int
    rejected_count: int
    message: str
    """Why spans are rejected, for the sender; empty when none is."""


def check(payload: bytes, content_type: str) -> Checked:
    """Parse and check a decompressed request; a PermanentError says why it cannot be parsed."""
    request = parse_traces(payload, content_type)
    span_count = count_spans(request)
    rejected = rejected_spans(request)
    message = ""
    if rejected:
        reasons = sorted({item.reason for item in rejected})[:_REASONS_SHOWN]
        message = (
            f"{len(rejected)} of {span_count} spans are kept as dead letters: {' '.join(reasons)}"
        )
    return Checked(request, span_count, len(rejected), message)
