from __future__ import annotations

import random

import pytest
from openinference.instrumentation import TracerProvider as OpenInferenceTracerProvider
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import TraceFlags

from tracequill._processor import InlineProcessor
from tracequill._provider import RandomIds, TracequillProvider, project_resource
from tracequill.testing import MemorySender


def follow(provider: TracequillProvider, project: str) -> MemorySender:
    sender = MemorySender()
    provider.follow(project_resource(project), InlineProcessor(sender, "memory"))
    return sender


def project_of(sender: MemorySender) -> set[object]:
    return {span.resource.attributes["openinference.project.name"] for span in sender.spans}


def test_a_tracer_follows_to_the_destination_that_holds() -> None:
    provider = TracequillProvider()
    tracer = trace.get_tracer("scope", "1", provider)

    tracer.start_span("before").end()
    first = follow(provider, "first")
    tracer.start_span("a").end()
    late = tracer.start_span("late")
    second = follow(provider, "second")
    tracer.start_span("b").end()
    late.end()
    provider.shutdown()
    tracer.start_span("after").end()

    assert [span.name for span in first.spans] == ["a", "late"]
    assert [span.name for span in second.spans] == ["b"]
    assert (project_of(first), project_of(second)) == ({"first"}, {"second"})
    scope = second.spans[0].instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.version) == ("scope", "1")


def test_it_is_openinferences_provider_and_keeps_long_chats_whole() -> None:
    provider = TracequillProvider()
    sender = follow(provider, "p")
    attributes = {f"llm.input_messages.{n}.message.content": "x" for n in range(5000)}

    provider.get_tracer("t").start_span("chat", attributes=attributes).end()

    assert isinstance(provider, OpenInferenceTracerProvider)
    assert len(sender.spans[0].attributes or {}) == 5000


def test_spans_nest_as_current_spans() -> None:
    provider = TracequillProvider()
    sender = follow(provider, "p")
    tracer = provider.get_tracer("t")

    with (
        tracer.start_as_current_span("outer", openinference_span_kind="chain") as outer,
        tracer.start_as_current_span("inner"),
    ):
        pass

    inner = sender.spans[0]
    assert inner.parent is not None
    assert inner.parent.span_id == outer.get_span_context().span_id
    assert (sender.spans[1].attributes or {})["openinference.span.kind"] == "CHAIN"


def test_a_processor_of_the_application_gets_every_span_also_after_a_change() -> None:
    provider = TracequillProvider()
    follow(provider, "first")
    added = MemorySender()
    provider.add_span_processor(InlineProcessor(added, "memory"))

    provider.get_tracer("t").start_span("a").end()
    follow(provider, "second")
    provider.get_tracer("t").start_span("b").end()

    assert [span.name for span in added.spans] == ["a", "b"]


def test_a_trace_that_another_provider_leaves_out_is_kept_by_ours_alone() -> None:
    provider = TracequillProvider()
    sender = follow(provider, "p")
    foreign = SdkTracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("theirs")

    with foreign.start_as_current_span("request") as request:
        provider.get_tracer("t").start_span("LLM").end()
    provider.get_tracer("t").start_span("alone").end()

    inside, alone = sender.spans
    assert inside.context.trace_id == request.get_span_context().trace_id
    assert not inside.context.trace_flags & TraceFlags.SAMPLED
    assert alone.context.trace_flags & TraceFlags.SAMPLED


def test_an_application_that_seeds_random_gets_new_trace_ids_all_the_same() -> None:
    seen = set()
    for _ in range(2):
        random.seed(42)
        provider = TracequillProvider()
        follow(provider, "p")
        span = provider.get_tracer("t").start_span("a")
        seen |= {span.get_span_context().trace_id, span.get_span_context().span_id}

    assert len(seen) == 4
    assert RandomIds().is_trace_id_random()


def test_flushing_and_stopping_without_a_destination_does_nothing() -> None:
    provider = TracequillProvider()

    assert provider.force_flush()
    provider.shutdown()


def test_resource_attributes_of_the_environment_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")

    assert project_resource("p").attributes["service.name"] == "shop"
