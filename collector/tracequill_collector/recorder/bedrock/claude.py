"""Anthropic's Messages as Bedrock's InvokeModel carries them: bodies enter, attributes leave.

The instrumentor writes a plain call and a stream in two slightly different shapes; so does this
module. No input or output.
"""

from __future__ import annotations

from typing import Any

from openinference.semconv.trace import (
    OpenInferenceLLMProviderValues,
    OpenInferenceLLMSystemValues,
    OpenInferenceMimeTypeValues,
    OpenInferenceSpanKindValues,
    SpanAttributes,
)

from tracequill_collector.recorder.anthropic.stream import MessageStream
from tracequill_collector.recorder.body import to_json
from tracequill_collector.recorder.message import (
    CALL_ARGUMENTS,
    CALL_ID,
    CALL_NAME,
    CONTENTS,
    IMAGE_URL,
    INPUT_MESSAGES,
    OUTPUT_MESSAGES,
    ROLE,
    TEXT,
    TOOL_CALLS,
    Pairs,
    image_url,
    mapping,
    messages_attributes,
    objects,
    tool_attributes,
)

_JSON = OpenInferenceMimeTypeValues.JSON.value
# Recorded as messages and tools, or part of the protocol.
_NO_PARAMETERS = ("messages", "modelId", "system", "tools", "anthropic_version")


def is_messages_model(model_id: str) -> bool:
    """Whether the model speaks Messages; the first Claude models completed a prompt."""
    return "anthropic" in model_id and not any(
        name in model_id for name in ("claude-v2", "claude-instant-v1")
    )


def model_name(model_id: str) -> str:
    """Give a model id without its vendor, where it has just these two parts."""
    vendor, _, name = model_id.partition(".")
    return name if vendor and name and "." not in name else model_id


def request_attributes(model_id: str, request: dict[str, Any], *, stream: bool) -> Pairs:
    """Give everything that the request says."""
    yield SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.LLM.value
    yield SpanAttributes.LLM_PROVIDER, OpenInferenceLLMProviderValues.AWS.value
    yield SpanAttributes.LLM_SYSTEM, OpenInferenceLLMSystemValues.ANTHROPIC.value
    yield SpanAttributes.LLM_MODEL_NAME, model_name(model_id)
    yield SpanAttributes.INPUT_VALUE, to_json(request)
    yield SpanAttributes.INPUT_MIME_TYPE, _JSON
    parameters = {key: value for key, value in request.items() if key not in _NO_PARAMETERS}
    yield SpanAttributes.LLM_INVOCATION_PARAMETERS, to_json(parameters)
    yield from tool_attributes(objects(request.get("tools")))
    if stream:
        yield from _stream_input(request)
    else:
        yield from messages_attributes(INPUT_MESSAGES, _input_messages(request))


# --- a plain call -------------------------------------------------------------------------


def _input_messages(request: dict[str, Any]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if system := _system_texts(request.get("system")):
        contents = [{"type": "text", "text": text} for text in system]
        messages.append({"role": "system", "contents": contents})
    for message in objects(request.get("messages")):
        role, content = message.get("role"), message.get("content")
        if isinstance(content, str):
            messages.append({"role": role, "content": content})
        elif isinstance(content, list):
            messages.extend(_messages_of(role, objects(content)))
    return messages


def _system_texts(system: Any) -> list[str]:
    if isinstance(system, str):
        return [system] if system else []
    return [text for block in objects(system) if isinstance(text := block.get("text"), str)]


def _messages_of(role: Any, blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give a message for each tool result, then the message itself, if anything is left."""
    messages: list[dict[str, Any]] = []
    contents: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for block in blocks:
        match block.get("type"):
            case "image":
                contents.append({"type": "image", "image_url": _image(block, "image/png")})
            case "tool_use":
                calls.append(_call(block))
            case "tool_result":
                messages.append(
                    {
                        "role": role,
                        "tool_call_id": block.get("tool_use_id", ""),
                        "content": block.get("content", ""),
                    }
                )
            case _:
                contents.append({"type": "text", "text": block.get("text")})
    if contents or calls:
        messages.append({"role": role, "contents": contents, "tool_calls": calls})
    return messages


def _call(block: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": block.get("id", ""),
        "name": block.get("name", ""),
        "arguments": block.get("input"),
    }


def _image(block: dict[str, Any], default_type: str | None) -> str | None:
    source = mapping(block.get("source"))
    if source.get("type") == "url":
        url = source.get("url")
        return url if isinstance(url, str) else None
    media_type = source.get("media_type") or default_type
    if media_type is None or source.get("data") is None:
        return None
    return f"data:{media_type};base64,{source['data']}"


def response_attributes(response: dict[str, Any]) -> Pairs:
    """Give everything that the answer to a plain call says."""
    role = response.get("role")
    messages: list[dict[str, Any]] = []
    for block in objects(response.get("content")):
        if block.get("type") == "tool_use":
            call_id = block.get("tool_call_id", "")
            messages.append({"role": role, "tool_call_id": call_id, "tool_calls": [_call(block)]})
        elif block.get("type") == "text":
            messages.append({"role": role or "assistant", "content": block.get("text")})
    yield from messages_attributes(OUTPUT_MESSAGES, messages)
    yield SpanAttributes.OUTPUT_VALUE, to_json(response)
    yield SpanAttributes.OUTPUT_MIME_TYPE, _JSON
    model = response.get("model")
    yield SpanAttributes.LLM_MODEL_NAME, model if isinstance(model, str) else None
    usage = mapping(response.get("usage"))
    yield from _token_counts(usage)
    yield (
        SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_READ,
        usage.get("cache_read_input_tokens") or None,
    )
    yield (
        SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_WRITE,
        usage.get("cache_creation_input_tokens") or None,
    )
    reason = response.get("stop_reason")
    yield SpanAttributes.LLM_FINISH_REASON, reason if isinstance(reason, str) and reason else None


def _token_counts(usage: dict[str, Any]) -> Pairs:
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    prompt = sum(count for name in names if isinstance(count := usage.get(name), int))
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, prompt or None
    yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, usage.get("output_tokens") or None


# --- a stream -----------------------------------------------------------------------------


def _stream_input(request: dict[str, Any]) -> Pairs:
    first = 0
    if system := request.get("system"):
        prefix = f"{INPUT_MESSAGES}.0."
        yield prefix + ROLE, "system"
        for index, text in enumerate(_system_texts(system)):
            yield f"{prefix}{CONTENTS}.{index}.{TEXT}", text
        first = 1
    for index, message in enumerate(objects(request.get("messages")), first):
        prefix = f"{INPUT_MESSAGES}.{index}."
        content = message.get("content")
        blocks = objects(content)
        has_result = any(block.get("type") == "tool_result" for block in blocks)
        yield prefix + ROLE, "tool" if has_result else message.get("role")
        if content and isinstance(content, str):
            yield f"{prefix}{CONTENTS}.0.{TEXT}", content
        yield from _stream_blocks(prefix, blocks)


def _stream_blocks(prefix: str, blocks: list[dict[str, Any]]) -> Pairs:
    calls = 0
    for index, block in enumerate(blocks):
        inner = f"{prefix}{CONTENTS}.{index}."
        match block.get("type"):
            case "text":
                yield inner + TEXT, block.get("text")
            case "image":
                yield inner + IMAGE_URL, image_url(_image(block, None))
            case "tool_result":
                yield inner + TEXT, _result_text(block.get("content"))
            case "tool_use":
                yield from _stream_call(f"{prefix}{TOOL_CALLS}.{calls}.", block)
                calls += 1


def _result_text(content: Any) -> str | None:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [block.get("text") for block in objects(content) if block.get("type") == "text"]
    return "\n\n".join(text for text in texts if isinstance(text, str))


def _stream_call(prefix: str, block: dict[str, Any]) -> Pairs:
    yield prefix + CALL_ID, block.get("id")
    yield prefix + CALL_NAME, block.get("name")
    if "input" in block:
        given = block["input"]
        yield prefix + CALL_ARGUMENTS, given if isinstance(given, str) else to_json(given)


class ClaudeStream:
    """The message that a stream's events stand for, as far as they came."""

    def __init__(self) -> None:
        self._stream = MessageStream(parse_input=False)
        self._metrics: dict[str, Any] = {}

    def add(self, event: dict[str, Any]) -> None:
        """Add one event."""
        self._stream.add(event)
        if event.get("type") == "message_stop":
            self._metrics = mapping(event.get("amazon-bedrock-invocationMetrics"))

    def attributes(self) -> Pairs:
        """Give everything that the stream says."""
        yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, self._metrics.get("inputTokenCount")
        yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, self._metrics.get("outputTokenCount")
        message = self._stream.message
        if message is None:
            return
        blocks = [_typed(block) for block in self._stream.blocks()]
        yield SpanAttributes.LLM_MODEL_NAME, message.get("model") or None
        prefix = f"{OUTPUT_MESSAGES}.0."
        yield prefix + ROLE, message.get("role") or "assistant"
        texts = calls = 0
        for block in blocks:
            if block.get("type") == "text":
                yield f"{prefix}{CONTENTS}.{texts}.{TEXT}", block.get("text")
                texts += 1
            elif block.get("type") == "tool_use":
                yield from _stream_call(f"{prefix}{TOOL_CALLS}.{calls}.", block)
                calls += 1
        yield SpanAttributes.LLM_FINISH_REASON, message.get("stop_reason") or None
        yield from _token_counts(mapping(message.get("usage")))
        yield SpanAttributes.OUTPUT_VALUE, to_json(_output_value(message, blocks))
        yield SpanAttributes.OUTPUT_MIME_TYPE, _JSON


def _typed(block: dict[str, Any]) -> dict[str, Any]:
    """Give a block the fields that it has when nothing came for them."""
    if block.get("type") == "text":
        return {"text": "", "citations": None, **block}
    if block.get("type") == "tool_use":
        return {"input": {}, **block}
    return block


def _output_value(message: dict[str, Any], blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """Give the message with the fields that the instrumentor keeps."""
    usage = mapping(message.get("usage"))
    counts = (
        "input_tokens",
        "output_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
    )
    return {
        "id": message.get("id"),
        "content": blocks,
        "model": message.get("model"),
        "usage": {name: usage.get(name) for name in counts},
        "role": message.get("role", "assistant"),
        "stop_reason": message.get("stop_reason"),
        "stop_sequence": message.get("stop_sequence"),
        "type": message.get("type", "message"),
    }
