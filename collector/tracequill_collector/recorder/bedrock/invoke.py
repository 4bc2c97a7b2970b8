"""Bedrock's InvokeModel for models other than Claude: bodies enter, flat attributes leave.

Nova has a shape of its own, OpenAI's models speak chat completions, all others complete a prompt.
No input or output.
"""

from __future__ import annotations

from typing import Any

from openinference.semconv.trace import (
    OpenInferenceLLMProviderValues,
    OpenInferenceMimeTypeValues,
    OpenInferenceSpanKindValues,
    SpanAttributes,
)

from tracequill_collector.exchange import Headers
from tracequill_collector.recorder.body import header, to_json
from tracequill_collector.recorder.message import (
    INPUT_MESSAGES,
    OUTPUT_MESSAGES,
    Pairs,
    mapping,
    messages_attributes,
    objects,
    tool_attributes,
    without_large_binary,
)

_JSON = OpenInferenceMimeTypeValues.JSON.value
_TEXT = OpenInferenceMimeTypeValues.TEXT.value
# Where the families say why they stopped: at the top, or on the first of a list.
_REASONS = ("stopReason", "stop_reason", "finishReason", "finish_reason", "completionReason")
_LISTED_REASONS = (
    ("results", "completionReason"),
    ("generations", "finish_reason"),
    ("outputs", "stop_reason"),
    ("choices", "finish_reason"),
    ("completions", "finishReason"),
)
# Where they say what they said, by vendor; Titan's list is apart.
_ANSWERS = {
    "ai21": "completions",
    "anthropic": "completion",
    "cohere": "generations",
    "meta": "generation",
}


def is_nova(model_id: str) -> bool:
    """Whether the model is one of Amazon's Nova models."""
    return "amazon.nova" in model_id


def is_openai(model_id: str) -> bool:
    """Whether the model is one of OpenAI's."""
    return "openai." in model_id


def telling_id(model_id: str, request: Any) -> str:
    """Give an id that tells what a model speaks: the model's own, or one for a profile's ARN.

    The ARN of an application's own profile, or of capacity that was bought, names no vendor.
    """
    named = any(vendor in model_id for vendor in (*_ANSWERS, "amazon.", "openai."))
    if named or not model_id.startswith("arn:") or not isinstance(request, dict):
        return model_id
    if "anthropic_version" in request:
        return "anthropic.claude"
    if not isinstance(request.get("messages"), list):
        return model_id
    blocks = [
        block
        for message in objects(request["messages"])
        for block in objects(message.get("content"))
    ]
    is_typed = all("type" in block for block in blocks)
    return "openai." if is_typed and "inferenceConfig" not in request else "amazon.nova"


def request_attributes(model_id: str, request: dict[str, Any], *, stream: bool) -> Pairs:
    """Give everything that the request says."""
    yield SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.LLM.value
    yield SpanAttributes.LLM_PROVIDER, OpenInferenceLLMProviderValues.AWS.value
    yield SpanAttributes.LLM_MODEL_NAME, model_id or None
    if is_nova(model_id):
        yield from _nova_request(request, stream=stream)
    elif is_openai(model_id):
        yield from messages_attributes(
            INPUT_MESSAGES, [_chat_message(item) for item in objects(request.get("messages"))]
        )
        yield from tool_attributes(objects(request.get("tools")))
        yield SpanAttributes.INPUT_VALUE, to_json(request.get("messages", []))
        yield SpanAttributes.INPUT_MIME_TYPE, _JSON
        yield from _parameters(request, "messages", "tools")
    elif stream:
        yield SpanAttributes.INPUT_VALUE, to_json(without_large_binary(request))
        yield SpanAttributes.INPUT_MIME_TYPE, _JSON
        yield from _parameters(request)
    else:
        prompt = request.get("prompt")
        yield SpanAttributes.INPUT_VALUE, None if prompt == "" else prompt
        yield from _parameters(request, "prompt")


def _parameters(request: dict[str, Any], *apart: str) -> Pairs:
    parameters = {key: value for key, value in request.items() if key not in apart}
    yield SpanAttributes.LLM_INVOCATION_PARAMETERS, to_json(without_large_binary(parameters))


def response_attributes(model_id: str, response: dict[str, Any], headers: Headers) -> Pairs:
    """Give everything that the answer to a plain call says."""
    yield SpanAttributes.LLM_FINISH_REASON, _finish_reason(response)
    yield from _header_token_counts(headers)
    if is_nova(model_id):
        yield from _nova_message(response)
        yield from _nova_usage(response.get("usage"))
    elif is_openai(model_id):
        choices = sorted(objects(response.get("choices")), key=_index)
        yield from _chat_output(
            [message for choice in choices if (message := mapping(choice.get("message")))]
        )
    else:
        yield SpanAttributes.OUTPUT_VALUE, _answer(model_id, response) or None


def _vendor(model_id: str) -> str:
    """Give the vendor in a model id, which may stand in an ARN and behind a region."""
    parts = model_id.rpartition("/")[2].split(".")
    vendor = next((part for part in parts[:2] if part in (*_ANSWERS, "amazon")), parts[0])
    return model_id if len(parts) == 1 else vendor


def _answer(model_id: str, response: dict[str, Any]) -> str:
    vendor = _vendor(model_id)
    is_unnamed = vendor.startswith("arn:")
    results = objects(response.get("results"))
    if vendor == "amazon" or (is_unnamed and results):
        text = results[0].get("outputText") if results else ""
        return text if isinstance(text, str) else ""
    names = _ANSWERS.values() if is_unnamed else [_ANSWERS.get(vendor, "")]
    answer = next((response[name] for name in names if response.get(name) is not None), None)
    if answer is None:
        return ""
    return answer if isinstance(answer, str) else to_json(answer)


def _finish_reason(response: dict[str, Any]) -> str | None:
    for name in _REASONS:
        if isinstance(reason := response.get(name), str) and reason:
            return reason
    for collection, name in _LISTED_REASONS:
        items = objects(response.get(collection))
        reason = items[0].get(name) if items else None
        if isinstance(reason, dict):
            reason = reason.get("reason")
        if isinstance(reason, str) and reason:
            return reason
    return None


def _header_token_counts(headers: Headers) -> Pairs:
    prompt = header(headers, "x-amzn-bedrock-input-token-count")
    completion = header(headers, "x-amzn-bedrock-output-token-count")
    if prompt.isdecimal():
        yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, int(prompt)
    if completion.isdecimal():
        yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, int(completion)
    if prompt.isdecimal() and completion.isdecimal() and int(prompt) and int(completion):
        yield SpanAttributes.LLM_TOKEN_COUNT_TOTAL, int(prompt) + int(completion)


# --- Nova ---------------------------------------------------------------------------------


def _nova_request(request: dict[str, Any], *, stream: bool) -> Pairs:
    # Those that paint have no messages.
    asked = request.get("messages") or without_large_binary(request)
    yield SpanAttributes.INPUT_VALUE, to_json(asked)
    yield SpanAttributes.INPUT_MIME_TYPE, _JSON
    config = request.get("inferenceConfig")
    if config or not stream:
        yield SpanAttributes.LLM_INVOCATION_PARAMETERS, to_json(config or {})
    yield from messages_attributes(INPUT_MESSAGES, _nova_input(request))
    yield from tool_attributes(objects(mapping(request.get("toolConfig")).get("tools")))


def _nova_input(request: dict[str, Any]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": block["text"]}
        for block in objects(request.get("system"))
        if block.get("text")
    ]
    for message in objects(request.get("messages")):
        role = message.get("role", "user")
        blocks = objects(message.get("content"))
        messages.extend(_nova_result(role, block) for block in blocks if _is_result(block))
        contents, calls = _nova_contents(blocks)
        if contents or calls:
            messages.append({"role": role, "contents": contents, "tool_calls": calls})
    return messages


def _is_result(block: dict[str, Any]) -> bool:
    has_other = block.get("text") or block.get("toolUse")
    return not has_other and isinstance(block.get("toolResult"), dict)


def _nova_result(role: Any, block: dict[str, Any]) -> dict[str, Any]:
    result = block["toolResult"]
    parts: list[str] = []
    for part in objects(result.get("content")):
        if isinstance(text := part.get("text"), str) and text:
            parts.append(text)
        elif part.get("json"):
            parts.append(to_json(part["json"]))
    return {
        "role": role,
        "tool_call_id": result.get("toolUseId", ""),
        "content": "\n".join(parts) or None,
    }


def _nova_contents(
    blocks: list[dict[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    contents: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for block in blocks:
        if text := block.get("text"):
            contents.append({"type": "text", "text": text})
        elif isinstance(use := block.get("toolUse"), dict) and use:
            calls.append(
                {
                    "id": use.get("toolUseId", ""),
                    "name": use.get("name", ""),
                    "arguments": use.get("input"),
                }
            )
    return contents, calls


def _nova_message(response: dict[str, Any]) -> Pairs:
    message = mapping(mapping(response.get("output")).get("message"))
    if not message:
        return
    yield SpanAttributes.OUTPUT_VALUE, to_json(message)
    yield SpanAttributes.OUTPUT_MIME_TYPE, _JSON
    contents, calls = _nova_contents(objects(message.get("content")))
    role = message.get("role", "assistant")
    yield from messages_attributes(
        OUTPUT_MESSAGES, [{"role": role, "contents": contents, "tool_calls": calls}]
    )


def _nova_usage(usage: Any) -> Pairs:
    usage = mapping(usage)
    prompt, completion = usage.get("inputTokens"), usage.get("outputTokens")
    total = usage.get("totalTokens")
    if total is None and isinstance(prompt, int) and isinstance(completion, int):
        total = prompt + completion
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, prompt
    yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, completion
    yield SpanAttributes.LLM_TOKEN_COUNT_TOTAL, total
    yield (
        SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_READ,
        usage.get("cacheReadInputTokenCount"),
    )
    yield (
        SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_WRITE,
        usage.get("cacheWriteInputTokenCount"),
    )


def nova_stream_attributes(response: dict[str, Any]) -> Pairs:
    """Give what a Nova stream says, put together as a Converse response."""
    yield SpanAttributes.LLM_FINISH_REASON, response.get("stopReason")
    yield from _nova_usage(response.get("usage"))
    content = mapping(mapping(response.get("output")).get("message")).get("content")
    blocks = [
        {key: block[key]}
        for block in objects(content)
        for key in ("text", "toolUse")
        if block.get(key)
    ]
    for block in blocks:
        if isinstance(use := block.get("toolUse"), dict):
            block["toolUse"] = {"toolUseId": "", "name": "", "input": "", **use}
    if blocks:
        message = {"role": "assistant", "content": blocks}
        yield from _nova_message({"output": {"message": message}})


# --- OpenAI's models ----------------------------------------------------------------------


def _index(choice: dict[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def _chat_message(message: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {"role": str(message.get("role") or "assistant")}
    content, refusal = message.get("content"), message.get("refusal")
    if isinstance(content, str) and content:
        result["content"] = content
    elif isinstance(refusal, str) and refusal:
        result["content"] = refusal
    else:
        result["contents"] = [part for item in objects(content) if (part := _chat_part(item))]
    if call_id := message.get("tool_call_id"):
        result["tool_call_id"] = call_id
    result["tool_calls"] = [
        {
            "id": str(call.get("id") or ""),
            "name": str(mapping(call.get("function")).get("name") or ""),
            "arguments": mapping(call.get("function")).get("arguments") or "",
        }
        for call in objects(message.get("tool_calls"))
    ]
    return result


def _chat_part(part: dict[str, Any]) -> dict[str, Any] | None:
    if part.get("type") == "text" and isinstance(text := part.get("text"), str):
        return {"type": "text", "text": text}
    url = mapping(part.get("image_url")).get("url")
    if part.get("type") == "image_url" and isinstance(url, str):
        return {"type": "image", "image_url": url}
    return None


def _chat_output(messages: list[dict[str, Any]]) -> Pairs:
    if not messages:
        return
    yield from messages_attributes(OUTPUT_MESSAGES, map(_chat_message, messages))
    first = messages[0]
    text = first.get("content") or first.get("refusal")
    if len(messages) == 1 and isinstance(text, str):
        yield SpanAttributes.OUTPUT_VALUE, text
        yield SpanAttributes.OUTPUT_MIME_TYPE, _TEXT
    else:
        yield SpanAttributes.OUTPUT_VALUE, to_json(first if len(messages) == 1 else messages)
        yield SpanAttributes.OUTPUT_MIME_TYPE, _JSON


def openai_stream_attributes(response: dict[str, Any], metrics: dict[str, Any]) -> Pairs:
    """Give what a stream of chat completion chunks says, put together as a response.

    *metrics* are Bedrock's own counts, for models that send none.
    """
    choices = sorted(objects(response.get("choices")), key=_index)
    if choices:
        yield SpanAttributes.LLM_FINISH_REASON, choices[0].get("finish_reason") or None
    usage = mapping(response.get("usage"))
    prompt = usage.get("prompt_tokens", metrics.get("inputTokenCount"))
    completion = usage.get("completion_tokens", metrics.get("outputTokenCount"))
    total = usage.get("total_tokens")
    if not usage and isinstance(prompt, int) and isinstance(completion, int):
        total = prompt + completion
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, prompt
    yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, completion
    yield SpanAttributes.LLM_TOKEN_COUNT_TOTAL, total
    messages = [_streamed_message(mapping(choice.get("message"))) for choice in choices]
    yield from _chat_output(
        [message for message in messages if message["content"] or len(message) > 2]
    )


def _streamed_message(message: dict[str, Any]) -> dict[str, Any]:
    """Give a message put together of chunks as a plain answer would give it."""
    whole: dict[str, Any] = {"role": message.get("role", "assistant"), "content": None}
    if refusal := message.get("refusal"):
        whole["refusal"] = refusal
    if calls := objects(message.get("tool_calls")):
        whole["tool_calls"] = [
            {
                "id": call.get("id", ""),
                "type": "function",
                "function": {"name": "", "arguments": "", **mapping(call.get("function"))},
            }
            for call in calls
        ]
    if content := message.get("content"):
        whole["content"] = content
    return whole


# --- streams of all other models ----------------------------------------------------------


def other_stream_attributes(model_id: str, events: list[dict[str, Any]]) -> Pairs:
    """Give the text, the counts and the end of a stream whose pieces are whole answers."""
    yield SpanAttributes.OUTPUT_VALUE, "".join(_piece(model_id, event) for event in events) or None
    for event in events:
        yield SpanAttributes.LLM_FINISH_REASON, _finish_reason(event)
        if metrics := mapping(event.get("amazon-bedrock-invocationMetrics")):
            prompt, completion = metrics.get("inputTokenCount"), metrics.get("outputTokenCount")
            yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, prompt
            yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, completion
            if isinstance(prompt, int) and isinstance(completion, int):
                yield SpanAttributes.LLM_TOKEN_COUNT_TOTAL, prompt + completion


def _piece(model_id: str, event: dict[str, Any]) -> str:
    # Titan's pieces are not in the list that its whole answer has.
    if isinstance(text := event.get("outputText"), str):
        return text
    return _answer(model_id, event)
