"""Whatever was recorded gives a page: huge, deep, broken and foreign attributes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.phoenix_config.annotate.conversations import (
    ANSWER,
    PNG,
    USER,
    conversation,
    span,
)
from tracequill_phoenix.annotate.conversation import text_of
from tracequill_phoenix.dataset_export.testing import (
    llm_span,
    message,
)


def test_a_huge_answer_is_cut_and_not_offered_for_correction() -> None:
    seen = conversation(llm_span([USER], [message("assistant", "x" * 3_000_000)]))

    part = seen["answers"][0]["parts"][0]
    assert (len(part["text"]), part["size"], part["truncated"]) == (200_000, 3_000_000, True)
    assert seen["answer"]["editable"] == []
    assert seen["answer"]["message"] is None


def test_a_page_is_bounded_and_the_answer_is_cut_last() -> None:
    many = [message("user", str(place) + "x" * 90_000) for place in range(50)]
    seen = conversation(llm_span(many, [message("assistant", "y" * 150_000)]))

    assert len(orjson.dumps(seen)) < 1_600_000
    assert not seen["answers"][0]["parts"][0]["truncated"]
    assert not seen["messages"][-1]["parts"][0]["truncated"]
    assert seen["messages"][0]["parts"][0]["truncated"]


def test_of_a_very_long_conversation_the_first_and_the_newest_messages_are_shown() -> None:
    many = [message("user", str(place)) for place in range(2_500)]
    seen = conversation(llm_span(many, [ANSWER]))

    assert seen["messages"][0]["parts"][0]["text"] == "0"
    assert seen["messages"][-1]["parts"][0]["text"] == "2499"
    assert seen["left_out"] == 2_300


def test_a_conversation_of_more_messages_than_are_read_keeps_its_question() -> None:
    many = [message("user", str(place)) for place in range(10_000)]
    seen = conversation(llm_span(many, [ANSWER]))

    assert seen["question"] == "9999"
    assert seen["left_out"] == 9_800


def test_deep_nesting_ends() -> None:
    deep: Any = "end"
    for _ in range(5_000):
        deep = {"a": deep}
    body = '{"a":' * 900 + "1" + "}" * 900
    seen = conversation(
        {
            "llm": {"input_messages": [{"message": {"role": "user", "content": deep}}]},
            "output": {"value": body, "mime_type": "application/json"},
        }
    )

    assert seen["messages"][0]["parts"][0]["kind"] == "unknown"
    assert seen["answer"]["text"] == body


def test_lone_surrogates_can_be_sent() -> None:
    seen = conversation(llm_span([message("us\ud800er", "a\ud800b")], [ANSWER]))

    assert "a\ufffdb" in orjson.dumps(seen).decode()


def test_control_characters_and_overrides_reach_the_page_as_they_are() -> None:
    said = "a\u202eb\x1b[31m\x00c"

    assert conversation(llm_span([USER], [message("assistant", said)]))["answer"]["text"] == said


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.sampled_from(["user", "tool", "assistant", "reasoning", "text", PNG, '{"a": [1]}']),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            [
                "llm", "input", "output", "value", "mime_type", "input_messages", "message",
                "output_messages", "role", "content", "contents", "message_content", "type",
                "text", "image", "url", "tool_calls", "tool_call", "function", "name",
                "arguments", "id", "tool_call_id", "prompts", "choices", "tools", "tool",
                "json_schema", "retrieval", "reranker", "documents", "document", "0", "1",
                "audio", "score", "metadata", "invocation_parameters", "system", "query",
            ]
        )
        | st.text(max_size=3),
        inner,
        max_size=6,
    ),
    max_leaves=30,
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=json_values)
def test_any_json_gives_a_page(value: Any) -> None:
    for attributes in (
        value,
        {"llm": value, "input": value, "output": value},
        {"llm": {"input_messages": value, "output_messages": value, "tools": value}},
        {"llm": {"input_messages": [{"message": value}], "output_messages": [{"message": value}]}},
    ):
        seen = conversation(attributes, earlier=[span(attributes), value], beside=[value])
        orjson.dumps(seen)
        assert not any("could not be read" in note for note in seen["notes"])
        answer = seen["answer"]
        if answer["message"] is not None:
            assert text_of(answer["message"]) == answer["text"]
            for field in answer["editable"]:
                place = answer["message"]
                for step in field["path"]:
                    place = place[step]
                assert (place or "") == field["text"]


def test_what_cannot_be_read_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_attributes: object) -> None:
        raise ValueError("secret words")

    monkeypatch.setattr("tracequill_phoenix.annotate.conversation.read", broken)
    seen = conversation(llm_span([USER], [ANSWER]))

    assert "could not be read" in seen["notes"][0]
    assert "secret" not in caplog.text


def test_phoenix_is_not_needed() -> None:
    code = (
        "import sys, tracequill_phoenix.annotate.conversation; "
        "assert 'phoenix' not in sys.modules, 'phoenix was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
