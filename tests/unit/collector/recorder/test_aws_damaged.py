"""Streams of AWS whose frames are whole and whose events are not what they should be."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exchange_cases import FOLDER, encode_body, own_case
from tracequill_collector.recorder import attributes
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import RecordedSpan, encode_spans

_STREAMS = {
    path.stem: frames
    for path in sorted(FOLDER.glob("*.json"))
    if (frames := json.loads(path.read_text())["response"].get("body", {}).get("eventstream"))
}
_VALUES: list[Any] = [
    *(None, True, 0, -1, 1e300, 10**25, "", "x", "{", "\x00", [], {}, [1], [{}], [[]]),
    {"a": 1},
    {"text": None},
    {"type": ["TEXT"]},
    '{"output": "x"}',
    '{"content": [1, {"type": "tool_use", "input": 3}]}',
    '{"messages": [1, {"content": 3}, {"role": 5, "content": "[{text=x}]"}]}',
]


def _changed(value: Any, random: Random, share: float) -> Any:
    if random.random() < share:
        return random.choice(_VALUES)
    if isinstance(value, dict):
        return {key: _changed(item, random, share) for key, item in value.items()}
    if isinstance(value, list):
        return [_changed(item, random, share) for item in value]
    return value


def _span(name: str, frames: list[dict[str, Any]]) -> RecordedSpan:
    body = encode_body({"eventstream": frames})
    span = interpret(own_case(name).exchange(response_body=body), "p")
    encode_spans(span)
    return span


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(_STREAMS)), st.sampled_from([0.02, 0.1, 0.4]), st.randoms())
def test_any_values_in_any_order_give_a_span(name: str, share: float, random: Random) -> None:
    frames = [
        {
            field: _changed(value, random, share) if field in ("payload", "chunk") else value
            for field, value in frame.items()
        }
        for frame in _STREAMS[name]
    ]
    random.shuffle(frames)

    span = _span(name, frames)

    assert "cannot be interpreted" not in span.attributes.get(attributes.PROBLEM, "")


@pytest.mark.parametrize("kind", [["text_delta"], {"a": 1}, 5, None])
def test_a_piece_of_no_known_type_gives_a_span(kind: object) -> None:
    name = "bedrock-invoke-stream-claude"
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": kind, "text": "x"}}
    span = _span(name, [*_STREAMS[name][:2], {"chunk": delta}])

    assert "cannot be interpreted" not in span.attributes.get(attributes.PROBLEM, "")
