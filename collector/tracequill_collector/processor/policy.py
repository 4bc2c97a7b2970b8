"""What is changed in a request before it is stored or sent on: redaction, then limits.

A parsed request enters and is changed in place; counts leave. Without a policy nothing is changed
and nothing is spent. No input or output.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracequill_collector.processor.limits import Limits
from tracequill_collector.processor.redact import Redaction

PolicyCounts = Counter[str]
"""How many spans each rule has changed, by the rule's name."""

REDACTED_KEY = "tracequill.redacted"
"""The attribute of a changed span that names the rules which hit."""


@dataclass(slots=True)
class Applied:
    """What became of a request."""

    counts: PolicyCounts = field(default_factory=PolicyCounts)
    failed: dict[int, str] = field(default_factory=dict)
    """The places of spans that could not be changed, and why: they must go nowhere."""


class Policy:
    """The rules of one configuration."""

    def __init__(self, redaction: Redaction | None = None, limits: Limits | None = None) -> None:
        self._redaction = redaction
        self._limits = limits

    def apply(self, request: ExportTraceServiceRequest) -> Applied:
        """Change *request* in place."""
        applied = Applied()
        place = 0
        for resource_spans in request.resource_spans:
            around: set[str] = set()
            problem = self._around(resource_spans.resource, around)
            for scope_spans in resource_spans.scope_spans:
                problem = self._around(scope_spans.scope, around) or problem
                for span in scope_spans.spans:
                    if failed := problem or self._span(span, applied.counts):
                        applied.failed[place] = failed
                    place += 1
            applied.counts.update(around)
        return applied

    def _around(self, holder: Resource | InstrumentationScope, hits: set[str]) -> str:
        """Redact a resource or a scope; give what went wrong."""
        if self._redaction is None:
            return ""
        try:
            self._redaction.pairs(holder.attributes, hits)
        except Exception as error:  # a pure function: it fails on these attributes every time
            return f"what surrounds the span cannot be redacted: {type(error).__name__}."
        return ""

    def _span(self, span: Span, counts: PolicyCounts) -> str:
        try:
            if self._redaction is not None and (hits := self._redaction.span(span)):
                _name(span, hits)
                counts.update(hits)
            if self._limits is not None:
                counts.update(self._limits.apply(span).keys())
        except Exception as error:  # as above; another span is not harmed
            return f"the span cannot be redacted or limited: {type(error).__name__}."
        return ""


def _name(span: Span, hits: set[str]) -> None:
    """Name the rules that hit, beside those of an earlier collector on the way."""
    for pair in span.attributes:
        if pair.key == REDACTED_KEY:
            hits = hits | set(filter(None, pair.value.string_value.split(",")))
            pair.value.string_value = ",".join(sorted(hits))
            return
    pair = span.attributes.add()
    pair.key = REDACTED_KEY
    pair.value.string_value = ",".join(sorted(hits))
