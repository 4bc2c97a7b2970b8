"""Anthropic's messages as Bedrock's invoke carries them, plain and as chunks of a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import orjson

from tracequill_collector.mock.bedrock_converse import Said, as_object, blocks, say
from tracequill_collector.mock.bedrock_errors import invalid
from tracequill_collector.mock.conversation import (
    Conversation,
    Json,
    Message,
    Tool,
    ToolCall,
    identifier,
    tokens,
)
from tracequill_collector.mock.reply import MockRequest

# Claude says a word before it calls a function.
_BEFORE_CALLS = "I will look that up for you."


def read_anthropic(request: MockRequest, fields: Json) -> Said:
    """Read the body and answer it; a BedrockError when the vendor would refuse it."""
    for name in ("anthropic_version", "max_tokens", "messages"):
        if name not in fields:
            raise invalid(f"{name}: Field required")
    if not isinstance(fields["max_tokens"], int) or fields["max_tokens"] < 1:
        raise invalid("max_tokens: must be greater than or equal to 1")
    entries = blocks(fields["messages"])
    if not entries:
        raise invalid("messages: at least one message is required")
    stops = fields.get("stop_sequences")
    return say(
        request,
        _conversation(fields, entries),
        fields["max_tokens"],
        stops if isinstance(stops, list) else [],
    )


def anthropic_body(said: Said, request: MockRequest, model: str) -> Json:
    """The whole answer as one message."""
    return {
        **_begun(said, request, model),
        "content": _content(said),
        "stop_reason": said.stop_reason,
        "stop_sequence": said.stop_sequence,
        "usage": {"input_tokens": said.input_tokens, "output_tokens": said.output_tokens},
    }


def anthropic_events(said: Said, request: MockRequest, model: str) -> Iterator[Json]:
    """The events of a stream, from message_start to message_stop."""
    begun = {
        **_begun(said, request, model),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": said.input_tokens, "output_tokens": 1},
    }
    yield {"type": "message_start", "message": begun}
    for index, block in enumerate(_content(said)):
        yield from _block_events(block, index)
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": said.stop_reason, "stop_sequence": said.stop_sequence},
        "usage": {"output_tokens": said.output_tokens},
    }
    yield {"type": "message_stop"}


def _begun(said: Said, request: MockRequest, model: str) -> Json:
    return {
        "id": "msg_bdrk_01" + identifier(22, request.path, request.body),
        "type": "message",
        "role": "assistant",
        "model": model,
    }


def _content(said: Said) -> list[Json]:
    text = said.answer.text or (_BEFORE_CALLS if said.answer.calls else "")
    content: list[Json] = [{"type": "text", "text": text}]
    for call, call_id in zip(said.answer.calls, said.call_ids, strict=True):
        content.append(
            {
                "type": "tool_use",
                "id": f"toolu_bdrk_01{call_id}",
                "name": call.name,
                "input": call.arguments,
            }
        )
    return content


def _block_events(block: Json, index: int) -> Iterator[Json]:
    if block["type"] == "text":
        empty: Json = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": piece} for piece in tokens(block["text"])]
    else:
        empty = {**block, "input": {}}
        written = orjson.dumps(block["input"]).decode()
        deltas = [
            {"type": "input_json_delta", "partial_json": piece} for piece in ["", *tokens(written)]
        ]
    yield {"type": "content_block_start", "index": index, "content_block": empty}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def _conversation(fields: Json, entries: list[Json]) -> Conversation:
    names: dict[str, str] = {}
    messages: list[Message] = []
    system = _text(fields.get("system"))
    if system:
        messages.append(Message("system", system))
    for entry in entries:
        messages.extend(_messages(entry, names))
    choice = as_object(fields.get("tool_choice"))
    wanted: Literal["auto", "none", "required"] = "auto"
    if choice.get("type") == "any":
        wanted = "required"
    elif choice.get("type") == "none":
        wanted = "none"
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
    )


def _messages(entry: Json, names: dict[str, str]) -> list[Message]:
    role: Literal["user", "assistant"] = "assistant" if entry.get("role") == "assistant" else "user"
    content = entry.get("content")
    if isinstance(content, str):
        return [Message(role, content)]
    calls, results, images = [], [], 0
    for part in blocks(content):
        images += part.get("type") == "image"
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
