"""OTLP trace requests: decompressed, parsed, their ids checked. No input or output."""

from tracequill_collector.otlp.cost import reading_bytes
from tracequill_collector.otlp.request import (
    JSON,
    PROTOBUF,
    OversizeError,
    RejectedSpan,
    UnsupportedError,
    all_spans,
    count_spans,
    decompress,
    media_type,
    parse_traces,
    rejected_spans,
    span_problem,
    to_json,
)

__all__ = [
    "JSON",
    "PROTOBUF",
    "OversizeError",
    "RejectedSpan",
    "UnsupportedError",
    "all_spans",
    "count_spans",
    "decompress",
    "media_type",
    "parse_traces",
    "reading_bytes",
    "rejected_spans",
    "span_problem",
    "to_json",
]
