"""What a receiver has to know about a request before it answers. Pure: no input or output.

Decompressed bytes come in, counts and a sentence for the sender go out. The processor runs the same
parsing and the same check of ids (``otlp``), and dead-letters the spans that are counted here.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracequill_collector.otlp import (
    OversizeError,
    count_spans,
    parse_traces,
    rejected_spans,
)

# Each is a sentence; one request may hold thousands of different ones.
_REASONS_SHOWN = 5

# All stages hold a request whole. With 64 MiB, the spans of this many are smaller than any real.
_SPANS_MAX = 500_000


@dataclass(frozen=True, slots=True)
class Checked:
    """What is to be said about a request that could be parsed."""

    span_count: int
    rejected_count: int
    message: str
    """Why spans are rejected, for the sender; empty when none is."""


def check(payload: bytes, content_type: str) -> Checked:
    """Parse and check a decompressed request; a PermanentError says why it cannot be taken."""
    request = parse_traces(payload, content_type)
    span_count = count_spans(request)
    if span_count > _SPANS_MAX:
        raise OversizeError(
            f"the request has {span_count} spans, more than {_SPANS_MAX}. Send smaller batches."
        )
    # Counted, not collected: there may be millions.
    rejected_count = 0
    reasons: set[str] = set()
    for _, reason in rejected_spans(request):
        rejected_count += 1
        if len(reasons) < _REASONS_SHOWN:
            reasons.add(reason)
    message = ""
    if rejected_count:
        message = (
            f"{rejected_count} of {span_count} spans are kept as dead letters: "
            f"{' '.join(sorted(reasons))}"
        )
    return Checked(span_count, rejected_count, message)
