from __future__ import annotations

import json
from typing import Any

from tests.exchange_cases import own_case
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.openai.response_stream import response_of_events


def test_a_stream_that_is_cut_inside_its_items_gives_the_pieces_that_came() -> None:
    span = interpret(own_case("openai-responses-stream-cut-inside").exchange(), "default-project")
    output = json.loads(span.attributes["output.value"])["output"]

    assert [item["type"] for item in output] == ["reasoning", "function_call", "message"]
    assert output[0]["summary"] == [{"type": "summary_text", "text": "It flows west."}]
    assert output[1]["arguments"] == '{"name": "Sp'
    assert output[2]["content"] == [{"type": "output_text", "text": "In the Hav"}]
    found = [value for name, value in span.attributes.items() if name.startswith("llm.output")]
    assert "In the Hav" in found
    assert '{"name": "Sp' in found


def test_the_event_that_ends_a_stream_carries_all() -> None:
    events: list[dict[str, Any]] = [
        {"type": "response.output_text.delta", "output_index": 0, "delta": "In"},
        {"type": "response.completed", "response": {"output": [1]}},
        {"type": "response.created", "response": {"output": [2]}},
    ]

    assert response_of_events(events) == ({"output": [1]}, "response.completed")


def test_pieces_of_an_item_that_nobody_announced_are_a_message() -> None:
    events: list[dict[str, Any]] = [
        {"type": "response.output_text.delta", "output_index": 3, "delta": "In "},
        {"type": "response.output_text.delta", "output_index": 3, "delta": None},
        {"type": "response.refusal.delta", "output_index": 3, "content_index": 1, "delta": "No"},
        {"type": "response.output_text.delta", "output_index": 3, "delta": "there"},
        {"type": "response.output_text.delta", "output_index": None, "delta": "lost"},
        {"type": 7, "output_index": 3, "delta": "lost"},
    ]

    assert response_of_events(events) == (
        {
            "output": [
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [
                        {"type": "output_text", "text": "In there"},
                        {"type": "refusal", "refusal": "No"},
                    ],
                }
            ]
        },
        "",
    )
