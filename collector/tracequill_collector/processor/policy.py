"""What is changed in a request before it is stored or sent on: redaction, then limits.

A parsed request enters and is changed in place; counts leave. Without a policy nothing is changed
and nothing is spent. No input or output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from tracequill_collector.processor.limits import Limits
from tracequill_collector.processor.marks import REDACTED_KEY
from tracequill_collector.processor.redact import Redaction

PolicyCounts = Counter[str]
"""How many spans each rule has changed, by the rule's name; what surrounds spans counts once."""


@dataclass(slots=True)
class Applied:
    """What became of a request."""

    counts: PolicyCounts = field(default_factory=PolicyCounts)
    failed: dict[int, str] = field(default_factory=dict)
    """The places of spans that could not be changed, and why: they are empty now."""


class Policy:
    """The rules of one configuration."""

    def __init__(self, redaction: Redaction | None = None, limits: Limits | None = None) -> None:
        self._redaction = redaction
        self._limits = limits

    def apply(self, request: ExportTraceServiceRequest) -> Applied:
        """Change *request* in place."""
        applied = Applied()
        place = 0
        if self._redaction is not None:
            # What this version of the protocol does not know cannot be looked at.
            request.DiscardUnknownFields()
        for resource_spans in request.resource_spans:
            around = self._around(resource_spans, applied.counts)
            for scope_spans in resource_spans.scope_spans:
                problem = self._around(scope_spans, applied.counts) or around
                for span in scope_spans.spans:
                    if failed := problem or self._span(span, applied.counts):
                        applied.failed[place] = failed
                        # Nobody is to have by mistake what is half redacted.
                        span.Clear()
                    place += 1
        return applied

    def text(self, text: str) -> str:
        """Give *text*, which came beside a request, as it may be stored."""
        return text if self._redaction is None else self._redaction.text(text, set())

    def _around(self, holder: ResourceSpans | ScopeSpans, counts: PolicyCounts) -> str:
        """Redact a resource or a scope; give what went wrong."""
        redaction = self._redaction
        if redaction is None:
            return ""

        def redact() -> None:
            hits: set[str] = set()
            url = redaction.text(holder.schema_url, hits)
            if url != holder.schema_url:
                holder.schema_url = url
            if isinstance(holder, ScopeSpans):
                if holder.HasField("scope"):
                    hits |= redaction.around(holder.scope)
            elif holder.HasField("resource"):
                hits |= redaction.around(holder.resource)
            counts.update(hits)

        problem = _problem(redact, "what surrounds the span cannot be redacted")
        if problem:
            holder.ClearField("schema_url")
            if isinstance(holder, ScopeSpans):
                holder.ClearField("scope")
            else:
                holder.ClearField("resource")
        return problem

    def _span(self, span: Span, counts: PolicyCounts) -> str:
        def change() -> None:
            hits: set[str] = set()
            if self._redaction is not None and (hits := self._redaction.span(span)):
                _name(span, hits)
            cut = self._limits.apply(span) if self._limits is not None else ()
            counts.update((*hits, *cut))

        return _problem(change, "the span cannot be redacted or limited")


def _problem(change: Callable[[], None], what: str) -> str:
    """Make the *change*; give in one sentence why it failed, without any of the content."""
    try:
        change()
    except MemoryError:
        raise
    except Exception as error:  # a pure function: it fails on this span every time
        return f"{what}: {type(error).__name__}."
    return ""


def _name(span: Span, hits: set[str]) -> None:
    """Name the rules that hit, beside those of an earlier collector on the way."""
    for pair in span.attributes:
        if pair.key == REDACTED_KEY:
            hits = hits | set(filter(None, pair.value.string_value.split(",")))
            pair.value.string_value = ",".join(sorted(hits))
            return
    span.attributes.add(key=REDACTED_KEY).value.string_value = ",".join(sorted(hits))
