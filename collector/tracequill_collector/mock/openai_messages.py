"""OpenAI's chat messages, input items and tools, read into a conversation."""

from __future__ import annotations

from typing import Any, Literal

import orjson

from tracequill_collector.mock.conversation import Conversation, Json, Message, Role, Tool, ToolCall
from tracequill_collector.mock.openai_errors import OpenAIError, missing, wrong_type

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def read_chat(fields: Json) -> Conversation:
    """Read the body of POST /v1/chat/completions."""
    if "messages" not in fields:
        raise missing("messages")
    entries = fields["messages"]
    if not isinstance(entries, list):
        raise wrong_type("messages", "an array of objects", entries)
    if not entries:
        raise OpenAIError(
            400,
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an "
            "empty array instead.",
            param="messages",
            code="empty_array",
        )
    names: dict[str, str] = {}
    messages = tuple(_message(entry, index, names) for index, entry in enumerate(entries))
    tools = _chat_tools(fields.get("tools"))
    choice, forced = _choice(fields.get("tool_choice"), tools)
    json_answer, schema = _response_format(fields.get("response_format"), entries)
    return Conversation(
        messages=messages,
        tools=tools,
        tool_choice=choice,
        forced_tool=forced,
        parallel_calls=fields.get("parallel_tool_calls") is not False,
        json_answer=json_answer,
        json_schema=schema,
    )


def read_responses(fields: Json, earlier: list[Any]) -> Conversation:
    """Read the body of POST /v1/responses; *earlier* items come before its own input."""
    names: dict[str, str] = {}
    messages: list[Message] = []
    if isinstance(fields.get("instructions"), str):
        messages.append(Message("system", fields["instructions"]))
    for item in [*earlier, *input_items(fields)]:
        if isinstance(item, dict) and (message := _item(item, names)):
            messages.append(message)
    tools = _response_tools(fields.get("tools"))
    choice, forced = _choice(fields.get("tool_choice"), tools)
    form = fields.get("text", {}).get("format") if isinstance(fields.get("text"), dict) else None
    form = form if isinstance(form, dict) else {}
    return Conversation(
        messages=tuple(messages),
        tools=tools,
        tool_choice=choice,
        forced_tool=forced,
        parallel_calls=fields.get("parallel_tool_calls") is not False,
        json_answer=form.get("type") in ("json_object", "json_schema"),
        json_schema=_object(form.get("schema")),
    )


def input_items(fields: Json) -> list[Any]:
    """Give the items of ``input``; a text is one message of the user."""
    value = fields.get("input")
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}]
    if isinstance(value, list):
        return value
    if value is None:
        raise missing("input")
    raise wrong_type("input", "a string or an array of objects", value)


def _message(entry: Any, index: int, names: dict[str, str]) -> Message:
    if not isinstance(entry, dict):
        raise wrong_type(f"messages[{index}]", "an object", entry)
    if "role" not in entry:
        raise missing(f"messages[{index}].role")
    role = _ROLES.get(str(entry["role"]))
    if role is None:
        raise OpenAIError(
            400,
            f"Invalid value: '{entry['role']}'. Supported values are: 'system', 'assistant', "
            "'user', 'function', 'tool', and 'developer'.",
            param=f"messages[{index}].role",
            code="invalid_value",
        )
    calls = tuple(
        _call(call.get("id"), _object(call.get("function")), names)
        for call in entry.get("tool_calls") or []
        if isinstance(call, dict)
    )
    if role == "user" and entry.get("content") is None:
        raise missing(f"messages[{index}].content")
    if role == "tool" and entry["role"] == "tool" and "tool_call_id" not in entry:
        raise missing(f"messages[{index}].tool_call_id")
    text, images = _content(entry.get("content"))
    name = names.get(str(entry.get("tool_call_id")), "") or str(entry.get("name") or "")
    return Message(role, text, tool_name=name if role == "tool" else "", images=images, calls=calls)


def _item(item: Json, names: dict[str, str]) -> Message | None:
    kind = item.get("type", "message")
    if kind == "function_call":
        return Message("assistant", calls=(_call(item.get("call_id"), item, names),))
    if kind == "function_call_output":
        text, images = _content(item.get("output"))
        return Message("tool", text, tool_name=names.get(str(item.get("call_id")), ""))
    if kind == "message" and (role := _ROLES.get(str(item.get("role")))):
        text, images = _content(item.get("content"))
        return Message(role, text, images=images)
    return None


def _call(call_id: Any, function: Json, names: dict[str, str]) -> ToolCall:
    name = str(function.get("name") or "")
    names[str(call_id)] = name
    try:
        arguments = orjson.loads(str(function.get("arguments") or "{}"))
    except orjson.JSONDecodeError:
        arguments = {}
    return ToolCall(name, _object(arguments))


def _content(content: Any) -> tuple[str, int]:
    """Give the text of a message's content and the number of its images."""
    if isinstance(content, str):
        return content, 0
    parts = (
        [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    )
    text = "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    return text, sum(part.get("type") in ("image_url", "input_image") for part in parts)


def _chat_tools(tools: Any) -> tuple[Tool, ...]:
    found = []
    for index, entry in enumerate(tools if isinstance(tools, list) else []):
        function = _object(entry.get("function")) if isinstance(entry, dict) else {}
        if isinstance(entry, dict) and entry.get("type") == "function":
            if not function.get("name"):
                raise missing(f"tools[{index}].function.name")
            found.append(_tool(function))
    return tuple(found)


def _response_tools(tools: Any) -> tuple[Tool, ...]:
    entries = tools if isinstance(tools, list) else []
    return tuple(
        _tool(entry)
        for entry in entries
        if isinstance(entry, dict) and entry.get("type") == "function" and entry.get("name")
    )


def _tool(function: Json) -> Tool:
    return Tool(
        name=str(function["name"]),
        description=str(function.get("description") or ""),
        schema=_object(function.get("parameters")),
    )


def _choice(
    choice: Any, tools: tuple[Tool, ...]
) -> tuple[Literal["auto", "none", "required"], str]:
    if isinstance(choice, dict):
        named = _object(choice.get("function")).get("name") or choice.get("name")
        if named and all(tool.name != named for tool in tools):
            raise OpenAIError(
                400, f"Tool choice '{named}' not found in 'tools' parameter.", param="tool_choice"
            )
        return "auto", str(named or "")
    if choice in ("none", "required"):
        return choice, ""
    return "auto", ""


def _response_format(value: Any, entries: list[Any]) -> tuple[bool, Json]:
    form = _object(value)
    if form.get("type") == "json_schema":
        return True, _object(_object(form.get("json_schema")).get("schema"))
    if form.get("type") != "json_object":
        return False, {}
    if b"json" not in orjson.dumps(entries).lower():
        raise OpenAIError(
            400,
            "'messages' must contain the word 'json' in some form, to use 'response_format' of "
            "type 'json_object'.",
            param="messages",
        )
    return True, {}


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
