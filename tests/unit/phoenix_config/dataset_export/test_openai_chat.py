from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracequill_phoenix.dataset_export.messages import to_conversation
from tracequill_phoenix.dataset_export.openai_chat import (
    MAX_FILE_BYTES,
    check_file,
    has_image,
    to_row,
    validate,
    validate_line,
)
from tracequill_phoenix.dataset_export.testing import (
    llm_span,
    message,
    openai_tool,
    tool,
    tool_call,
)

Row = dict[str, Any]
PNG = "data:image/png;base64,iVBORw0KGgo="


def a_row() -> Row:
    """A valid row with all there is: roles, parts, images, parallel calls, weights, tools."""
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
        {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ]
    return {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "name": "ann",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                ],
            },
            {"role": "assistant", "tool_calls": calls, "weight": 0},
            {"role": "tool", "tool_call_id": "c2", "content": ""},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "42"}]},
            {"role": "assistant", "content": "A cat.", "weight": 1},
            {"role": "user", "content": "And that?"},
            {"role": "assistant", "content": "A dog.", "tool_calls": copy.deepcopy(calls)},
        ],
        "tools": [openai_tool("f", x={"type": "integer"}), openai_tool("g")],
        "parallel_tool_calls": True,
    }


def row_of(*arguments: Any, **options: Any) -> Row:
    return to_row(to_conversation(llm_span(*arguments, **options)))


def test_a_valid_row_has_no_findings() -> None:
    assert validate(a_row()) == []
    assert validate_line(orjson.dumps(a_row())) == []


def test_a_deprecated_function_call_is_still_taken() -> None:
    row = {
        "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
            {"role": "assistant", "content": "1"},
        ],
        "functions": [{"name": "f", "parameters": {"type": "object", "properties": {}}}],
    }

    assert validate(row) == []


def _set(*path: Any) -> Callable[[Row], None]:
    *way, key, value = path

    def change(row: Row) -> None:
        target: Any = row
        for step in way:
            target = target[step]
        target[key] = value

    return change


def _delete(*path: Any) -> Callable[[Row], None]:
    *way, key = path

    def change(row: Row) -> None:
        target: Any = row
        for step in way:
            target = target[step]
        del target[key]

    return change


def _many_images(row: Row) -> None:
    row["messages"][1]["content"] = [
        {"type": "image_url", "image_url": {"url": f"https://a.example/{n}"}} for n in range(65)
    ]


CALL = ("messages", 2, "tool_calls", 0)
IMAGE = ("messages", 1, "content", 1, "image_url")
BROKEN = [
    ("unknown_key", _set("span_id", "abc")),
    ("messages_missing", _set("messages", [])),
    ("messages_missing", _delete("messages")),
    ("message_not_an_object", _set("messages", 0, "hello")),
    ("unknown_role", _set("messages", 0, "role", "developer")),
    ("unknown_role", _delete("messages", 0, "role")),
    ("unknown_role", _set("messages", 0, "role", ["system"])),
    ("unknown_message_key", _set("messages", 0, "tool_calls", [])),
    ("unknown_message_key", _set("messages", 3, "name", "f")),
    ("unknown_message_key", _set("messages", 1, "weight", 1)),
    ("name_invalid", _set("messages", 1, "name", "ann smith")),
    ("content_missing", _set("messages", 0, "content", "")),
    ("content_missing", _delete("messages", 0, "content")),
    ("content_missing", _set("messages", 1, "content", [])),
    ("content_missing", _delete("messages", 3, "content")),
    ("content_missing", _delete("messages", 5, "content")),
    ("content_invalid", _set("messages", 0, "content", {"text": "x"})),
    ("content_invalid", _set("messages", 5, "refusal", 3)),
    ("part_invalid", _set("messages", 1, "content", 0, "x")),
    ("part_invalid", _set("messages", 1, "content", 0, {"type": "text"})),
    ("part_invalid", _set("messages", 1, "content", 0, {"type": "input_audio"})),
    ("part_invalid", _set("messages", 1, "content", 0, {"type": "refusal", "refusal": "no"})),
    ("image_not_allowed", _set("messages", 5, "content", [{"type": "image_url", "image_url": {}}])),
    ("image_invalid", _set(*IMAGE, "url", "file:///etc/passwd")),
    ("image_invalid", _set(*IMAGE, "url", "data:image/gif;base64,R0lGOD")),
    ("image_invalid", _set(*IMAGE, "url", "https://")),
    ("image_invalid", _set(*IMAGE, "detail", "best")),
    ("image_invalid", _delete(*IMAGE, "url")),
    ("image_too_large", _set(*IMAGE, "url", "data:image/png;base64," + "A" * 14_000_000)),
    ("too_many_images", _many_images),
    ("tool_calls_invalid", _set("messages", 2, "tool_calls", [])),
    ("tool_calls_invalid", _set(*CALL, "x")),
    ("tool_calls_invalid", _delete(*CALL, "function")),
    ("tool_call_id_missing", _delete(*CALL, "id")),
    ("tool_call_id_missing", _set(*CALL, "id", "")),
    ("tool_call_id_missing", _delete("messages", 3, "tool_call_id")),
    ("tool_call_id_twice", _set(*CALL, "id", "c2")),
    ("tool_call_type", _delete(*CALL, "type")),
    ("tool_call_type", _set(*CALL, "type", "custom")),
    ("function_name_invalid", _set(*CALL, "function", "name", "server.f")),
    ("function_name_invalid", _set("tools", 0, "function", "name", "f" * 65)),
    ("arguments_not_text", _set(*CALL, "function", "arguments", {"x": 1})),
    ("arguments_not_text", _delete(*CALL, "function", "arguments")),
    ("arguments_not_json", _set(*CALL, "function", "arguments", '{"x": ')),
    ("arguments_not_json", _set(*CALL, "function", "arguments", "[1]")),
    ("tool_reply_unpaired", _set("messages", 3, "tool_call_id", "other")),
    ("tool_reply_missing", _delete("messages", 4)),
    ("last_not_assistant", _delete("messages", 7)),
    ("weight_invalid", _set("messages", 5, "weight", 0.5)),
    ("weight_invalid", _set("messages", 5, "weight", True)),
    ("weight_invalid", _set("messages", 5, "weight", "1")),
    ("nothing_to_train", _set("messages", 7, "weight", 0)),
    ("tool_not_declared", _set("messages", 7, "tool_calls", 0, "function", "name", "h")),
    ("tools_invalid", _set("tools", [])),
    ("tools_invalid", _set("tools", {})),
    ("tools_invalid", _set("tools", 0, "type", "web_search")),
    ("tools_invalid", _set("tools", 0, "function", None)),
    ("tools_invalid", _set("tools", 0, "function", "description", 3)),
    ("tools_invalid", _set("tools", [openai_tool(f"t{n}") for n in range(129)])),
    ("tool_declared_twice", _set("tools", 1, openai_tool("f"))),
    ("tool_parameters_invalid", _set("tools", 0, "function", "parameters", "x")),
    ("tool_parameters_invalid", _set("tools", 0, "function", "parameters", {"type": "array"})),
    ("parallel_tool_calls_invalid", _set("parallel_tool_calls", "yes")),
    ("parallel_tool_calls_invalid", _delete("tools")),
]


@pytest.mark.parametrize(
    ("code", "change"), BROKEN, ids=[f"{code}-{n}" for n, (code, _) in enumerate(BROKEN)]
)
def test_each_rule_is_checked(code: str, change: Callable[[Row], None]) -> None:
    row = a_row()
    change(row)

    found = validate(row)
    assert code in [finding.code for finding in found]
    assert all(finding.is_error for finding in found)


@pytest.mark.parametrize(
    ("line", "code"),
    [(b"{", "not_json"), (b"[]", "not_an_object"), (b"null", "not_an_object")],
)
def test_a_line_that_is_no_row_is_said(line: bytes, code: str) -> None:
    assert [finding.code for finding in validate_line(line)] == [code]


def test_a_file_is_held_to_the_platforms_limits_as_a_warning() -> None:
    codes = [finding.code for finding in check_file(9, 50_001, MAX_FILE_BYTES + 1)]

    assert codes == ["too_few_examples", "too_many_image_examples", "file_too_large"]
    assert not any(finding.is_error for finding in check_file(9, 50_001, MAX_FILE_BYTES + 1))
    assert check_file(10, 0, 1000) == []


# --- rows from spans ----------------------------------------------------------------------


def test_a_conversation_with_parallel_tool_calls_is_a_valid_row() -> None:
    calls = [tool_call("f", '{"x": 1}', id="c1"), tool_call("f", id="c2")]
    row = row_of(
        [
            message("system", "Be brief."),
            message("user", "x?"),
            message("assistant", tool_calls=calls),
            message("tool", "1", tool_call_id="c1"),
            message("tool", "2", tool_call_id="c2"),
        ],
        [message("assistant", "3")],
        tools=[tool(openai_tool("f"))],
        parameters={"parallel_tool_calls": True},
    )

    assert validate(row) == []
    assert row == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "x?"},
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "f", "arguments": '{"x": 1}'},
                    },
                    {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                ],
                "weight": 0,
            },
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
            {"role": "tool", "tool_call_id": "c2", "content": "2"},
            {"role": "assistant", "content": "3"},
        ],
        "tools": [openai_tool("f")],
        "parallel_tool_calls": True,
    }


def test_earlier_answers_are_trained_only_on_demand() -> None:
    inputs = [message("user", "a"), message("assistant", "b"), message("user", "c")]
    conversation = to_conversation(llm_span(inputs, [message("assistant", "d")]))

    assert to_row(conversation)["messages"][1]["weight"] == 0
    assert "weight" not in to_row(conversation, train_history=True)["messages"][1]


def test_images_become_parts_of_the_user() -> None:
    picture = {"type": "image", "image": {"image": {"url": PNG}}}
    row = row_of(
        [message("user", contents=[{"type": "text", "text": "What?"}, picture])],
        [message("assistant", "A cat.")],
    )

    assert validate(row) == []
    assert has_image(row)
    assert row["messages"][0]["content"] == [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": PNG}},
    ]


def test_parallel_tool_calls_without_tools_is_left_out() -> None:
    row = row_of(
        [message("user", "a")],
        [message("assistant", "b")],
        parameters={"parallel_tool_calls": False},
    )

    assert row == {
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    }


def test_a_name_that_the_platform_refuses_is_left_out() -> None:
    row = row_of(
        [message("user", "a", name="Ann Smith"), message("user", "b", name="ann")],
        [message("assistant", "c")],
    )

    assert [turn.get("name") for turn in row["messages"]] == [None, "ann", None]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (message("assistant", tool_calls=[tool_call("f", "{broken")]), "arguments_not_json"),
        (message("assistant", tool_calls=[tool_call("h")]), "tool_not_declared"),
        (message("user", "I answer myself."), "last_not_assistant"),
    ],
)
def test_an_answer_that_cannot_be_trained_is_not_valid(answer: Row, code: str) -> None:
    row = row_of([message("user", "x")], [answer], tools=[tool(openai_tool("f"))])

    assert code in [finding.code for finding in validate(row)]


def test_a_call_that_was_never_answered_is_not_valid() -> None:
    row = row_of(
        [
            message("user", "x"),
            message("assistant", tool_calls=[tool_call("f"), tool_call("f")]),
            message("tool", "1"),
        ],
        [message("assistant", "3")],
    )

    assert [finding.code for finding in validate(row)] == ["tool_reply_missing"]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1)
ARGUMENTS = st.dictionaries(TEXT, st.integers() | TEXT, max_size=2)


@st.composite
def spans(draw: st.DrawFn) -> Row:
    """LLM spans as instrumentors record them: with and without ids, as items or whole."""
    inputs: list[Row] = []
    if draw(st.booleans()):
        inputs.append(message(draw(st.sampled_from(["system", "developer"])), draw(TEXT)))
    for turn in range(draw(st.integers(1, 4))):
        inputs.append(message(draw(st.sampled_from(["user", "human"])), draw(TEXT)))
        with_ids = draw(st.booleans())
        calls = [
            tool_call("f", json.dumps(draw(ARGUMENTS)), id=f"c{turn}_{n}" if with_ids else None)
            for n in range(draw(st.integers(0, 3)))
        ]
        if not calls:
            inputs.append(message(draw(st.sampled_from(["assistant", "ai"])), draw(TEXT)))
            continue
        if draw(st.booleans()):
            inputs += [message("assistant", tool_calls=[call]) for call in calls]
        else:
            inputs.append(message("assistant", tool_calls=calls))
        if draw(st.booleans()):
            inputs.append(message("user", draw(TEXT)))
        inputs += [
            message("tool", draw(TEXT), **({"tool_call_id": call["id"]} if with_ids else {}))
            for call in calls
        ]
    answer = message("assistant", draw(TEXT))
    if draw(st.booleans()):
        answer = message("assistant", tool_calls=[tool_call("f")])
    return llm_span(inputs, [answer], tools=[tool(openai_tool("f"))], parameters={"model": "m"})


@given(spans())
def test_whatever_way_a_conversation_was_recorded_its_row_is_valid(attributes: Row) -> None:
    row = to_row(to_conversation(attributes))

    assert validate_line(orjson.dumps(row)) == []
    said = sum(1 for turn in attributes["llm"]["input_messages"] if turn["message"].get("content"))
    kept = sum(1 for turn in row["messages"][:-1] if turn.get("content"))
    assert said == kept


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["messages", "role", "content", "tool_calls", "function", "tools"]),
            inner,
        )
    ),
    max_leaves=15,
)


@given(JSON)
def test_no_row_whatever_breaks_the_validator(row: Any) -> None:
    assert validate(row)
    assert validate({"messages": row, "tools": row})
    assert validate({"messages": [{"role": "assistant", "content": row, "tool_calls": row}]}) or (
        isinstance(row, str)
    )
