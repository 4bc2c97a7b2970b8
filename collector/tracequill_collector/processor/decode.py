"""A record of OTLP traces becomes spans, decoded as Phoenix decodes them.

A Record enters; spans leave, and beside them the spans that cannot be stored, each with its
reason. Knows neither the queue nor a database. One bad span never costs another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2

from tracequill_collector.otlp import (
    RejectedSpan,
    all_spans,
    decompress,
    parse_traces,
    span_problem,
)
from tracequill_collector.pipeline import Record, Span, SpanEvent, nested_value
from tracequill_collector.processor import genai, shapes
from tracequill_collector.processor.attributes import unflatten
from tracequill_collector.processor.policy import Policy, PolicyCounts
from tracequill_collector.processor.sanitize import (
    storable,
    storable_text,
    storable_with_json,
    text_of_bytes,
)

DEFAULT_PROJECT_NAME = "default"

_PROJECT_NAME = "openinference.project.name"

# Attributes whose value is JSON in a string, told by how the key ends.
_JSON_ENDINGS = (
    "document.metadata",
    "llm.prompt_template.variables",
    "metadata",
    "tool.parameters",
)

_TOKEN_COUNTS = frozenset(
    {"llm.token_count.prompt", "llm.token_count.completion", "llm.token_count.total"}
)

_LONG_NUMBER = re.compile(r"[0-9]{19}")

_SPAN_KINDS = frozenset(
    {
        "AGENT",
        "CHAIN",
        "DECISION",
        "EMBEDDING",
        "EVALUATOR",
        "GUARDRAIL",
        "LLM",
        "PROMPT",
        "RERANKER",
        "RETRIEVER",
        "TOOL",
        "UNKNOWN",
    }
)

_STATUS_CODES = {
    trace_pb2.Status.STATUS_CODE_OK: "OK",
    trace_pb2.Status.STATUS_CODE_ERROR: "ERROR",
}

# Phoenix keeps these four of an exception event and no other attribute.
_EXCEPTION_TYPE = "exception.type"
_EXCEPTION_MESSAGE = "exception.message"
_EXCEPTION_ESCAPED = "exception.escaped"
_EXCEPTION_STACKTRACE = "exception.stacktrace"


@dataclass(slots=True)
class Decoded:
    """What a record holds."""

    spans: list[Span] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """Beside ``spans``: the place of each among all spans of the request."""
    rejected: list[RejectedSpan] = field(default_factory=list)
    raw_genai_spans: int = 0
    """Spans whose ``gen_ai.*`` attributes were kept as they came, for want of the converter."""
    policy_counts: PolicyCounts = field(default_factory=PolicyCounts)
    plain_bytes: int = 0
    """The size of the request, decompressed."""


def decode(record: Record, *, max_bytes: int, policy: Policy | None = None) -> Decoded:
    """Decode *record*; PermanentError when it is no trace request of *max_bytes* at most.

    *policy* changes what is decoded; a span to which it cannot be applied is rejected.
    """
    payload = decompress(record.payload, record.content_encoding, max_bytes)
    request = parse_traces(payload, record.content_type)
    decoded = Decoded(plain_bytes=len(payload))
    spoilt: dict[int, str] = {}
    named = record.project_name
    if policy is not None:
        named = policy.text(named)
        applied = policy.apply(request)
        decoded.policy_counts, spoilt = applied.counts, applied.failed
    resource: trace_pb2.ResourceSpans | None = None
    project_name = ""
    for place, (resource_spans, _, otlp_span) in enumerate(all_spans(request)):
        if resource_spans is not resource:
            resource = resource_spans
            project_name = named or _project_name(resource_spans.resource)
        reason = spoilt.get(place) or span_problem(otlp_span)
        if not reason:
            try:
                decoded.spans.append(_decode_span(otlp_span, project_name, decoded))
                decoded.places.append(place)
            except Exception as error:  # a pure function: it fails on this span every time
                reason = f"the span cannot be decoded: {type(error).__name__}."
        if reason:
            decoded.rejected.append(RejectedSpan(place, reason))
    return decoded


def parse_record(record: Record, *, max_bytes: int) -> ExportTraceServiceRequest:
    """Parse the request of *record*; PermanentError when it is none."""
    payload = decompress(record.payload, record.content_encoding, max_bytes)
    return parse_traces(payload, record.content_type)


def request_of_one(
    resource_spans: trace_pb2.ResourceSpans,
    scope_spans: trace_pb2.ScopeSpans,
    span: trace_pb2.Span,
) -> bytes:
    """Give the request that holds *span* alone, with all that surrounds it."""
    resource = resource_spans.resource if resource_spans.HasField("resource") else None
    scope = scope_spans.scope if scope_spans.HasField("scope") else None
    alone = trace_pb2.ScopeSpans(scope=scope, schema_url=scope_spans.schema_url, spans=[span])
    return ExportTraceServiceRequest(
        resource_spans=[
            trace_pb2.ResourceSpans(
                resource=resource, schema_url=resource_spans.schema_url, scope_spans=[alone]
            )
        ]
    ).SerializeToString()


def alone(
    record: Record, places: Collection[int], *, max_bytes: int
) -> Iterator[tuple[int, bytes]]:
    """Yield the spans at *places* of *record* as they came, each in a request of its own."""
    request = parse_record(record, max_bytes=max_bytes)
    for place, surrounded in enumerate(all_spans(request)):
        if place in places:
            yield place, request_of_one(*surrounded)


def _project_name(resource: Resource) -> str:
    for pair in resource.attributes:
        if pair.key == _PROJECT_NAME and pair.value.string_value:
            return storable_text(pair.value.string_value)
    return DEFAULT_PROJECT_NAME


def _decode_span(otlp_span: trace_pb2.Span, project_name: str, decoded: Decoded) -> Span:
    attributes, attributes_json = _decode_attributes(otlp_span.attributes, decoded)
    return Span(
        trace_id=otlp_span.trace_id.hex(),
        span_id=otlp_span.span_id.hex(),
        parent_id=otlp_span.parent_span_id.hex() or None,
        name=storable_text(otlp_span.name),
        span_kind=_span_kind(nested_value(attributes, "openinference", "span", "kind")),
        start_time_unix_ns=otlp_span.start_time_unix_nano,
        end_time_unix_ns=otlp_span.end_time_unix_nano,
        attributes=attributes,
        attributes_json=attributes_json,
        events=[_decode_event(event) for event in otlp_span.events],
        status_code=_STATUS_CODES.get(otlp_span.status.code, "UNSET"),
        status_message=storable_text(otlp_span.status.message),
        project_name=project_name,
    )


def _decode_attributes(pairs: Sequence[KeyValue], decoded: Decoded) -> tuple[dict[str, Any], str]:
    """Give the nested attributes, and their JSON."""
    keys = tuple([pair.key for pair in pairs])
    # Most values are text that is not empty, which needs no question of what it is.
    values = [pair.value.string_value or _decode_value(pair.value) for pair in pairs]
    plan = _plans.get(keys) or _plan(keys)
    if plan is None:
        attributes = _nest_anew(dict(zip(keys, values, strict=True)), decoded)
    else:
        for place in plan.counts:
            values[place] = _as_count(values[place])
        for place in plan.json:
            values[place] = _from_json(values[place])
        if None in values:
            attributes = unflatten(zip(keys, values, strict=True))
        else:
            attributes = plan.nest(values)
    _write_input_as_text(attributes)
    return storable_with_json(attributes)


def _nest_anew(flat: dict[str, Any], decoded: Decoded) -> dict[str, Any]:
    """Nest attributes whose keys are not known as a shape."""
    if any(key.startswith(genai.PREFIX) for key in flat) and not genai.add_openinference(flat):
        decoded.raw_genai_spans += 1
    for key, value in flat.items():
        if key in _TOKEN_COUNTS:
            flat[key] = _as_count(value)
        elif key.endswith(_JSON_ENDINGS):
            flat[key] = _from_json(value)
    return unflatten(flat.items())


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is done with the values of spans whose keys are the same."""

    nest: Callable[[list[Any]], dict[str, Any]]
    counts: tuple[int, ...]
    """The places of token counts."""
    json: tuple[int, ...]
    """The places of JSON in a string."""


_plans: dict[tuple[str, ...], _Plan] = {}


def _plan(keys: tuple[str, ...]) -> _Plan | None:
    """Make the plan for *keys*; None for keys that do not repeat, or that must be looked at."""
    nest = shapes.nest_of(keys)
    if nest is None or any(key.startswith(genai.PREFIX) for key in keys):
        return None
    if len(_plans) >= shapes.MAX_SHAPES:
        _plans.clear()
    plan = _plans[keys] = _Plan(
        nest=nest,
        counts=tuple(place for place, key in enumerate(keys) if key in _TOKEN_COUNTS),
        json=tuple(
            place
            for place, key in enumerate(keys)
            if key not in _TOKEN_COUNTS and key.endswith(_JSON_ENDINGS)
        ),
    )
    return plan


def _decode_value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_decode_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _decode_value(pair.value) for pair in value.kvlist_value.values}
    # A string of the profiles' table has no meaning in a trace; like no value, it is None.
    if kind is None or kind == "string_value_strindex":
        return None
    return getattr(value, kind)


def _as_count(value: Any) -> Any:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return value


def _from_json(value: Any) -> Any:
    """Read JSON; what is none stays as it is, and JSON's null says nothing.

    As Python's own reader does, which is slower, and lets pass what is no JSON (NaN) or loses
    nothing of long integers.
    """
    if type(value) is str and not _LONG_NUMBER.search(value):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(value)
    try:
        return json.loads(value)
    except (TypeError, ValueError, RecursionError):
        return value


def _write_input_as_text(attributes: dict[str, Any]) -> None:
    """Make an input that is not text the JSON of it, as Phoenix's pages expect."""
    value = nested_value(attributes, "input", "value")
    if value and not isinstance(value, str):
        attributes["input"]["value"] = json.dumps(value, default=text_of_bytes)
        attributes["input"]["mime_type"] = "application/json"


def _span_kind(value: Any) -> str:
    """Give the kind as Phoenix reads it: in upper case, or lower and mixed case in ASCII."""
    if not isinstance(value, str):
        return "UNKNOWN"
    kind = value.upper() if value.isascii() else value
    return kind if kind in _SPAN_KINDS else "UNKNOWN"


def _decode_event(event: trace_pb2.Span.Event) -> SpanEvent:
    attributes = {pair.key: _decode_value(pair.value) for pair in event.attributes}
    if event.name == "exception":
        attributes = {
            key: value
            for key, value in (
                (_EXCEPTION_TYPE, attributes.get(_EXCEPTION_TYPE)),
                (_EXCEPTION_MESSAGE, attributes.get(_EXCEPTION_MESSAGE) or ""),
                (_EXCEPTION_ESCAPED, attributes.get(_EXCEPTION_ESCAPED)),
                (_EXCEPTION_STACKTRACE, attributes.get(_EXCEPTION_STACKTRACE)),
            )
            if value is not None
        }
    return SpanEvent(
        name=storable_text(event.name),
        timestamp_unix_ns=event.time_unix_nano,
        attributes=storable(attributes) if attributes else attributes,
    )
