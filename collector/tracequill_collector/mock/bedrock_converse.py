"""Bedrock's converse shape: POST converse and converse-stream, and what Nova's invoke shares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import orjson

from tracequill_collector.mock.bedrock_errors import invalid, parse_body
from tracequill_collector.mock.conversation import (
    Conversation,
    Json,
    Message,
    Tool,
    ToolCall,
    tokens,
)
from tracequill_collector.mock.eventstream import event_frame, exception_frame
from tracequill_collector.mock.reply import MockRequest, Reply, compact_json
from tracequill_collector.mock.said import Said, as_object, blocks, say

_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234"


def converse(request: MockRequest) -> Reply:
    """Answer POST /model/{id}/converse; a BedrockError when the vendor would refuse it."""
    fields = parse_body(request.body)
    said = say(request, read_converse(fields), *limits(fields.get("inferenceConfig")))
    body: Json = {
        "metrics": {"latencyMs": request.latency_milliseconds},
        "output": {"message": {"content": content(said), "role": "assistant"}},
        "stopReason": said.stop_reason,
        "usage": usage(said),
    }
    return Reply(200, [("content-type", "application/json")], [compact_json(body)])


def converse_stream(request: MockRequest) -> Reply:
    """Answer POST /model/{id}/converse-stream."""
    fields = parse_body(request.body)
    said = say(request, read_converse(fields), *limits(fields.get("inferenceConfig")))
    frames = [
        event_frame(kind, compact_json({**event, "p": padding(number)}))
        for number, (kind, event) in enumerate(_events(said, request.latency_milliseconds))
    ]
    return Reply(
        200,
        [("content-type", "application/vnd.amazon.eventstream")],
        frames,
        broken_off=stream_failure(),
    )


def stream_failure() -> bytes:
    """The exception that breaks off a stream under HTTP 200."""
    body = {
        "message": "The system encountered an unexpected error during processing. "
        "Try your request again.",
        "originalStatusCode": 500,
    }
    return exception_frame("modelStreamErrorException", compact_json(body))


def padding(number: int) -> str:
    """The signs with which the vendor hides how long a chunk is."""
    return _PADDING[: 1 + number * 17 % len(_PADDING)]


def usage(said: Said) -> Json:
    """Usage as converse counts it."""
    return {
        "inputTokens": said.input_tokens,
        "outputTokens": said.output_tokens,
        "totalTokens": said.input_tokens + said.output_tokens,
    }


def content(said: Said) -> list[Json]:
    """The content blocks of the answer."""
    blocks: list[Json] = [{"text": said.answer.text}] if said.answer.text else []
    for call, call_id in zip(said.answer.calls, said.call_ids, strict=True):
        use = {"input": call.arguments, "name": call.name, "toolUseId": f"tooluse_{call_id}"}
        blocks.append({"toolUse": use})
    return blocks or [{"text": ""}]


def _events(said: Said, latency_milliseconds: int) -> Iterator[tuple[str, Json]]:
    yield "messageStart", {"role": "assistant"}
    index = 0
    for piece in tokens(said.answer.text):
        yield "contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}}
    if said.answer.text:
        yield "contentBlockStop", {"contentBlockIndex": 0}
        index = 1
    for number, call in enumerate(said.answer.calls, index):
        use = {"name": call.name, "toolUseId": f"tooluse_{said.call_ids[number - index]}"}
        yield "contentBlockStart", {"contentBlockIndex": number, "start": {"toolUse": use}}
        for piece in ["", *tokens(call.arguments_text)]:
            delta = {"toolUse": {"input": piece}}
            yield "contentBlockDelta", {"contentBlockIndex": number, "delta": delta}
        yield "contentBlockStop", {"contentBlockIndex": number}
    yield "messageStop", {"stopReason": said.stop_reason}
    yield "metadata", {"metrics": {"latencyMs": latency_milliseconds}, "usage": usage(said)}


# --- reading the request ------------------------------------------------------------------


def limits(config: Any) -> tuple[int | None, list[str]]:
    """Read ``inferenceConfig``: the most tokens and the stop sequences."""
    fields = config if isinstance(config, dict) else {}
    most = fields.get("maxTokens")
    stops = fields.get("stopSequences")
    if most is not None and (not isinstance(most, int) or most < 1):
        raise invalid(
            "1 validation error detected: Value at 'inferenceConfig.maxTokens' failed to satisfy "
            "constraint: Member must have value greater than or equal to 1"
        )
    return most, stops if isinstance(stops, list) else []


def read_converse(fields: Json) -> Conversation:
    """Read a body of converse, or of Nova's invoke, which has the same shape."""
    messages = [_system(block) for block in blocks(fields.get("system"))]
    names: dict[str, str] = {}
    entries = blocks(fields.get("messages"))
    if not entries:
        raise invalid("The messages field must not be empty. Add a message and try again.")
    if entries[0].get("role") != "user":
        raise invalid(
            "A conversation must start with a user message. Try again with a conversation that "
            "starts with a user message."
        )
    for entry in entries:
        messages.extend(_messages(entry, names))
    config = fields.get("toolConfig")
    config = config if isinstance(config, dict) else {}
    choice, forced = _choice(config.get("toolChoice"))
    return Conversation(
        messages=tuple(messages),
        tools=tuple(
            Tool(
                name=str(spec.get("name", "")),
                description=str(spec.get("description", "")),
                schema=as_object(as_object(spec.get("inputSchema")).get("json")),
            )
            for entry in blocks(config.get("tools"))
            if (spec := as_object(entry.get("toolSpec")))
        ),
        tool_choice=choice,
        forced_tool=forced,
    )


def _system(block: Json) -> Message:
    return Message("system", str(block.get("text", "")))


def _messages(entry: Json, names: dict[str, str]) -> list[Message]:
    role: Literal["user", "assistant"] = "assistant" if entry.get("role") == "assistant" else "user"
    parts = blocks(entry.get("content"))
    if not parts:
        raise invalid(
            "The content field in the Message object is empty. Add a ContentBlock object to the "
            "content field and try again."
        )
    calls = []
    results = []
    for part in parts:
        if use := as_object(part.get("toolUse")):
            names[str(use.get("toolUseId"))] = str(use.get("name", ""))
            calls.append(ToolCall(str(use.get("name", "")), as_object(use.get("input"))))
        if result := as_object(part.get("toolResult")):
            name = names.get(str(result.get("toolUseId")), "")
            results.append(Message("tool", _result_text(result), tool_name=name))
    texts = [str(part["text"]) for part in parts if "text" in part]
    images = sum("image" in part for part in parts)
    if not (texts or calls or images):
        return list(results)
    message = Message(role, "\n".join(texts), images=images, calls=tuple(calls))
    # A text beside results belongs to the question; results come last, as they decide.
    return [message, *results]


def _result_text(result: Json) -> str:
    said = []
    for part in blocks(result.get("content")):
        if "json" in part:
            said.append(orjson.dumps(part["json"]).decode())
        elif "text" in part:
            said.append(str(part["text"]))
    return "\n".join(said)


def _choice(value: Any) -> tuple[Literal["auto", "none", "required"], str]:
    fields = as_object(value)
    if "any" in fields:
        return "required", ""
    return "auto", str(as_object(fields.get("tool")).get("name", ""))
