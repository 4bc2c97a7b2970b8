"""The span that the application's own instrumentor writes: a case enters, span and exchange leave.

The real clients and the real OpenInference instrumentors; only the upstream is ours: it answers
every call with what the case says, and keeps what it was sent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from openinference.instrumentation.anthropic import AnthropicInstrumentor
from openinference.instrumentation.bedrock import BedrockInstrumentor
from openinference.instrumentation.google_genai import GoogleGenAIInstrumentor
from openinference.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.exchange_cases import Case
from tests.integration.sdk.anthropic_application import AnthropicApplication
from tests.integration.sdk.bedrock_agent_application import BedrockAgentApplication
from tests.integration.sdk.bedrock_application import BedrockApplication
from tests.integration.sdk.gemini_application import GeminiApplication
from tests.integration.sdk.openai_application import OpenAIApplication
from tests.integration.sdk.sagemaker_application import SageMakerApplication
from tests.integration.sdk.upstream import Application, Upstream, serve
from tracequill_collector.exchange import Exchange

_INSTRUMENTORS = (
    OpenAIInstrumentor,
    AnthropicInstrumentor,
    BedrockInstrumentor,
    GoogleGenAIInstrumentor,
)


class Applications:
    """An application for each vendor, traced by its instrumentor."""

    def __init__(
        self,
        upstream: Upstream,
        applications: Sequence[Application],
        exporter: InMemorySpanExporter,
    ) -> None:
        self.upstream = upstream
        self._exporter = exporter
        self._applications = {
            vendor: application for application in applications for vendor in application.vendors
        }

    def run(self, case: Case) -> tuple[list[ReadableSpan], Exchange]:
        """Make the call of *case*; give the instrumentor's spans, parents first, and the exchange
        that crossed.
        """
        self.upstream.case = case
        self.upstream.method = ""
        self._exporter.clear()
        # What the upstream answers may be an error, which is in the span as well.
        with contextlib.suppress(Exception):
            self._applications[case.vendor].call(case)
        spans = _parents_first(self._exporter.get_finished_spans())
        upstream = self.upstream
        assert upstream.method, "the application made no call"
        exchange = replace(
            case.exchange(),
            method=upstream.method,
            path=upstream.path,
            request_headers=tuple(upstream.headers),
            request_body=upstream.body,
            request_body_bytes=len(upstream.body),
        )
        return spans, exchange


def _parents_first(finished: Sequence[ReadableSpan]) -> list[ReadableSpan]:
    """Give one tree of spans, which end after those below them, in the order of its steps.

    What no instrumentor knows has none.
    """
    below: dict[int, list[ReadableSpan]] = {}
    for span in finished:
        below.setdefault(span.parent.span_id if span.parent else 0, []).append(span)

    def walk(parent_id: int) -> Iterator[ReadableSpan]:
        for span in below.get(parent_id, ()):
            yield span
            yield from walk(span.context.span_id)

    spans = list(walk(0))
    assert len(below.get(0, [])) <= 1
    assert len(spans) == len(finished)
    return spans


@contextlib.contextmanager
def every_application(upstream: Upstream) -> Iterator[Sequence[Application]]:
    """Give an application of each kind before *upstream*; traced if instrumentors are on."""
    openai = OpenAIApplication(upstream)
    with serve(upstream) as url, contextlib.closing(GeminiApplication(url)) as gemini:
        yield (
            openai,
            AnthropicApplication(upstream),
            BedrockApplication(url, openai),
            BedrockAgentApplication(url),
            SageMakerApplication(url),
            gemini,
        )


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
        with every_application(upstream) as made:
            yield Applications(upstream, made, exporter)
    finally:
        for instrumentor in instrumentors:
            instrumentor.uninstrument()
        provider.shutdown()
