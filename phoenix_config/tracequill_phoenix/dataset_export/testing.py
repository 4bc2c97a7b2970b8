"""Builders of span attributes as OpenInference nests them, for tests."""

from __future__ import annotations

from typing import Any

import orjson


def message(
    role: str,
    content: str | None = None,
    *,
    contents: list[dict[str, Any]] | None = None,
    tool_calls: list[dict[str, Any]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """One entry of ``llm.input_messages`` or ``llm.output_messages``."""
    recorded: dict[str, Any] = {"role": role, **more}
    if content is not None:
        recorded["content"] = content
    if contents is not None:
        recorded["contents"] = [{"message_content": part} for part in contents]
    if tool_calls is not None:
        recorded["tool_calls"] = [{"tool_call": call} for call in tool_calls]
    return {"message": recorded}


def tool_call(name: str, arguments: Any = "{}", *, id: str | None = None) -> dict[str, Any]:
    """One tool call of a message; without *id* it is one that was recorded without."""
    call: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
    return {"id": id, **call} if id else call


def tool(schema: Any, **more: Any) -> dict[str, Any]:
    """One entry of ``llm.tools``, its schema as JSON text."""
    text = schema if isinstance(schema, str) else orjson.dumps(schema).decode()
    return {"tool": {"json_schema": text, **more}}


def openai_tool(name: str, **parameters: Any) -> dict[str, Any]:
    """A tool as an OpenAI client sends it."""
    schema = {"type": "object", "properties": parameters}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def llm_span(
    inputs: list[dict[str, Any]],
    outputs: list[dict[str, Any]],
    *,
    tools: list[dict[str, Any]] | None = None,
    parameters: dict[str, Any] | None = None,
    **llm: Any,
) -> dict[str, Any]:
    """The attributes of an LLM span."""
    recorded: dict[str, Any] = {"input_messages": inputs, "output_messages": outputs, **llm}
    if tools is not None:
        recorded["tools"] = tools
    if parameters is not None:
        recorded["invocation_parameters"] = orjson.dumps(parameters).decode()
    return {"llm": recorded, "openinference": {"span": {"kind": "LLM"}}}
