"""Every shape of call that our exchanges have, recorded by the proxy, is drawn in known parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.exchange_cases import Case, corpus_cases, own_cases
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.processor.decode import decode
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import encode_request, encode_spans
from tracequill_phoenix.annotate.conversation import conversation_of

CASES = [
    case
    for case in [*own_cases(), *corpus_cases("openai", "anthropic", "bedrock", "gemini")]
    if 200 <= case.status < 300
]


def conversations(case: Case) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    request = encode_request(encode_spans(interpret(case.exchange(), "default")), "default")
    record = Record(RecordKind.OTLP_TRACES, 0, request, "application/x-protobuf")
    for span in decode(record, max_bytes=1 << 30).spans:
        drawn = conversation_of(
            attributes=span.attributes, name=span.name, start_time="", end_time=""
        )
        yield span.attributes, drawn


def parts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from parts(item)
    elif isinstance(value, dict):
        if "kind" in value:
            yield value
        for item in value.values():
            yield from parts(item)


def test_there_are_cases() -> None:
    assert len(CASES) > 100


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_that_was_said_is_drawn(case: Case) -> None:
    for attributes, drawn in conversations(case):
        shown = list(parts([drawn["messages"], drawn["answers"]]))
        assert not [part for part in shown if part["kind"] == "unknown"]
        assert not any("could not be read" in note for note in drawn["notes"])
        for entry in attributes.get("llm", {}).get("output_messages", []):
            said = entry["message"].get("content")
            if isinstance(said, str) and said:
                assert said in [part.get("text") for part in shown]
            for call in entry["message"].get("tool_calls", []):
                names = [part["name"] for part in shown if part["kind"] == "tool_call"]
                assert call["tool_call"]["function"].get("name", "") in names
