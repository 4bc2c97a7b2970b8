"""Bedrock's Converse: request, response and stream events enter, flat attributes leave.

Binary parts stay in base64, as they cross. No input or output.
"""

from __future__ import annotations

from collections.abc import Iterable
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
    tool_attributes,
)
from tracequill_collector.recorder.pieces import Assembly, Kind, Shape

_JSON = OpenInferenceMimeTypeValues.JSON.value
_BLOCK: Shape = {
    "text": Kind.EXACT_TEXT,
    "toolUse": {"input": Kind.EXACT_TEXT},
    "reasoningContent": {
        "reasoningText": {"text": Kind.EXACT_TEXT, "signature": Kind.EXACT_TEXT},
        "redactedContent": Kind.BASE64,
    },
}


def request_attributes(model_id: str, request: dict[str, Any]) -> Pairs:
    """Give everything that the request says."""
    yield SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.LLM.value
    yield SpanAttributes.LLM_PROVIDER, OpenInferenceLLMProviderValues.AWS.value
    yield SpanAttributes.LLM_MODEL_NAME, model_id
    messages = request.get("messages")
    # A prompt that Bedrock keeps is given the values for its variables.
    variables = mapping(request.get("promptVariables"))
    asked = messages if isinstance(messages, list) else variables or []
    yield SpanAttributes.INPUT_VALUE, to_json(asked)
    yield SpanAttributes.INPUT_MIME_TYPE, _JSON
    additional = request.get("additionalModelRequestFields")
    if "inferenceConfig" in request or additional is not None:
        parameters = dict(mapping(request.get("inferenceConfig")))
        if isinstance(additional, dict):
            parameters.update(additional)
        elif additional is not None:
            parameters["additionalModelRequestFields"] = additional
        yield SpanAttributes.LLM_INVOCATION_PARAMETERS, to_json(parameters)
    yield from tool_attributes(objects(mapping(request.get("toolConfig")).get("tools")))
    yield from messages_attributes(INPUT_MESSAGES, _input_messages(request))


def _input_messages(request: dict[str, Any]) -> list[dict[str, Any]]:
    system = [
        {"type": "text", "text": block["text"]}
        for block in objects(request.get("system"))
        if "text" in block
    ]
    messages: list[dict[str, Any]] = []
    if system:
        messages.append({"role": "system", "contents": system})
    for message in objects(request.get("messages")):
        messages.extend(_messages_of(message))
    return messages


def _messages_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the messages that one of Converse's stands for: itself, and one each tool result."""
    contents: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for block in objects(message.get("content")):
        contents.extend(_contents_of(block))
        if isinstance(use := block.get("toolUse"), dict):
            calls.append(
                {
                    "id": use.get("toolUseId"),
                    "name": use.get("name"),
                    "arguments": use.get("input"),
                }
            )
        if isinstance(result := block.get("toolResult"), dict):
            results.append(_tool_result(result))
    messages: list[dict[str, Any]] = []
    if contents or calls or not results:
        messages.append({"role": message.get("role"), "contents": contents, "tool_calls": calls})
    return messages + results


def _contents_of(block: dict[str, Any]) -> Iterable[dict[str, Any]]:
    if "text" in block:
        yield {"type": "text", "text": block["text"]}
    image = mapping(block.get("image"))
    if data := mapping(image.get("source")).get("bytes"):
        yield {"type": "image", "image_url": f"data:image/{image.get('format')};base64,{data}"}
    reasoning = mapping(block.get("reasoningContent"))
    if "reasoningText" in reasoning:
        text = mapping(reasoning["reasoningText"])
        yield {"type": "reasoning", "text": text.get("text"), "signature": text.get("signature")}
    elif "redactedContent" in reasoning:
        yield {"type": "reasoning", "data": reasoning["redactedContent"]}


def _tool_result(result: dict[str, Any]) -> dict[str, Any]:
    texts: list[str] = []
    for block in objects(result.get("content")):
        if isinstance(text := block.get("text"), str):
            texts.append(text)
        if "json" in block:
            texts.append(to_json(block["json"]))
    return {
        "role": "tool",
        "tool_call_id": result.get("toolUseId"),
        "content": "\n\n".join(texts) if texts else None,
    }


def response_attributes(response: dict[str, Any]) -> Pairs:
    """Give everything that the response says."""
    yield from _usage(response.get("usage"))
    message = mapping(response.get("output")).get("message")
    if isinstance(message, dict) and message:
        yield from messages_attributes(OUTPUT_MESSAGES, _messages_of(message))
        yield SpanAttributes.OUTPUT_VALUE, to_json(message)
        yield SpanAttributes.OUTPUT_MIME_TYPE, _JSON
    yield SpanAttributes.LLM_FINISH_REASON, response.get("stopReason")


def _usage(usage: Any) -> Pairs:
    usage = mapping(usage)
    read, written = usage.get("cacheReadInputTokens"), usage.get("cacheWriteInputTokens")
    prompt = usage.get("inputTokens")
    if isinstance(prompt, int):
        # Converse counts what came from the cache apart, and all of it in the total.
        prompt += sum(count for count in (read, written) if isinstance(count, int))
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, prompt
    yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, usage.get("outputTokens")
    yield SpanAttributes.LLM_TOKEN_COUNT_TOTAL, usage.get("totalTokens")
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_READ, read
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_WRITE, written


class ConverseStream:
    """The response that a stream's events stand for, as far as they came."""

    def __init__(self) -> None:
        self._role: Any = ""
        self._blocks: dict[int, Assembly] = {}
        self._stopped: set[int] = set()
        self._stop_reason: Any = None
        self._usage: dict[str, Any] = {}
        self._started = False

    def add(self, kind: str, event: dict[str, Any]) -> None:
        """Add one event by its type."""
        self._started = True
        index = event.get("contentBlockIndex")
        match kind:
            case "messageStart":
                self._role = event.get("role", "")
            case "contentBlockStart" if isinstance(index, int):
                self._block(index).add(mapping(event.get("start")))
            case "contentBlockDelta" if isinstance(index, int):
                self._block(index).add(_piece(mapping(event.get("delta"))))
            case "contentBlockStop" if isinstance(index, int):
                self._stopped.add(index)
            case "messageStop":
                self._stop_reason = event.get("stopReason")
            case "metadata":
                self._usage = mapping(event.get("usage"))

    def _block(self, index: int) -> Assembly:
        return self._blocks.setdefault(index, Assembly(_BLOCK))

    def whole(self) -> dict[str, Any]:
        """Give the response; empty when no event came."""
        if not self._started:
            return {}
        content: list[dict[str, Any]] = []
        for index, assembly in sorted(self._blocks.items()):
            block = assembly.whole()
            use = mapping(block.get("toolUse"))
            if index in self._stopped and isinstance(text := use.get("input"), str):
                given = parse_json(text)
                use["input"] = text if given is None else given
            content.append(block)
        response: dict[str, Any] = {
            "output": {"message": {"role": self._role, "content": content}},
            "usage": self._usage,
        }
        if self._stop_reason:
            response["stopReason"] = self._stop_reason
        return response


def _piece(delta: dict[str, Any]) -> dict[str, Any]:
    """Call a delta's fields what they are called in a whole block."""
    reasoning = delta.get("reasoningContent")
    if not isinstance(reasoning, dict):
        return delta
    text = {key: value for key, value in reasoning.items() if key in ("text", "signature")}
    piece: dict[str, Any] = {"redactedContent": reasoning.get("redactedContent")}
    if text:
        piece["reasoningText"] = text
    return {**delta, "reasoningContent": piece}
