"""The one TracerProvider of ``register()``: it stays the same object while its destination changes.

Instrumentors and clients keep the tracer that they were given once; here each new span asks which
destination holds now. So ``register()`` may be called again, in a notebook or after a change of
project, and no client loses its tracing.
"""

from __future__ import annotations

# The SDK detects resources anew in a forked child, on a thread pool, whose lock is made free
# there by a hook of this module. Hooks run in the order of registration, so its must come first:
# loaded after the first provider, the child waits for ever.
import concurrent.futures.thread  # noqa: F401
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from openinference.instrumentation import OITracer, TraceConfig
from openinference.instrumentation import TracerProvider as OpenInferenceTracerProvider
from openinference.semconv.resource import ResourceAttributes
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, sampling
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, SpanKind
from opentelemetry.util.types import Attributes

if TYPE_CHECKING:
    from opentelemetry.util._decorator import _AgnosticContextManager


class RandomIds(IdGenerator):
    """Ids from the operating system's randomness.

    OpenTelemetry's own come from the ``random`` module: an application that seeds it would give
    every run the same trace ids, and their spans would fall into one trace.
    """

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def generate_span_id(self) -> int:
        """Give 8 random bytes that are not all zero."""
        return self._random.getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        """Give 16 random bytes that are not all zero."""
        return self._random.getrandbits(128) or 1

    def is_trace_id_random(self) -> bool:
        """Tell OpenTelemetry to set the flag for it."""
        return True


class KeepEverySpan(sampling.Sampler):
    """Records every span, whatever another provider decided for the trace around it.

    A trace that the application's own provider leaves out stays left out for that provider: our
    span is recorded without the sampled flag, so the spans below it decide as before.
    """

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: trace.TraceState | None = None,
    ) -> sampling.SamplingResult:
        """Record; and pass the parent's sampled flag and state on."""
        parent = trace.get_current_span(parent_context).get_span_context()
        if not parent.is_valid or parent.trace_flags.sampled:
            decision = sampling.Decision.RECORD_AND_SAMPLE
        else:
            decision = sampling.Decision.RECORD_ONLY
        state = parent.trace_state if parent.is_valid else None
        return sampling.SamplingResult(decision, attributes, state)

    def get_description(self) -> str:
        """Name it in OpenTelemetry's way."""
        return "KeepEverySpan"


def project_resource(project_name: str) -> Resource:
    """Give the resource that names the project; ``OTEL_RESOURCE_ATTRIBUTES`` apply as well."""
    return Resource.create({ResourceAttributes.PROJECT_NAME: project_name})


class FollowingTracer(trace.Tracer):
    """A tracer whose spans belong to the destination that holds when they start."""

    def __init__(self, provider: TracequillProvider, scope: Mapping[str, Any]) -> None:
        self._provider = provider
        self._scope = scope
        self._found: tuple[SdkTracerProvider, trace.Tracer] | None = None

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """Start a span now and here; one that records nothing while nothing is registered."""
        return self._tracer().start_span(
            name,
            context=context,
            kind=kind,
            attributes=attributes,
            links=links,
            start_time=start_time,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        )

    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> _AgnosticContextManager[trace.Span]:
        """Start a span and make it the parent of those that start inside."""
        return self._tracer().start_as_current_span(
            name,
            context=context,
            kind=kind,
            attributes=attributes,
            links=links,
            start_time=start_time,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
            end_on_exit=end_on_exit,
        )

    def _tracer(self) -> trace.Tracer:
        current = self._provider.current
        if current is None or self._scope["instrumenting_module_name"].startswith(
            self._provider.silent_scopes
        ):
            return trace.NoOpTracer()
        found = self._found
        if found is None or found[0] is not current:
            # The SDK's tracer, not OpenInference's: that one already wraps this one.
            found = (current, SdkTracerProvider.get_tracer(current, **self._scope))
            self._found = found
        return found[1]


class TracequillProvider(OpenInferenceTracerProvider):
    """OpenInference's TracerProvider (10,000 attributes a span, masking) with a movable end."""

    def __init__(self, id_generator: IdGenerator | None = None) -> None:
        # The end of the process is register()'s to handle, within a bounded time.
        super().__init__(
            sampler=KeepEverySpan(),
            resource=Resource.get_empty(),
            id_generator=id_generator or RandomIds(),
            shutdown_on_exit=False,
        )
        self._added: list[SpanProcessor] = []
        self.current: SdkTracerProvider | None = None
        self.silent_scopes: tuple[str, ...] = ()
        """Tracers whose names begin so record nothing: others make spans of the same calls."""

    def follow(self, resource: Resource, processor: SpanProcessor) -> None:
        """Let spans that start from now on carry *resource* and end in *processor*."""
        current = OpenInferenceTracerProvider(
            sampler=self.sampler,
            resource=resource,
            id_generator=self.id_generator,
            shutdown_on_exit=False,
        )
        for one in (processor, *self._added):
            current.add_span_processor(one)
        self.current = current

    def rest(self) -> None:
        """Let spans record nothing until ``follow`` is called again."""
        self.current = None
        self._added.clear()

    @property
    def resource(self) -> Resource:
        """The resource of the spans that start now."""
        return self._resource if self.current is None else self.current.resource

    def get_tracer(  # type: ignore[override]  # an OITracer wraps a Tracer, it is none
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> OITracer:
        """Give a tracer that stays valid over every later ``register()``."""
        scope = {
            "instrumenting_module_name": instrumenting_module_name,
            "instrumenting_library_version": instrumenting_library_version,
            "schema_url": schema_url,
            "attributes": attributes,
        }
        return OITracer(FollowingTracer(self, scope), config=TraceConfig())

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Give every span to *span_processor* as well, now and after the next ``register()``."""
        self._added.append(span_processor)
        if self.current is not None:
            self.current.add_span_processor(span_processor)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait until what has ended so far is delivered; False when time ran out."""
        return self.current is None or self.current.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Deliver what waits, within a bounded time, and record nothing more."""
        current = self.current
        self.rest()
        if current is not None:
            current.shutdown()
