"""Random traces, the same for the same seed, cut into requests that do not care for order."""

from __future__ import annotations

import random

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

_BEGIN_UNIX_NS = 1_770_000_000_000_000_000
_SECOND = 1_000_000_000
_MODELS = ("gpt-4o", "claude-3-5-haiku-latest", "gemini-2.5-pro", "nobody-knows-me", "")
_STATUS_CODES = (
    Status.STATUS_CODE_UNSET,
    Status.STATUS_CODE_OK,
    Status.STATUS_CODE_ERROR,
)
_PROJECTS = ("first", "second", "third")
_DETAILS = ("prompt_details.cache_read", "completion_details.reasoning", "prompt_details.audio")


def generated_requests(
    seed: int, *, traces: int, requests: int, is_settled: bool = False
) -> list[bytes]:
    """Give *traces* as *requests* in a random order: late parents and children, duplicates,
    sessions that come late or change, traces that name several projects.

    *is_settled*: each trace has one project and one session, and duplicates are equal, so that
    the rows are the same in every order.
    """
    chance = random.Random(seed)
    spans = [span for number in range(traces) for span in _trace(chance, seed, number)]
    if is_settled:
        for span in spans:
            _settle(span)
        spans += chance.sample(spans, len(spans) // 2)
    else:
        spans += [_changed(chance, span) for span in chance.sample(spans, len(spans) // 8)]
    chance.shuffle(spans)
    sent = [ExportTraceServiceRequest() for _ in range(requests)]
    for span in spans:
        request = chance.choice(sent)
        project = chance.choices(_PROJECTS, (8, 1, 1))[0]
        if is_settled:
            project = _PROJECTS[_session_number(span) % len(_PROJECTS)]
        request.resource_spans.append(
            ResourceSpans(
                resource=Resource(attributes=[_pair("openinference.project.name", project)]),
                scope_spans=[ScopeSpans(spans=[span])],
            )
        )
    return [request.SerializeToString() for request in sent]


def _trace(chance: random.Random, seed: int, number: int) -> list[Span]:
    trace_id = (seed << 64 | number + 1).to_bytes(16, "big")
    ids = [chance.randbytes(8) for _ in range(chance.randint(1, 12))]
    spans = []
    for place, span_id in enumerate(ids):
        # A parent that comes earlier in the list makes circles impossible.
        parent = chance.choice(ids[:place]) if place else b""
        if chance.random() < 0.05:
            parent = chance.randbytes(8)
        spans.append(_span(chance, trace_id, span_id, parent))
    return spans


def _span(chance: random.Random, trace_id: bytes, span_id: bytes, parent: bytes) -> Span:
    begin = _BEGIN_UNIX_NS + chance.randrange(1000 * _SECOND)
    is_llm = chance.random() < 0.5
    attributes = [_pair("openinference.span.kind", "LLM" if is_llm else "CHAIN")]
    if chance.random() < 0.3:
        attributes.append(_pair("session.id", f"session {chance.randrange(8)}"))
    if is_llm or chance.random() < 0.1:
        attributes.append(_pair("llm.model_name", chance.choice(_MODELS)))
        for name in ("prompt", "completion", "total", *_DETAILS):
            if chance.random() < 0.7:
                attributes.append(_pair(f"llm.token_count.{name}", chance.randrange(400_000)))
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent,
        name="generated",
        start_time_unix_nano=begin,
        end_time_unix_nano=begin + chance.randrange(100 * _SECOND),
        attributes=attributes,
        status=Status(code=chance.choices(_STATUS_CODES, (1, 6, 2))[0]),
    )


def _settle(span: Span) -> None:
    """Let *span* name the session of its trace and no other; every ninth trace has none."""
    others = [pair for pair in span.attributes if pair.key != "session.id"]
    if number := _session_number(span):
        others.append(_pair("session.id", f"session {number}"))
    del span.attributes[:]
    span.attributes.extend(others)


def _session_number(span: Span) -> int:
    return span.trace_id[-1] % 9


def _changed(chance: random.Random, span: Span) -> Span:
    """Give the same span again, sometimes with other times or another session."""
    again = Span.FromString(span.SerializeToString())
    if chance.random() < 0.5:
        again.start_time_unix_nano -= chance.randrange(10 * _SECOND)
        again.attributes.append(_pair("session.id", f"session {chance.randrange(8)}"))
    return again


def _pair(key: str, value: str | int) -> KeyValue:
    if isinstance(value, str):
        return KeyValue(key=key, value=AnyValue(string_value=value))
    return KeyValue(key=key, value=AnyValue(int_value=value))
