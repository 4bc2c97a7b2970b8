from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracequill_phoenix.dataset_export.conversation import Conversation, Message
from tracequill_phoenix.dataset_export.messages import to_conversation
from tracequill_phoenix.dataset_export.testing import llm_span, message, tool_call

USER = message("user", "Is it raining in Paris?")
ANSWER = message("assistant", "Yes.")


def codes(conversation: Conversation) -> list[str]:
    return [finding.code for finding in conversation.findings]


def texts(turn: Message | None) -> list[str]:
    assert turn is not None
    return [part.value for part in turn.parts]


def history_of(inputs: list[dict[str, Any]]) -> list[Message]:
    return to_conversation(llm_span(inputs, [ANSWER])).history


def test_question_and_answer_are_history_and_answer() -> None:
    conversation = to_conversation(llm_span([message("system", "Be brief."), USER], [ANSWER]))

    assert [turn.role for turn in conversation.history] == ["system", "user"]
    assert texts(conversation.history[1]) == ["Is it raining in Paris?"]
    assert texts(conversation.answer) == ["Yes."]
    assert conversation.findings == []


@pytest.mark.parametrize(
    ("recorded", "role"),
    [
        ("human", "user"),
        ("ai", "assistant"),
        ("model", "assistant"),
        ("ASSISTANT", "assistant"),
        ("function", "tool"),
        ("developer", "system"),
        ("narrator", "narrator"),
    ],
)
def test_roles_have_one_spelling_and_unknown_ones_stay(recorded: str, role: str) -> None:
    assert history_of([message(recorded, "x")])[0].role == role


def test_an_answer_without_a_role_is_the_assistants() -> None:
    conversation = to_conversation(llm_span([USER], [{"message": {"content": "Yes."}}]))

    assert conversation.answer is not None
    assert conversation.answer.role == "assistant"


def test_reasoning_is_never_content() -> None:
    answer = message(
        "assistant",
        contents=[
            {"type": "reasoning", "text": "secret thoughts", "signature": "s"},
            {"type": "text", "text": "Yes."},
            {"type": "reasoning", "data": "cmVkYWN0ZWQ="},
        ],
    )
    conversation = to_conversation(llm_span([USER], [answer]))

    assert texts(conversation.answer) == ["Yes."]
    assert conversation.findings == []


def test_a_turn_of_reasoning_alone_disappears() -> None:
    thought = message("assistant", contents=[{"type": "reasoning", "text": "hm"}])

    assert [turn.role for turn in history_of([USER, thought, USER])] == ["user", "user"]


def test_texts_and_images_keep_their_order() -> None:
    question = message(
        "user",
        contents=[
            {"type": "text", "text": "before"},
            {"type": "image", "image": {"image": {"url": "https://a.example/b.png"}}},
            {"text": "after"},
        ],
    )
    parts = history_of([question])[0].parts

    assert [(part.kind, part.value) for part in parts] == [
        ("text", "before"),
        ("image", "https://a.example/b.png"),
        ("text", "after"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        {"type": "audio", "audio": {"audio": {"url": "data:audio/wav;base64,AA"}}},
        {"type": "video", "video": {"video": {"url": "https://a.example/v.mp4"}}},
        {"type": "document", "document": {"document": {"url": "https://a.example/d.pdf"}}},
        {"document": {"document": {"url": "https://a.example/d.pdf"}}},
        {"type": "image"},
    ],
)
def test_what_no_row_can_hold_is_said_and_not_dropped_silently(content: dict[str, Any]) -> None:
    conversation = to_conversation(llm_span([message("user", contents=[content])], [ANSWER]))

    assert codes(conversation) == ["unsupported_content"]


def test_what_the_application_hid_is_not_trained() -> None:
    hidden = message(
        "user", contents=[{"type": "image", "image": {"image": {"url": "__REDACTED__"}}}]
    )
    conversation = to_conversation(
        llm_span([message("system", "__REDACTED__"), hidden], [message("assistant", "Yes.")])
    )

    assert codes(conversation) == ["redacted_content", "redacted_content"]


def test_a_gap_in_the_numbering_is_no_message() -> None:
    assert [turn.role for turn in history_of([{}, {"message": {}}, USER])] == ["user"]


def test_messages_stored_as_a_mapping_of_indexes_are_in_order() -> None:
    attributes = llm_span([], [ANSWER])
    attributes["llm"]["input_messages"] = {
        "10": message("user", "third"),
        "2": message("user", "second"),
        "0": message("user", "first"),
    }

    conversation = to_conversation(attributes)
    assert [texts(turn) for turn in conversation.history] == [["first"], ["second"], ["third"]]


# --- tool calls ---------------------------------------------------------------------------


def test_a_tool_call_keeps_its_id_and_its_arguments_as_text() -> None:
    call = tool_call("get_weather", '{"city": "Paris"}', id="call_1")
    conversation = to_conversation(llm_span([USER], [message("assistant", tool_calls=[call])]))

    assert conversation.answer is not None
    [made] = conversation.answer.tool_calls
    assert (made.id, made.name, made.arguments) == ("call_1", "get_weather", '{"city": "Paris"}')


def test_arguments_recorded_as_an_object_become_json_and_missing_ones_an_empty_object() -> None:
    calls = [tool_call("a", {"x": [1]}, id="1"), {"id": "2", "function": {"name": "b"}}]
    conversation = to_conversation(llm_span([USER], [message("assistant", tool_calls=calls)]))

    assert conversation.answer is not None
    assert [call.arguments for call in conversation.answer.tool_calls] == ['{"x":[1]}', "{}"]


def test_a_function_call_of_old_becomes_a_tool_call_that_its_reply_answers() -> None:
    called = message("assistant", function_call_name="f", function_call_arguments_json='{"x": 1}')
    history = history_of([USER, called, message("function", "42", name="f")])

    assert [turn.role for turn in history] == ["user", "assistant", "tool"]
    assert history[1].tool_calls[0].id.startswith("call_")
    assert history[2].tool_call_id == history[1].tool_calls[0].id


def test_missing_ids_are_the_same_for_the_same_conversation_and_differ_within_it() -> None:
    inputs = [
        USER,
        message("assistant", tool_calls=[tool_call("f"), tool_call("f")]),
        message("tool", "one"),
        message("tool", "two"),
    ]
    first, second = history_of(inputs), history_of(inputs)

    ids = [call.id for call in first[1].tool_calls]
    assert len(set(ids)) == 2
    assert ids == [call.id for call in second[1].tool_calls]
    assert [turn.tool_call_id for turn in first[2:]] == ids


def test_replies_without_ids_find_their_call_by_name_before_order() -> None:
    history = history_of(
        [
            USER,
            message("assistant", tool_calls=[tool_call("f", id="1"), tool_call("g", id="2")]),
            message("tool", "of g", name="g"),
            message("tool", "of f"),
        ]
    )

    assert [(turn.tool_call_id, texts(turn)) for turn in history[2:]] == [
        ("2", ["of g"]),
        ("1", ["of f"]),
    ]


def test_calls_without_ids_take_those_of_their_replies() -> None:
    history = history_of(
        [
            USER,
            message("assistant", tool_calls=[tool_call("f"), tool_call("g")]),
            message("tool", "a", tool_call_id="x"),
            message("tool", "b", tool_call_id="y"),
        ]
    )

    assert [call.id for call in history[1].tool_calls] == ["x", "y"]


def test_a_result_mixed_with_other_text_is_not_guessed_at() -> None:
    mixed = message("tool", contents=[{"text": "of f"}, {"text": "And now?"}])
    history = history_of(
        [USER, message("assistant", tool_calls=[tool_call("f", id="toolu_1")]), mixed]
    )

    assert history[2].tool_call_id == ""


def test_a_result_recorded_as_the_users_is_a_tools_reply() -> None:
    result = message("user", content=None, tool_call_id="t_a")
    result["message"]["content"] = [{"type": "text", "text": "packed"}]
    history = history_of(
        [USER, message("assistant", tool_calls=[tool_call("f", id="t_a")]), result, USER]
    )

    assert [turn.role for turn in history] == ["user", "assistant", "tool", "user"]
    assert texts(history[2]) == ["packed"]


def test_replies_stand_directly_after_their_call() -> None:
    history = history_of(
        [
            USER,
            message("assistant", tool_calls=[tool_call("f", id="1"), tool_call("g", id="2")]),
            message("user", "And be quick."),
            message("tool", "a", tool_call_id="1"),
            message("tool", "b", tool_call_id="2"),
        ]
    )

    assert [turn.role for turn in history] == ["user", "assistant", "tool", "tool", "user"]


def test_a_turn_recorded_as_several_items_is_one_message() -> None:
    history = history_of(
        [
            USER,
            message("assistant", "Let me see."),
            message("assistant", tool_calls=[tool_call("f", id="1")]),
            message("assistant", tool_calls=[tool_call("g", id="2")]),
            message("tool", "a", tool_call_id="1"),
            message("tool", "b", tool_call_id="2"),
        ]
    )

    assert [turn.role for turn in history] == ["user", "assistant", "tool", "tool"]
    assert texts(history[1]) == ["Let me see."]
    assert [call.id for call in history[1].tool_calls] == ["1", "2"]


# --- answers ------------------------------------------------------------------------------


def test_of_several_answers_the_first_is_taken_and_it_is_said() -> None:
    answers = [message("assistant", "one"), message("assistant", "two")]
    conversation = to_conversation(llm_span([USER], answers, parameters={"n": 2}))

    assert texts(conversation.answer) == ["one"]
    assert [(f.code, f.is_error) for f in conversation.findings] == [("several_answers", False)]


def test_of_several_answers_that_call_tools_the_first_is_taken() -> None:
    answers = [message("assistant", tool_calls=[tool_call("f", id=str(i))]) for i in range(3)]
    conversation = to_conversation(llm_span([USER], answers, parameters={"n": 3}))

    assert conversation.answer is not None
    assert [call.id for call in conversation.answer.tool_calls] == ["0"]


def test_several_texts_are_several_answers_where_nothing_says_how_many_were_asked_for() -> None:
    answers = [message("assistant", "one"), message("assistant", "two")]

    assert texts(to_conversation(llm_span([USER], answers)).answer) == ["one"]


def test_one_answer_recorded_as_several_items_is_one_message() -> None:
    items = [
        message("assistant", contents=[{"type": "reasoning", "text": "hm"}]),
        message("assistant", contents=[{"type": "text", "text": "One."}]),
        message("assistant", tool_calls=[tool_call("f", id="1")]),
        message("assistant", contents=[{"type": "text", "text": "Two."}]),
    ]
    conversation = to_conversation(llm_span([USER], items, parameters={"model": "gpt-4o"}))

    assert texts(conversation.answer) == ["One.", "Two."]
    assert conversation.answer is not None
    assert [call.id for call in conversation.answer.tool_calls] == ["1"]
    assert conversation.findings == []


def test_an_answer_that_was_cut_off_is_said() -> None:
    conversation = to_conversation(llm_span([USER], [ANSWER], finish_reason="length"))

    assert [(f.code, f.is_error) for f in conversation.findings] == [("truncated_answer", False)]


def test_a_call_that_failed_has_no_answer() -> None:
    assert codes(to_conversation(llm_span([USER], []))) == ["no_answer"]


@pytest.mark.parametrize("kind", ["LLM", "CHAIN", "EMBEDDING"])
def test_a_span_without_messages_says_of_which_kind_it_is(kind: str) -> None:
    conversation = to_conversation({"input": {"value": "hi"}}, kind)

    assert codes(conversation) == ["no_messages"]
    assert (kind in conversation.findings[0].message) or kind == "LLM"


def test_parallel_tool_calls_comes_from_the_request() -> None:
    asked = llm_span([USER], [ANSWER], parameters={"parallel_tool_calls": False})

    assert to_conversation(asked).parallel_tool_calls is False
    assert to_conversation(llm_span([USER], [ANSWER])).parallel_tool_calls is None


# --- whatever was recorded ------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
PART = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["text", "image", "reasoning", "audio"]) | JSON,
        "text": JSON,
        "image": JSON | st.just({"image": {"url": "https://a.example/b.png"}}),
    },
)
CALL = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["1", "2", ""]) | JSON,
        "function": st.fixed_dictionaries({}, optional={"name": JSON, "arguments": JSON}) | JSON,
    },
)
RECORDED = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["system", "user", "assistant", "tool", "function"]) | JSON,
        "content": JSON,
        "contents": st.lists(st.fixed_dictionaries({"message_content": PART | JSON})) | JSON,
        "tool_calls": st.lists(st.fixed_dictionaries({"tool_call": CALL | JSON})) | JSON,
        "tool_call_id": st.sampled_from(["1", "2"]) | JSON,
        "name": JSON,
    },
)
MESSAGES = st.lists(st.fixed_dictionaries({"message": RECORDED | JSON}), max_size=6) | JSON


BODY = st.fixed_dictionaries({}, optional={"messages": JSON, "tools": JSON, "choices": JSON})


@given(inputs=MESSAGES, outputs=MESSAGES, tools=JSON, parameters=JSON, body=BODY | JSON)
def test_no_recording_whatever_breaks_the_conversion(
    inputs: Any, outputs: Any, tools: Any, parameters: Any, body: Any
) -> None:
    io = {"value": json.dumps(body), "mime_type": "application/json"}
    conversation = to_conversation(
        {
            "llm": {
                "input_messages": inputs,
                "output_messages": outputs,
                "tools": tools,
                "invocation_parameters": parameters,
                "system": "anthropic",
            },
            "input": io,
            "output": io,
        }
    )

    for turn in conversation.history:
        for call in turn.tool_calls:
            assert call.id
