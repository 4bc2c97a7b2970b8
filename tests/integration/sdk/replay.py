"""The span that the application's own instrumentor writes: a case enters, span and exchange leave.

The real clients and the real OpenInference instrumentors; only the upstream is ours: it answers
every call with what the case says, and keeps what it was sent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from openinference.instrumentation.bedrock import BedrockInstrumentor
from openinference.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.exchange_cases import Case
from tests.integration.sdk.bedrock_application import BedrockApplication
from tests.integration.sdk.openai_application import OpenAIApplication
from tests.integration.sdk.upstream import Application, Upstream, serve
from tracequill_collector.exchange import Exchange

_INSTRUMENTORS = (OpenAIInstrumentor, BedrockInstrumentor)


class Applications:
    """An application for each vendor, traced by its instrumentor."""

    def __init__(
        self,
        upstream: Upstream,
        applications: Sequence[Application],
        exporter: InMemorySpanExporter,
    ) -> None:
        self._upstream = upstream
        self._exporter = exporter
        self._applications = {
            vendor: application for application in applications for vendor in application.vendors
        }

    def run(self, case: Case) -> tuple[ReadableSpan, Exchange]:
        """Make the call of *case*; give the instrumentor's span and the exchange that crossed."""
        self._upstream.case = case
        self._exporter.clear()
        # What the upstream answers may be an error, which is in the span as well.
        with contextlib.suppress(Exception):
            self._applications[case.vendor].call(case)
        (span,) = self._exporter.get_finished_spans()
        upstream = self._upstream
        exchange = replace(
            case.exchange(),
            method=upstream.method,
            path=upstream.path,
            request_headers=tuple(upstream.headers),
            request_body=upstream.body,
            request_body_bytes=len(upstream.body),
        )
        return span, exchange


@contextlib.contextmanager
def applications() -> Iterator[Applications]:
    """Give traced applications and the upstream behind them."""
    upstream = Upstream()
    exporter = InMemorySpanExporter()
    provider = TracerProvider(
        span_limits=SpanLimits(max_span_attributes=10_000, max_attributes=10_000)
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentors = [instrumentor() for instrumentor in _INSTRUMENTORS]
    for instrumentor in instrumentors:
        instrumentor.instrument(tracer_provider=provider)
    try:
        with serve(upstream) as url:
            yield Applications(
                upstream, (OpenAIApplication(upstream), BedrockApplication(url)), exporter
            )
    finally:
        for instrumentor in instrumentors:
            instrumentor.uninstrument()
        provider.shutdown()
