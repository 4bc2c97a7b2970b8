"""For the same exchange the recorder's span has the attributes that the instrumentor gives it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.sdk.trace import ReadableSpan

from tests.exchange_cases import Case, corpus_cases, own_cases
from tests.integration.sdk.replay import Applications, applications
from tracequill_collector.recorder.attributes import PREFIX
from tracequill_collector.recorder.differences import ABSENT, DIFFERENCES, Attribute
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import encode_spans

pytestmark = pytest.mark.integration

_VENDORS = ("openai", "anthropic", "bedrock", "gemini", "bedrock-agent", "sagemaker")
_ADDITIONS = (PREFIX, "session.id", "user.id", "tag.tags")
_JSON_ATTRIBUTES = (
    "input.value",
    "output.value",
    "invocation_parameters",
    "json_schema",
    "function.arguments",
    "function_call_arguments_json",
    "metadata",
    "tool.parameters",
)
# Only older clients have a method for it; the recorder's unit tests say what its span is.
_WITHOUT_CLIENT = "/v1/complete"
# Who else speaks OpenAI's format; on other paths of theirs OpenAI's library calls nobody.
_LIKE_OPENAI = ("mistral", "groq", "together", "ollama")
_OPENAI_PATHS = tuple(
    f"/v1/{name}"
    for name in ("chat/completions", "completions", "embeddings", "responses", "images/generations")
)


def _has_client(case: Case) -> bool:
    if case.vendor in _LIKE_OPENAI:
        return case.path.endswith(_OPENAI_PATHS)
    return case.vendor in _VENDORS and case.path != _WITHOUT_CLIENT


OWN = [case for case in own_cases() if _has_client(case)]
_CORPUS = [case for case in corpus_cases(*_VENDORS, *_LIKE_OPENAI) if _has_client(case)]


@pytest.fixture(scope="module")
def traced() -> Iterator[Applications]:
    with applications() as running:
        yield running


@pytest.mark.parametrize("case", OWN, ids=lambda case: case.name)
def test_it_is_the_same_span_but_for_the_differences_that_the_case_names(
    traced: Applications, case: Case
) -> None:
    unexplained, used = _compare(traced, case)

    assert unexplained == []
    assert used == case.differences


if _CORPUS:

    @pytest.mark.parametrize("case", _CORPUS, ids=lambda case: case.name)
    def test_it_is_the_same_span_for_a_recorded_exchange(traced: Applications, case: Case) -> None:
        unexplained, _ = _compare(traced, case)

        assert unexplained == []


def test_every_difference_is_shown_by_a_case() -> None:
    shown = frozenset().union(*(case.differences for case in OWN))

    assert shown == {difference.name for difference in DIFFERENCES}


def _compare(traced: Applications, case: Case) -> tuple[list[Attribute], set[str]]:
    """Give what differs without a reason, and the names of the reasons that were needed."""
    their_spans, exchange = traced.run(case)
    our_spans = encode_spans(interpret(exchange, "default"))
    name = their_spans[0].name if their_spans else our_spans[0].name
    unexplained: list[Attribute] = []
    used: set[str] = set()
    for attribute in _differing(our_spans, their_spans):
        reasons = [item.name for item in DIFFERENCES if item.covers(name, attribute)]
        named = [reason for reason in reasons if reason in case.differences]
        used.update(named[:1] or reasons[:1])
        if not reasons:
            unexplained.append(attribute)
    return unexplained, used


def _differing(
    our_spans: Sequence[trace_pb2.Span], their_spans: Sequence[ReadableSpan]
) -> Iterator[Attribute]:
    """Give what differs between two trees of spans; where the trees differ, of the roots alone."""
    our_depths = _depths([(item.span_id, item.parent_span_id) for item in our_spans])
    their_depths = _depths(
        [
            (item.context.span_id, item.parent.span_id if item.parent else None)
            for item in their_spans
        ]
    )
    if our_depths != their_depths:
        our_names = [item.name for item in our_spans]
        their_names = [item.name for item in their_spans]
        yield (
            "spans",
            list(zip(our_depths, our_names, strict=True)),
            list(zip(their_depths, their_names, strict=True)),
        )
    for our_span, their_span in zip(our_spans, their_spans, strict=False):
        ours, theirs = _of_recorder(our_span), _of_sdk(their_span)
        for name in sorted(ours.keys() | theirs.keys()):
            attribute = (name, ours.get(name, ABSENT), theirs.get(name, ABSENT))
            if attribute[1] != attribute[2]:
                yield attribute
        if our_depths != their_depths:
            return


def _depths(ids: Sequence[tuple[Any, Any]]) -> list[int]:
    """Give how deep each span lies; *ids* are each span's own and its parent's."""
    depths: dict[Any, int] = {}
    for span_id, parent_id in ids:
        depths[span_id] = depths.get(parent_id, -1) + 1
    return list(depths.values())


def _of_sdk(span: ReadableSpan) -> dict[str, Any]:
    flat = _comparable(dict(span.attributes or {}))
    assert span.status.status_code.name
    flat |= {
        "name": span.name,
        "status": span.status.status_code.name,
        "status_message": span.status.description or "",
        "events": [event.name for event in span.events],
    }
    for event in span.events:
        flat |= event.attributes or {}
    return flat


def _of_recorder(span: trace_pb2.Span) -> dict[str, Any]:
    attributes = {item.key: _python(item.value) for item in span.attributes}
    flat = _comparable(attributes)
    flat |= {
        "name": span.name,
        "status": trace_pb2.Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        "status_message": span.status.message,
        "events": [event.name for event in span.events],
    }
    for event in span.events:
        flat |= {item.key: _python(item.value) for item in event.attributes}
    return flat


def _comparable(attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _parsed(name, value)
        for name, value in attributes.items()
        if not name.startswith(_ADDITIONS)
    }


def _parsed(name: str, value: Any) -> Any:
    if isinstance(value, tuple):
        return [_parsed("", item) for item in value]
    if isinstance(value, dict):
        return {key: _parsed("", item) for key, item in value.items()}
    if isinstance(value, str) and name.endswith(_JSON_ATTRIBUTES):
        try:
            parsed = json.loads(value)
        except ValueError:
            return value
        return parsed if isinstance(parsed, dict | list) else value
    return value


def _python(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case "array_value":
            return [_python(item) for item in value.array_value.values]
        case "kvlist_value":
            return {item.key: _python(item.value) for item in value.kvlist_value.values}
        case None:
            return None
        case kind:
            return getattr(value, kind)
