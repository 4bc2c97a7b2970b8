"""Calls of a model in a Bedrock agent's trace: their input and output enter, attributes leave.

Both are texts. The input is mostly the JSON of a prompt, whose messages may again be written as
Java writes objects: ``[{text=Hello, type=text}]``. The output is what the model answered, in its
vendor's form. No input or output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from openinference.semconv.trace import (
    OpenInferenceLLMProviderValues,
    OpenInferenceMimeTypeValues,
    OpenInferenceSpanKindValues,
    SpanAttributes,
)

from tracequill_collector.recorder.body import parse_json, to_json
from tracequill_collector.recorder.message import (
    INPUT_MESSAGES,
    OUTPUT_MESSAGES,
    Pairs,
    mapping,
    messages_attributes,
    objects,
    text_or_none,
)

TEXT = OpenInferenceMimeTypeValues.TEXT.value

# Linear in the text: a name begins where a word begins, and is never tried again shorter.
_NAME = re.compile(r"\b(\w++)=")
_BARE_VALUE = re.compile(r':\s*([^"{},\[\]]+)')
_BAD_ESCAPE = re.compile(r'\\(?!["\\/bfnrtu])')
# Written by the service for itself.
_TYPE = "__type"


def input_attributes(invocation: dict[str, Any]) -> Pairs:
    """Give everything that a ``modelInvocationInput`` says."""
    text = text_or_none(invocation.get("text")) or ""
    yield SpanAttributes.LLM_PROVIDER, OpenInferenceLLMProviderValues.AWS.value
    yield SpanAttributes.LLM_MODEL_NAME, text_or_none(invocation.get("foundationModel")) or None
    yield from _parameters(invocation)
    yield from messages_attributes(INPUT_MESSAGES, input_messages(text))
    yield SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.LLM.value
    yield SpanAttributes.INPUT_VALUE, text
    yield SpanAttributes.INPUT_MIME_TYPE, TEXT


def _parameters(invocation: dict[str, Any]) -> Pairs:
    given = mapping(invocation.get("inferenceConfiguration"))
    known = {name: value for name, value in given.items() if name != _TYPE and value is not None}
    yield SpanAttributes.LLM_INVOCATION_PARAMETERS, to_json(known) if known else None


def input_messages(text: str) -> list[dict[str, Any]]:
    """Give the messages of a prompt; a prompt that is no JSON is one message."""
    prompt = parse_json(text)
    if prompt is None:
        prompt = parse_json(_BAD_ESCAPE.sub(r"\\\\", text))
    whole = [{"role": "assistant", "content": text}]
    if not isinstance(prompt, dict):
        return whole
    messages: list[dict[str, Any]] = []
    if system := prompt.get("system"):
        messages.append({"role": "system", "content": text_or_none(system)})
    for message in objects(prompt.get("messages")):
        content = message.get("content")
        if not content:
            continue
        if not isinstance(content, str):
            return whole
        role = message.get("role", "")
        messages.extend({"role": role, "content": said} for said in _contents(content))
    return messages


def _contents(content: str) -> list[Any]:
    """Give what each of the objects in *content* says, or *content* where there are none."""
    contents: list[Any] = []
    for found in _objects_in(content):
        kind = found.get("type")
        contents.append(found.get(kind, "") if kind else content)
    return contents or [content]


def _objects_in(content: str) -> Iterator[dict[str, Any]]:
    """Find the objects, without objects in them, that stand in one line each."""
    text = content.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    start = text.find("{")
    while start >= 0 and (end := text.find("}", start)) >= 0:
        line_end = text.rfind("\n", start, end)
        if line_end >= 0:
            start = text.find("{", line_end)
            continue
        written = _NAME.sub(r'"\1":', text[start : end + 1])
        written = _BARE_VALUE.sub(r': "\1"', written).replace("'", '"')
        found = parse_json(written)
        if isinstance(found, dict):
            yield found
        start = text.find("{", end)


# --- output -------------------------------------------------------------------------------


def output_attributes(invocation: dict[str, Any]) -> Pairs:
    """Give everything that a ``modelInvocationOutput`` says, but for its metadata."""
    text = _raw_text(invocation)
    answer = parse_json(text) if text else None
    model = mapping(answer).get("model")
    yield SpanAttributes.LLM_PROVIDER, OpenInferenceLLMProviderValues.AWS.value
    yield SpanAttributes.LLM_MODEL_NAME, None if model is None else str(model)
    yield from _parameters(invocation)
    yield from messages_attributes(OUTPUT_MESSAGES, _output_messages(invocation, text, answer))
    if usage := mapping(mapping(invocation.get("metadata")).get("usage")):
        prompt, completion = _count(usage.get("inputTokens")), _count(usage.get("outputTokens"))
        total = prompt + completion if prompt and completion else 0
        yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, prompt
        yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, completion
        yield SpanAttributes.LLM_TOKEN_COUNT_TOTAL, total
    if said := output_text(invocation):
        yield SpanAttributes.OUTPUT_VALUE, said
        yield SpanAttributes.OUTPUT_MIME_TYPE, TEXT


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _raw_text(invocation: dict[str, Any]) -> str:
    return text_or_none(mapping(invocation.get("rawResponse")).get("content")) or ""


def output_text(invocation: dict[str, Any]) -> str:
    """Give what the model said, as one text; empty when there is nothing."""
    if text := _raw_text(invocation):
        message = mapping(mapping(mapping(parse_json(text)).get("output")).get("message"))
        content = message.get("content")
        blocks = [content] if isinstance(content, dict) else objects(content)
        said = (block.get("text") for block in blocks)
        return next((str(part) for part in said if part is not None), text)
    parsed = mapping(invocation.get("parsedResponse"))
    return str(parsed.get("text") or parsed.get("rationale") or "")


def _output_messages(invocation: dict[str, Any], text: str, answer: Any) -> list[dict[str, Any]]:
    """Give the answer as one message, or none when it says nothing."""
    role: Any = "assistant"
    blocks: list[dict[str, Any]] = []
    contents = list(_reasoning(mapping(invocation.get("reasoningContent"))))
    is_reasoned = bool(contents)
    calls: list[dict[str, Any]] = []
    if text and answer is None:
        contents.append({"type": "text", "text": text})
    elif isinstance(answer, dict):
        # Anthropic's messages have their blocks at the top, Converse's in the output.
        message = mapping(mapping(answer.get("output")).get("message"))
        holder = answer if isinstance(answer.get("content"), list) else message
        blocks = objects(holder.get("content"))
        role = holder.get("role") or role
    for block in blocks:
        thought = list(_thought(block))
        if not (thought and is_reasoned):
            contents.extend(thought or _said(block))
            calls.extend(_call(block))
    if not contents and not calls:
        return []
    if len(contents) == 1 and not calls and contents[0]["type"] == "text":
        return [{"role": role, "content": contents[0]["text"]}]
    return [{"role": role, "contents": contents, "tool_calls": calls}]


def _reasoning(reasoning: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if text := mapping(reasoning.get("reasoningText")):
        signature = text.get("signature") or None
        yield {"type": "reasoning", "text": text.get("text", ""), "signature": signature}
    elif (data := reasoning.get("redactedContent")) is not None:
        yield {"type": "reasoning", "data": str(data)}


def _thought(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    match block.get("type"):
        case "thinking":
            signature = block.get("signature")
            yield {"type": "reasoning", "text": block.get("thinking", ""), "signature": signature}
        case "redacted_thinking":
            yield {"type": "reasoning", "data": block.get("data", "")}
        case None:
            yield from _reasoning(mapping(block.get("reasoningContent")))


def _said(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if block.get("type") == "text":
        yield {"type": "text", "text": block.get("text", "")}
    elif "type" not in block and block.get("text"):
        yield {"type": "text", "text": block["text"]}


def _call(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if block.get("type") == "tool_use":
        call_id, use = block.get("id", ""), block
    elif "type" not in block and (use := mapping(block.get("toolUse"))):
        call_id = use.get("toolUseId", "")
    else:
        return
    yield {"id": call_id, "name": use.get("name", ""), "arguments": use.get("input", {})}
