"""A body of Anthropic's Messages, read into a conversation; Bedrock's Claude takes the same one.

What the vendor refuses is refused here in its own words; the two APIs put them into their own
errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tracequill_collector.mock.conversation import Conversation, Json, Message, Role, Tool, ToolCall
from tracequill_collector.mock.said import as_object, blocks

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
_LEAST_THINKING_TOKENS = 1024


class InvalidMessages(Exception):
    """The vendor refuses the body; the message is what it says."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a body asks for."""

    conversation: Conversation
    limit: int
    """The most tokens of the answer."""
    stops: Sequence[str]
    thinks: bool
    cached: bool
    """A part of the body is marked to be cached."""


def read_messages(fields: Json) -> Asked:
    """Read the body; InvalidMessages when the vendor would refuse it."""
    for name in ("max_tokens", "messages"):
        if name not in fields:
            raise InvalidMessages(f"{name}: Field required")
    limit = fields["max_tokens"]
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise InvalidMessages("max_tokens: Input should be a valid integer")
    if limit < 0:
        raise InvalidMessages("max_tokens: Input should be greater than or equal to 0")
    temperature = fields.get("temperature")
    if isinstance(temperature, int | float) and not 0 <= temperature <= 1:
        raise InvalidMessages("temperature: range: 0..1")
    stops = fields.get("stop_sequences")
    return Asked(
        conversation=read_conversation(fields),
        limit=limit,
        stops=stops if isinstance(stops, list) else [],
        thinks=_thinks(as_object(fields.get("thinking")), limit),
        cached=_is_cached(fields),
    )


def read_conversation(fields: Json) -> Conversation:
    """Read what POST /v1/messages and POST /v1/messages/count_tokens have in common."""
    entries = fields.get("messages")
    if not isinstance(entries, list):
        raise InvalidMessages("messages: Input should be a valid list")
    if not entries:
        raise InvalidMessages("messages: at least one message is required")
    for index, entry in enumerate(entries):
        _check(entry, index, entries[index - 1] if index else None)
    names: dict[str, str] = {}
    messages: list[Message] = []
    if system := _text(fields.get("system")):
        messages.append(Message("system", system))
    for entry in entries:
        messages.extend(_messages(entry, names))
    choice = as_object(fields.get("tool_choice"))
    wanted: Literal["auto", "none", "required"] = "auto"
    if choice.get("type") == "any":
        wanted = "required"
    elif choice.get("type") == "none":
        wanted = "none"
    form = as_object(as_object(fields.get("output_config")).get("format"))
    form = form or as_object(fields.get("output_format"))
    return Conversation(
        messages=tuple(messages),
        tools=tuple(
            Tool(
                str(tool["name"]), str(tool.get("description", "")), as_object(tool["input_schema"])
            )
            for tool in blocks(fields.get("tools"))
            if "name" in tool and "input_schema" in tool
        ),
        tool_choice=wanted,
        forced_tool=str(choice.get("name", "")) if choice.get("type") == "tool" else "",
        parallel_calls=choice.get("disable_parallel_tool_use") is not True,
        json_answer=form.get("type") == "json_schema",
        json_schema=as_object(form.get("schema")),
    )


def _check(entry: Any, index: int, before: Any) -> None:
    """Refuse a message that the vendor refuses, alone or after the one *before* it."""
    if not isinstance(entry, dict):
        raise InvalidMessages(f"messages.{index}: Input should be an object")
    role = entry.get("role")
    if role not in _ROLES:
        raise InvalidMessages(
            f'messages: Unexpected role "{role}". Allowed roles are "user" or "assistant"'
        )
    if index == 0 and role == "assistant":
        raise InvalidMessages('messages: first message must use the "user" role')
    content = entry.get("content")
    if "content" not in entry:
        raise InvalidMessages(f"messages.{index}.content: Field required")
    if not isinstance(content, str | list):
        raise InvalidMessages(f"messages.{index}.content: Input should be a valid string or list")
    if not content and role == "user":
        raise InvalidMessages(f"messages.{index}: user messages must have non-empty content")
    called = _ids(before, "tool_use", "id")
    returned = _ids(entry, "tool_result", "tool_use_id")
    if strange := [name for name in returned if name not in called]:
        raise InvalidMessages(
            f"messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: "
            f"{strange[0]}. Each `tool_result` block must have a corresponding `tool_use` block in "
            "the previous message."
        )
    if missing := [name for name in called if name not in returned]:
        raise InvalidMessages(
            f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks "
            f"immediately after: {', '.join(missing)}. Each `tool_use` block must have a "
            "corresponding `tool_result` block in the next message."
        )


def _ids(entry: Any, kind: str, name: str) -> list[str]:
    parts = blocks(as_object(entry).get("content"))
    return [str(part.get(name)) for part in parts if part.get("type") == kind]


def _messages(entry: Json, names: dict[str, str]) -> list[Message]:
    role = _ROLES[entry["role"]]
    content = entry["content"]
    if isinstance(content, str):
        return [Message(role, content)]
    calls, results, images = [], [], 0
    for part in blocks(content):
        images += part.get("type") in ("image", "document")
        if part.get("type") == "tool_use":
            names[str(part.get("id"))] = str(part.get("name", ""))
            calls.append(ToolCall(str(part.get("name", "")), as_object(part.get("input"))))
        if part.get("type") == "tool_result":
            name = names.get(str(part.get("tool_use_id")), "")
            results.append(Message("tool", _text(part.get("content")), tool_name=name))
    text = _text(content)
    if not (text or calls or images):
        return list(results)
    return [Message(role, text, images=images, calls=tuple(calls)), *results]


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in blocks(content) if isinstance(part.get("text"), str))


def _thinks(thinking: Json, limit: int) -> bool:
    kind = thinking.get("type")
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int):
            raise InvalidMessages("thinking.enabled.budget_tokens: Field required")
        if budget < _LEAST_THINKING_TOKENS:
            raise InvalidMessages(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to "
                f"{_LEAST_THINKING_TOKENS}"
            )
        if limit <= budget:
            raise InvalidMessages(
                "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our "
                "documentation at https://docs.claude.com/en/docs/build-with-claude/"
                "extended-thinking#max-tokens-and-context-window-size"
            )
    return kind in ("enabled", "adaptive")


def _is_cached(fields: Json) -> bool:
    """Whether anything asks for the prompt cache."""
    marked = [fields, *blocks(fields.get("system")), *blocks(fields.get("tools"))]
    for entry in blocks(fields.get("messages")):
        marked.extend(blocks(entry.get("content")))
    return any(isinstance(item.get("cache_control"), dict) for item in marked)
