from __future__ import annotations

from typing import Any

import orjson
import pytest

from tracequill_phoenix.dataset_export.bodies import lost_media
from tracequill_phoenix.dataset_export.messages import to_conversation
from tracequill_phoenix.dataset_export.testing import llm_span, message, tool_call

USER = message("user", "Where is order 17?")
ANSWER = message("assistant", "Packed.")


def body(content: Any) -> dict[str, str]:
    return {"value": orjson.dumps(content).decode(), "mime_type": "application/json"}


def test_a_chat_body_stands_in_where_no_messages_were_recorded() -> None:
    request = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": "rain"},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "https://a.example/b"}}],
            },
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }
    response = {"choices": [{"message": {"role": "assistant", "content": "Rain."}}]}
    conversation = to_conversation({"input": body(request), "output": body(response)})

    assert [turn.role for turn in conversation.history] == ["user", "assistant", "tool", "user"]
    assert conversation.history[3].parts[0].kind == "image"
    assert conversation.answer is not None
    assert [part.value for part in conversation.answer.parts] == ["Rain."]
    assert conversation.tools == [{"type": "function", "function": {"name": "f"}}]
    assert conversation.findings == []


def test_of_several_choices_in_a_body_the_first_is_taken() -> None:
    choices = [{"message": {"role": "assistant", "content": text}} for text in ("one", "two")]
    attributes = {**llm_span([USER], []), "output": body({"choices": choices})}
    conversation = to_conversation(attributes)

    assert conversation.answer is not None
    assert [part.value for part in conversation.answer.parts] == ["one"]
    assert [finding.code for finding in conversation.findings] == ["several_answers"]


def test_a_refusal_in_a_body_is_an_answer() -> None:
    refusal = {"choices": [{"message": {"role": "assistant", "content": None, "refusal": "No."}}]}
    conversation = to_conversation({**llm_span([USER], []), "output": body(refusal)})

    assert conversation.answer is not None
    assert [part.value for part in conversation.answer.parts] == ["No."]


@pytest.mark.parametrize("value", ["no JSON", "[]", '{"messages": 3}', '{"messages": ["x"]}'])
def test_a_body_that_is_no_chat_gives_no_messages(value: str) -> None:
    conversation = to_conversation({"input": {"value": value, "mime_type": "application/json"}})

    assert [finding.code for finding in conversation.findings] == ["no_messages"]


# Claude on Bedrock, streamed: the instrumentor leaves out which result answers which call.
CLAUDE: dict[str, Any] = {
    "system": [{"type": "text", "text": "Use the tools."}],
    "messages": [
        {
            "role": "user",
            "content": [
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"},
                },
                {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
                {"type": "text", "text": "Where are 17 and 18?"},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_a", "name": "find", "input": {"n": 17}},
                {"type": "tool_use", "id": "toolu_b", "name": "find", "input": {"n": 18}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_b", "content": "lost"},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_a",
                    "content": [{"type": "text", "text": "packed"}],
                },
                {"type": "text", "text": "And 19?"},
            ],
        },
    ],
}


def claude_span(request: Any) -> dict[str, Any]:
    recorded = llm_span(
        [
            USER,
            message(
                "assistant",
                contents=[{"text": "I look."}],
                tool_calls=[
                    tool_call("find", '{"n":17}', id="toolu_a"),
                    tool_call("find", '{"n":18}', id="toolu_b"),
                ],
            ),
            message("tool", contents=[{"text": "lost"}, {"text": "packed"}, {"text": "And 19?"}]),
        ],
        [ANSWER],
        system="anthropic",
    )
    return {**recorded, "input": body(request)}


def test_claudes_body_says_which_result_answers_which_call() -> None:
    conversation = to_conversation(claude_span(CLAUDE))

    assert [
        (turn.role, turn.tool_call_id, [part.value for part in turn.parts])
        for turn in conversation.history
    ] == [
        ("system", "", ["Use the tools."]),
        (
            "user",
            "",
            [
                "data:image/png;base64,iVBO",
                "https://a.example/b.png",
                "Where are 17 and 18?",
            ],
        ),
        ("assistant", "", ["I look."]),
        ("tool", "toolu_b", ["lost"]),
        ("tool", "toolu_a", ["packed"]),
        ("user", "", ["And 19?"]),
    ]
    calls = conversation.history[2].tool_calls
    assert [(call.id, call.arguments) for call in calls] == [
        ("toolu_a", '{"n":17}'),
        ("toolu_b", '{"n":18}'),
    ]
    assert conversation.findings == []


def test_a_document_in_claudes_body_is_said() -> None:
    request = {
        "messages": [
            {"role": "user", "content": [{"type": "document", "source": {}}]},
            *CLAUDE["messages"],
        ]
    }

    found = to_conversation(claude_span(request)).findings
    assert [finding.code for finding in found] == ["unsupported_content"]


@pytest.mark.parametrize(
    "request_body",
    [
        pytest.param(
            [{"role": "user", "content": [{"text": "What?"}, {"document": {"name": "a"}}]}],
            id="Bedrock Converse",
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, id="OpenAI chat"
        ),
        pytest.param(
            {"input": [{"role": "user", "content": [{"type": "input_file"}]}]},
            id="OpenAI responses",
        ),
    ],
)
def test_content_that_the_instrumentor_left_out_is_said(request_body: Any) -> None:
    attributes = {**llm_span([USER], [ANSWER]), "input": body(request_body)}

    found = to_conversation(attributes).findings
    assert [finding.code for finding in found] == ["unsupported_content"]


@pytest.mark.parametrize(
    "request_body",
    [
        None,
        "document",
        {"messages": [{"role": "user", "content": 'the "document": {}'}]},
        {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "document"}]}],
            "tools": [{"function": {"parameters": {"properties": {"document": {}}}}}],
        },
    ],
)
def test_a_word_in_a_text_or_a_tool_is_no_content(request_body: Any) -> None:
    assert lost_media(body(request_body)) == []
