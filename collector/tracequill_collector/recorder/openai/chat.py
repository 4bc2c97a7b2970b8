"""OpenAI's chat completions: request and response objects enter, flat attributes leave.

Chunks of a stream become the response object they stand for. No input or output.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from openinference.semconv.trace import MessageAttributes, SpanAttributes

from tracequill_collector.recorder.body import to_json
from tracequill_collector.recorder.message import (
    CALL_ARGUMENTS,
    CALL_ID,
    CALL_NAME,
    CONTENT,
    CONTENTS,
    IMAGE_URL,
    INPUT_MESSAGES,
    NAME,
    OUTPUT_MESSAGES,
    ROLE,
    TEXT,
    TOOL_CALL_ID_OF_RESULT,
    TOOL_CALLS,
    TYPE,
    Pairs,
    image_url,
    mapping,
    objects,
    tool_attributes,
)
from tracequill_collector.recorder.pieces import Assembly, Indexed, Kind, Shape

SPAN_NAME = "ChatCompletion"

# Where the parts of a message are collected while its chunks are put together.
_PARTS = "tracequill.parts"

_CHUNK: Shape = {
    "choices": Indexed(
        {
            "message": {
                "content": Kind.TEXT,
                "refusal": Kind.TEXT,
                # DeepSeek and Qwen name it so, vLLM calls it reasoning.
                "reasoning_content": Kind.TEXT,
                "reasoning": Kind.TEXT,
                "function_call": {"arguments": Kind.TEXT},
                "tool_calls": Indexed({"id": Kind.TEXT, "function": {"arguments": Kind.TEXT}}),
            }
        }
    )
}


def request_attributes(request: dict[str, Any]) -> Pairs:
    """Give tools, invocation parameters and input messages."""
    parameters = {
        key: value
        for key, value in request.items()
        if key not in ("messages", "functions", "tools")
    }
    if isinstance(tools := request.get("tools"), list):
        yield from tool_attributes(tools)
    yield SpanAttributes.LLM_INVOCATION_PARAMETERS, to_json(parameters)
    messages = request.get("messages")
    for index, message in enumerate(messages if isinstance(messages, list) else []):
        if isinstance(message, dict):
            yield from _input_message(f"{INPUT_MESSAGES}.{index}.", message)


def _input_message(prefix: str, message: dict[str, Any]) -> Pairs:
    yield prefix + ROLE, message.get("role") or None
    yield prefix + TOOL_CALL_ID_OF_RESULT, message.get("tool_call_id") or None
    content = message.get("content")
    if content and isinstance(content, list) and all(isinstance(part, dict) for part in content):
        for index, part in enumerate(content):
            yield from _content_part(f"{prefix}{CONTENTS}.{index}.", part)
    elif content and isinstance(content, list):
        yield prefix + CONTENT, to_json(content)
    elif content and isinstance(content, str):
        yield prefix + CONTENT, content
    yield prefix + NAME, message.get("name") or None
    yield from _calls(prefix, message)


def _content_part(prefix: str, part: dict[str, Any]) -> Pairs:
    match part.get("type"):
        case "text":
            yield prefix + TYPE, "text"
            yield prefix + TEXT, part.get("text") or None
        case "image_url":
            yield prefix + TYPE, "image"
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, dict) else image
            yield prefix + IMAGE_URL, image_url(url)


def _calls(prefix: str, message: dict[str, Any]) -> Pairs:
    """Give the tool calls of a message, and the function call of older models."""
    function_call = mapping(message.get("function_call"))
    yield prefix + MessageAttributes.MESSAGE_FUNCTION_CALL_NAME, function_call.get("name") or None
    yield (
        prefix + MessageAttributes.MESSAGE_FUNCTION_CALL_ARGUMENTS_JSON,
        function_call.get("arguments") or None,
    )
    calls = message.get("tool_calls")
    for index, call in enumerate(calls if isinstance(calls, list) else []):
        if not isinstance(call, dict):
            continue
        inner = f"{prefix}{TOOL_CALLS}.{index}."
        function = mapping(call.get("function"))
        yield inner + CALL_ID, call.get("id")
        yield inner + CALL_NAME, function.get("name") or None
        yield inner + CALL_ARGUMENTS, function.get("arguments") or None


def response_attributes(response: dict[str, Any]) -> Pairs:
    """Give model, token counts, output messages and the first choice's finish reason."""
    yield SpanAttributes.LLM_MODEL_NAME, response.get("model") or None
    # Groq counts the tokens of a stream in a field of its own.
    groq = mapping(response.get("x_groq"))
    yield from usage_attributes(response.get("usage") or groq.get("usage"))
    for choice in objects(response.get("choices")):
        index = choice.get("index")
        if not isinstance(index, int):
            continue
        if isinstance(message := choice.get("message"), dict):
            prefix = f"{OUTPUT_MESSAGES}.{index}."
            yield prefix + ROLE, message.get("role") or None
            content = message.get("content") or None
            if isinstance(content, list):
                yield from _output_parts(prefix, content)
            else:
                yield prefix + CONTENT, content
            yield from _calls(prefix, message)
        if index == 0:
            yield SpanAttributes.LLM_FINISH_REASON, choice.get("finish_reason")


def _output_parts(prefix: str, parts: list[Any]) -> Pairs:
    """Give an answer in parts, as Mistral writes it: thinking and text."""
    for index, part in enumerate(objects(parts)):
        inner = f"{prefix}{CONTENTS}.{index}."
        if part.get("type") == "thinking":
            yield inner + TYPE, "reasoning"
            yield inner + TEXT, _thinking_text(part.get("thinking")) or None
        else:
            yield from _content_part(inner, part)


def _thinking_text(thinking: Any) -> str:
    if isinstance(thinking, str):
        return thinking
    texts = (part.get("text") for part in objects(thinking))
    return "".join(text for text in texts if isinstance(text, str))


def usage_attributes(usage: Any) -> Pairs:
    """Give the token counts of chat completions and completions."""
    usage = mapping(usage)
    yield SpanAttributes.LLM_TOKEN_COUNT_TOTAL, usage.get("total_tokens")
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, usage.get("prompt_tokens")
    yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, usage.get("completion_tokens")
    prompt = mapping(usage.get("prompt_tokens_details"))
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_READ, prompt.get("cached_tokens")
    yield (
        SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_WRITE,
        prompt.get("cache_write_tokens"),
    )
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_AUDIO, prompt.get("audio_tokens")
    completion = mapping(usage.get("completion_tokens_details"))
    yield (
        SpanAttributes.LLM_TOKEN_COUNT_COMPLETION_DETAILS_REASONING,
        completion.get("reasoning_tokens"),
    )
    yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION_DETAILS_AUDIO, completion.get("audio_tokens")


def response_of_chunks(chunks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Put the chunks of a stream together; empty when there were none."""
    assembly = Assembly(_CHUNK)
    in_parts: set[Any] = set()
    for chunk in chunks:
        if isinstance(choices := chunk.get("choices"), list):
            chunk = {**chunk, "choices": [_choice(choice, in_parts) for choice in choices]}
        assembly.add(chunk)
    response = assembly.whole()
    if in_parts:
        for choice in objects(response.get("choices")):
            _join_parts(choice.get("message"))
    return response


def _choice(choice: Any, in_parts: set[Any]) -> Any:
    """Call a chunk's ``delta`` what it is a piece of: the ``message``.

    *in_parts* are the choices whose content comes in parts.
    """
    if not isinstance(choice, dict):
        return choice
    choice = dict(choice)
    delta = choice.pop("delta", None)
    if not delta:
        return choice
    choice["message"] = delta
    content, index = mapping(delta).get("content"), choice.get("index")
    if not isinstance(index, int):
        return choice
    if isinstance(content, list):
        in_parts.add(index)
    elif index in in_parts and isinstance(content, str) and content:
        content = [{"type": "text", "text": content}]
    if isinstance(content, list):
        message = {key: value for key, value in delta.items() if key != "content"}
        choice["message"] = {**message, _PARTS: content}
    return choice


def _join_parts(message: Any) -> None:
    """Make the parts that came of one answer its content; neighbours of one type are one."""
    if not isinstance(message, dict) or _PARTS not in message:
        return
    parts = objects(message.pop(_PARTS))
    if isinstance(text := message.get("content"), str):
        parts.insert(0, {"type": "text", "text": text})
    joined: list[dict[str, Any]] = []
    for kind, group in itertools.groupby(parts, key=lambda part: part.get("type")):
        if kind == "text":
            texts = (text for part in group if isinstance(text := part.get("text"), str))
            joined.append({"type": kind, "text": "".join(texts)})
        elif kind == "thinking":
            said = "".join(_thinking_text(part.get("thinking")) for part in group)
            joined.append({"type": kind, "thinking": [{"type": "text", "text": said}]})
        else:
            joined.extend(group)
    message["content"] = joined
