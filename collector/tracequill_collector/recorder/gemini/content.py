"""Gemini's generateContent: request and response objects enter, flat attributes leave.

Both under the names of Google's Python library (``names``). No input or output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from openinference.semconv.trace import SpanAttributes

from tracequill_collector.recorder.body import to_json
from tracequill_collector.recorder.gemini.names import data_url, standard_base64
from tracequill_collector.recorder.message import (
    INPUT_MESSAGES,
    OUTPUT_MESSAGES,
    Pairs,
    mapping,
    message_attributes,
    messages_attributes,
    objects,
    text_or_none,
    tool_attributes,
)

_Message = dict[str, Any]


def request_attributes(request: dict[str, Any]) -> Pairs:
    """Give tools, invocation parameters and input messages."""
    yield from tool_attributes(_tools(request.get("tools")))
    if parameters := mapping(request.get("generation_config")):
        yield SpanAttributes.LLM_INVOCATION_PARAMETERS, to_json(parameters)
    yield from messages_attributes(INPUT_MESSAGES, _input_messages(request))


def response_attributes(response: dict[str, Any]) -> Pairs:
    """Give model, token counts, output messages and the first candidate's finish reason."""
    yield SpanAttributes.LLM_MODEL_NAME, text_or_none(response.get("model_version")) or None
    yield from usage_attributes(response.get("usage_metadata"))
    index = -1
    for candidate in objects(response.get("candidates")):
        given = candidate.get("index")
        index = given if isinstance(given, int) else index + 1
        content = mapping(candidate.get("content"))
        if content:
            message = _message(_parts(content), answered=True)
            message["role"] = text_or_none(content.get("role")) or None
            yield from message_attributes(f"{OUTPUT_MESSAGES}.{index}.", message)
        if index == 0:
            yield SpanAttributes.LLM_FINISH_REASON, text_or_none(candidate.get("finish_reason"))


def usage_attributes(usage: Any) -> Pairs:
    """Give the token counts; thoughts are counted as output, results of tools as input."""
    usage = mapping(usage)
    thoughts = _count(usage, "thoughts_token_count")
    prompt = _count(usage, "prompt_token_count") + _count(usage, "tool_use_prompt_token_count")
    completion = _count(usage, "candidates_token_count") + thoughts
    total = max(prompt + completion, _count(usage, "total_token_count"))
    cached = _count(usage, "cached_content_token_count")
    prompt_audio = _audio(usage.get("prompt_tokens_details"))
    completion_audio = _audio(usage.get("candidates_tokens_details"))
    yield SpanAttributes.LLM_TOKEN_COUNT_TOTAL, total or None
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, prompt or None
    yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, completion or None
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_READ, cached or None
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_AUDIO, prompt_audio or None
    yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION_DETAILS_REASONING, thoughts or None
    yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION_DETAILS_AUDIO, completion_audio or None


def _count(usage: dict[str, Any], name: str) -> int:
    count = usage.get(name)
    return count if isinstance(count, int) else 0


def _audio(details: Any) -> int:
    return sum(
        _count(item, "token_count") for item in objects(details) if item.get("modality") == "AUDIO"
    )


def _tools(tools: Any) -> Iterator[dict[str, Any]]:
    """Give each function on its own, in one shape, and each other tool as it is."""
    for tool in objects(tools):
        functions = objects(tool.get("function_declarations"))
        for function in functions:
            schema = {name: function.get(name) for name in ("name", "description")}
            schema["parameters"] = function.get(
                "parameters", function.get("parameters_json_schema")
            )
            yield {name: value for name, value in schema.items() if value is not None}
        if not functions:
            yield tool


def _input_messages(request: dict[str, Any]) -> Iterator[_Message]:
    for content in _items(request.get("system_instruction")):
        yield {**_message(_parts(content), answered=False), "role": "system"}
    for content in _items(request.get("contents")):
        parts = _parts(content)
        results = [part for part in parts if isinstance(part.get("function_response"), dict)]
        others = [part for part in parts if not isinstance(part.get("function_response"), dict)]
        if others or not results:
            role = text_or_none(content.get("role")) or "user"
            yield {**_message(others, answered=False), "role": role}
        for result in results:
            yield _tool_message(result["function_response"])


def _tool_message(result: dict[str, Any]) -> _Message:
    response = result.get("response")
    return {
        "role": "tool",
        "name": result.get("name") or None,
        "content": to_json(response) if response else None,
        "tool_call_id": result.get("id") or None,
    }


def _message(parts: list[dict[str, Any]], *, answered: bool) -> _Message:
    """Give the message of *parts*; of an answer, texts that say nothing are left out."""
    message: _Message = {}
    contents: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for part in parts:
        signature = standard_base64(part.get("thought_signature"))
        text = text_or_none(part.get("text"))
        if part.get("thought"):
            if text or signature:
                contents.append({"type": "reasoning", "text": text or None, "signature": signature})
        elif text is not None:
            said = None if answered and not text else text
            if signature is not None:
                contents.append({"type": "text", "text": said, "signature": signature})
            elif len(parts) == 1:
                message["content"] = said
            elif said is not None:
                contents.append({"type": "text", "text": said})
        elif call := mapping(part.get("function_call")):
            calls.append(_call(call, signature))
        contents.extend(_media(part, answered=answered))
    return {**message, "contents": contents, "tool_calls": calls}


def _call(call: dict[str, Any], signature: str | None) -> dict[str, Any]:
    return {
        "id": text_or_none(call.get("id")) or None,
        "name": call.get("name") or None,
        "arguments": call.get("args") or None,
        "signature": signature,
    }


def _media(part: dict[str, Any], *, answered: bool) -> Iterator[dict[str, Any]]:
    """Give the part's image. In an answer anything else has a place too, an empty one."""
    inline, file = mapping(part.get("inline_data")), mapping(part.get("file_data"))
    mime_type = (inline or file).get("mime_type")
    url = None
    if isinstance(mime_type, str) and "image" in mime_type:
        url = data_url(mime_type, inline.get("data")) or file.get("file_uri")
    if url:
        yield {"type": "image", "image_url": url}
    elif answered and (inline or file):
        yield {}


def _items(value: Any) -> list[dict[str, Any]]:
    """Give the objects of a list; the servers take one that stands alone for a list of one."""
    return [value] if isinstance(value, dict) else objects(value)


def _parts(content: dict[str, Any]) -> list[dict[str, Any]]:
    return _items(content.get("parts"))


def texts(content: Any) -> str | None:
    """Give the texts of a content to embed, joined; None when it has none."""
    found = _texts(_parts(mapping(content)))
    return "\n\n".join(found) if found else None


def _texts(parts: Iterable[dict[str, Any]]) -> list[str]:
    return [text for part in parts if isinstance(text := part.get("text"), str)]
