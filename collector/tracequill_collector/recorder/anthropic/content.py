"""Content blocks and tools of Anthropic's Messages: objects enter, flat attributes leave.

Every block has a place in the span: what no attribute exists for is recorded as JSON, types that
are newer than this module included. No input or output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from openinference.semconv.trace import MessageContentAttributes, SpanAttributes

from tracequill_collector.recorder.body import to_json
from tracequill_collector.recorder.message import (
    CALL_ARGUMENTS,
    CALL_ID,
    CALL_NAME,
    CONTENT,
    CONTENTS,
    DATA,
    IMAGE_URL,
    INPUT_MESSAGES,
    OUTPUT_MESSAGES,
    REDACTED,
    ROLE,
    SIGNATURE,
    TEXT,
    TOOL_CALL_ID_OF_RESULT,
    TOOL_CALLS,
    TYPE,
    Pairs,
    image_url,
    mapping,
    objects,
    text_or_none,
)

CALL_TYPES = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
"""Blocks in which the model, or the vendor for it, calls a tool."""
_ENCRYPTED = MessageContentAttributes.MESSAGE_CONTENT_ENCRYPTED_CONTENT


def input_messages(request: dict[str, Any]) -> Pairs:
    """Give the messages of a request: its system prompt first, each tool result on its own."""
    index = 0
    if system := request.get("system"):
        prefix = f"{INPUT_MESSAGES}.0."
        yield prefix + ROLE, "system"
        if isinstance(system, list):
            yield from contents(prefix, system)
        else:
            yield prefix + CONTENT, system
        index = 1
    for message in _items(request.get("messages")):
        content = mapping(message).get("content")
        results = [block for block in _items(content) if _type(block) == "tool_result"]
        for block in results:
            prefix = f"{INPUT_MESSAGES}.{index}."
            yield prefix + ROLE, "tool"
            yield from contents(prefix, [block])
            index += 1
        if results:
            content = [block for block in _items(content) if _type(block) != "tool_result"]
            if not content:
                continue
        prefix = f"{INPUT_MESSAGES}.{index}."
        yield prefix + ROLE, mapping(message).get("role") or None
        if isinstance(content, list):
            yield from contents(prefix, content)
        else:
            yield prefix + CONTENT, content or None
        index += 1


def output_message(response: dict[str, Any]) -> Pairs:
    """Give the message that a response is."""
    prefix = f"{OUTPUT_MESSAGES}.0."
    yield prefix + ROLE, response.get("role")
    yield from contents(prefix, _items(response.get("content")))


def contents(prefix: str, blocks: list[Any]) -> Pairs:
    """Give each block of the message at *prefix*, at its own place."""
    calls = 0
    for index, block in enumerate(blocks):
        inner = f"{prefix}{CONTENTS}.{index}."
        pairs = list(_block(prefix, inner, calls, block)) if isinstance(block, dict) else []
        if not pairs:
            pairs = list(_as_json(inner, block))
        elif _type(block) in CALL_TYPES:
            calls += 1
        yield from pairs


def _block(prefix: str, inner: str, calls: int, block: dict[str, Any]) -> Pairs:
    """Give a block's attributes; none when it lacks what its type needs."""
    match block:
        case {"type": "text", "text": text}:
            yield inner + TYPE, "text"
            yield inner + TEXT, text
        case {"type": "thinking", "thinking": text}:
            yield inner + TYPE, "reasoning"
            yield inner + TEXT, text
            yield inner + SIGNATURE, block.get("signature") or None
        case {"type": "redacted_thinking", "data": data}:
            yield inner + TYPE, "reasoning"
            yield inner + DATA, data
        case {"type": str(kind), "id": call_id, "name": name, "input": given} if kind in CALL_TYPES:
            yield inner + TYPE, "tool_use"
            for place in (f"{prefix}{TOOL_CALLS}.{calls}.", inner):
                yield place + CALL_ID, call_id
                yield place + CALL_NAME, name
                yield place + CALL_ARGUMENTS, given if isinstance(given, str) else to_json(given)
        case {"type": "tool_result", "tool_use_id": call_id}:
            yield prefix + TOOL_CALL_ID_OF_RESULT, call_id
            result = block.get("content")
            if result is not None:
                yield prefix + CONTENT, result if isinstance(result, str) else to_safe_json(result)
        case {"type": "image", "source": {"type": "base64", "data": data, **source}}:
            yield inner + TYPE, "image"
            yield inner + IMAGE_URL, image_url(f"data:{source.get('media_type')};base64,{data}")
        case {"type": "image", "source": {"type": "url", "url": url}}:
            yield inner + TYPE, "image"
            yield inner + IMAGE_URL, image_url(url)
        case {"type": "compaction"}:
            yield inner + TYPE, "text"
            yield inner + TEXT, block.get("content")
            yield inner + SIGNATURE, block.get("signature") or None
            yield inner + _ENCRYPTED, block.get("encrypted_content") or None
        case {"type": "fallback"}:
            yield inner + TYPE, "fallback"
            yield inner + TEXT, _fallback(block)


def _fallback(block: dict[str, Any]) -> str:
    """Say which model declined, which took over, and why."""
    category = mapping(block.get("trigger")).get("category")
    reason = f" (refusal: {category})" if isinstance(category, str) else ""
    models = (mapping(block.get(side)).get("model") for side in ("from", "to"))
    return " -> ".join(str(model) for model in models) + reason


def _as_json(inner: str, block: Any) -> Pairs:
    yield inner + TYPE, _type(block) or "unknown"
    yield inner + TEXT, to_safe_json(block)


def to_safe_json(value: Any) -> str:
    """Encode *value* without the base64 of images and documents in it."""
    return to_json(_without_data(value))


def _without_data(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_data(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {
            name: kept if name in ("type", "media_type") else REDACTED
            for name, kept in item.items()
        }
        if key == "source" and isinstance(item, dict) and item.get("type") == "base64"
        else _without_data(item)
        for key, item in value.items()
    }


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _type(block: Any) -> str | None:
    return text_or_none(mapping(block).get("type"))


# --- tools --------------------------------------------------------------------------------


def offered_tools(request: dict[str, Any]) -> list[Any]:
    """Give the tools that the model has at the end of the messages.

    These are the request's, with what its messages add and withdraw, in their order.
    """
    offered = {
        _tool_key(tool, index): tool for index, tool in enumerate(_items(request.get("tools")))
    }
    defined = dict(offered)
    for change in _tool_changes(request):
        tool = mapping(change.get("tool"))
        if change.get("type") == "tool_removal":
            offered.pop(_reference_key(tool), None)
        elif tool.get("type") == "tool_definition":
            if definition := tool.get("definition"):
                key = _tool_key(definition, len(defined))
                offered.pop(key, None)
                offered[key] = defined[key] = definition
        elif (key := _reference_key(tool)) in defined:
            offered[key] = defined[key]
    return list(offered.values())


def _tool_changes(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for message in objects(request.get("messages")):
        for block in objects(message.get("content")):
            changes = (
                objects(block.get("tool_changes")) if _type(block) == "compaction" else [block]
            )
            for change in changes:
                if change.get("type") in ("tool_addition", "tool_removal"):
                    yield change


def _tool_key(tool: Any, index: int) -> tuple[str, Any]:
    tool = mapping(tool)
    if tool.get("type") == "mcp_toolset":
        return "mcp_toolset", str(tool.get("mcp_server_name"))
    if (name := tool.get("name")) is not None:
        return "name", str(name)
    return "index", index


def _reference_key(tool: dict[str, Any]) -> tuple[str, Any]:
    if tool.get("type") == "mcp_toolset_reference":
        return "mcp_toolset", str(tool.get("server_name"))
    return "name", str(tool.get("name"))


# --- what has no attribute of its own -----------------------------------------------------


def metadata(request: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    """Give what a response says beyond its message, for the span's metadata.

    Citations hang on the index of their block, everything about a call on the call's id.
    """
    usage = mapping(response.get("usage"))
    server_tools = mapping(usage.get("server_tool_use"))
    blocks = objects(response.get("content"))
    callers, toolsets = _calls(request, blocks)
    found = {
        "stop_details": response.get("stop_details"),
        "cache_miss_reason": mapping(response.get("diagnostics")).get("cache_miss_reason"),
        "container_id": mapping(response.get("container")).get("id"),
        "context_management_applied_edits": mapping(response.get("context_management")).get(
            "applied_edits"
        ),
        "input_transformations": response.get("input_transformations"),
        "usage_iterations": usage.get("iterations"),
        "server_tool_use": server_tools if any(server_tools.values()) else None,
        "citations": {
            str(index): citations
            for index, block in enumerate(_items(response.get("content")))
            if _type(block) == "text" and (citations := block.get("citations"))
        },
        "mcp_server_names": {
            str(block.get("id")): block.get("server_name")
            for block in blocks
            if block.get("type") == "mcp_tool_use"
        },
        "tool_callers": callers,
        "toolset_names": toolsets,
    }
    return {key: value for key, value in found.items() if value}


def _calls(
    request: dict[str, Any], output: list[dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give who made each call that the model did not make itself, and the toolset of each."""
    callers: dict[str, Any] = {}
    toolsets: dict[str, Any] = {}
    messages = objects(request.get("messages"))
    given = [block for message in messages for block in objects(message.get("content"))]
    for block in [*given, *output]:
        kind = _type(block)
        if kind in CALL_TYPES:
            call_id = str(block.get("id"))
            if (caller := block.get("caller")) and caller != {"type": "direct"}:
                callers[call_id] = caller
        elif kind == "tool_result":
            call_id = str(block.get("tool_use_id"))
        else:
            continue
        if toolset := block.get("toolset_name"):
            toolsets[call_id] = toolset
    return callers, toolsets


def token_counts(usage: dict[str, Any]) -> Pairs:
    """Give the token counts; what was read from a cache or written to it is part of the prompt."""
    read = _count(usage, "cache_read_input_tokens")
    written = _count(usage, "cache_creation_input_tokens")
    parts = [count for count in (_count(usage, "input_tokens"), written, read) if count is not None]
    prompt = sum(parts) if parts else None
    completion = _count(usage, "output_tokens")
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, prompt
    yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, completion
    if prompt is not None and completion is not None:
        yield SpanAttributes.LLM_TOKEN_COUNT_TOTAL, prompt + completion
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_READ, read or None
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_WRITE, written or None
    thought = _count(mapping(usage.get("output_tokens_details")), "thinking_tokens")
    yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION_DETAILS_REASONING, thought or None


def _count(usage: dict[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
