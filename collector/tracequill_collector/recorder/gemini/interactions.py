"""Gemini's interactions: a Call enters, the Interpretation that the SDK's span equals leaves.

An interaction is a list of steps of a model or an agent, plain or as a stream of events. Its JSON
has the library's own names already. No input or output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from openinference.semconv.trace import (
    OpenInferenceLLMProviderValues,
    OpenInferenceMimeTypeValues,
    OpenInferenceSpanKindValues,
    SpanAttributes,
)

from tracequill_collector.recorder.body import parse_json, to_json
from tracequill_collector.recorder.call import Call, Failure, Interpretation
from tracequill_collector.recorder.gemini.names import data_url, without_large_images
from tracequill_collector.recorder.gemini.steps import interaction_of_events
from tracequill_collector.recorder.message import (
    INPUT_MESSAGES,
    OUTPUT_MESSAGES,
    Pairs,
    mapping,
    messages_attributes,
    objects,
    text_or_none,
    tool_attributes,
)
from tracequill_collector.recorder.secret import remove_keys
from tracequill_collector.recorder.sse import parse_sse

_JSON = OpenInferenceMimeTypeValues.JSON.value
_TEXT = OpenInferenceMimeTypeValues.TEXT.value
_ERRORS_MODULE = "google.genai._interactions"
_ERRORS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
}
# Fields that stand in attributes of their own.
_TOLD = frozenset({"generation_config", "input", "model", "stream", "system_instruction", "tools"})
_Message = dict[str, Any]


def interpret(call: Call) -> Interpretation:
    """Interpret the creation of an interaction."""
    result = Interpretation("InteractionsResource.create")
    request = mapping(without_large_images(mapping(call.request_json)))
    if not isinstance(call.request_json, dict):
        result.add([(SpanAttributes.INPUT_VALUE, call.request_text)])
        result.problems.append("request body is not a JSON object")
    response = _response(call, result)
    if not call.succeeded and call.exchange.status:
        result.fail(_failure(call), call.exchange.end_unix_ns)
    agent = _is_agent(request) or _is_agent(response)
    kind = OpenInferenceSpanKindValues.AGENT if agent else OpenInferenceSpanKindValues.LLM
    result.add([(SpanAttributes.OPENINFERENCE_SPAN_KIND, kind.value)])
    result.add(_input_value(request))
    result.add(_request_attributes(request))
    if response:
        result.add(_response_attributes(response))
    return result


def _is_agent(value: dict[str, Any]) -> bool:
    return isinstance(value.get("agent"), str) and not isinstance(value.get("model"), str)


def _failure(call: Call) -> Failure:
    status = call.exchange.status
    name = _ERRORS.get(status, "InternalServerError" if status >= 500 else "APIStatusError")
    body = call.response_json
    if isinstance(body, dict | list):
        message = f"Error code: {status} - {body}"
    else:
        text = call.response.data.decode("utf-8", "replace").strip()
        message = text or f"Error code: {status}"
    return Failure(f"{_ERRORS_MODULE}.{name}", remove_keys(message))


def _input_value(request: dict[str, Any]) -> Pairs:
    given = request.get("input")
    if isinstance(given, list | dict):
        yield SpanAttributes.INPUT_VALUE, to_json(given)
        yield SpanAttributes.INPUT_MIME_TYPE, _JSON
    elif given is not None:
        yield SpanAttributes.INPUT_VALUE, str(given)
        yield SpanAttributes.INPUT_MIME_TYPE, _TEXT


def _request_attributes(request: dict[str, Any]) -> Pairs:
    yield SpanAttributes.LLM_PROVIDER, OpenInferenceLLMProviderValues.GOOGLE.value
    yield SpanAttributes.LLM_MODEL_NAME, text_or_none(request.get("model"))
    others = {name: value for name, value in request.items() if name not in _TOLD}
    parameters = {**mapping(request.get("generation_config")), **others}
    yield SpanAttributes.LLM_INVOCATION_PARAMETERS, to_json(parameters)
    yield from tool_attributes(objects(request.get("tools")))
    yield from messages_attributes(INPUT_MESSAGES, _input_messages(request))
    before = {name: request[name] for name in ("previous_interaction_id",) if name in request}
    yield SpanAttributes.METADATA, to_json(before)


def _response_attributes(response: dict[str, Any]) -> Pairs:
    yield SpanAttributes.OUTPUT_VALUE, to_json(response)
    yield SpanAttributes.OUTPUT_MIME_TYPE, _JSON
    yield SpanAttributes.LLM_MODEL_NAME, text_or_none(response.get("model"))
    steps = objects(response.get("steps"))
    yield from messages_attributes(OUTPUT_MESSAGES, _output_messages(steps))
    yield from _usage_attributes(mapping(response.get("usage")))


def _input_messages(request: dict[str, Any]) -> Iterator[_Message]:
    if system := text_or_none(request.get("system_instruction")):
        yield {"role": "system", "content": system}
    given = request.get("input")
    if isinstance(given, str):
        yield {"role": "user", "content": given}
    said: list[dict[str, Any]] = []
    for item in [given] if isinstance(given, dict) else objects(given):
        match item.get("type"):
            case "function_result":
                yield _result_message(item)
            case "user_input":
                yield from _message("user", objects(item.get("content")))
            case "model_output":
                yield from _message("model", objects(item.get("content")))
            case "text" | "image":
                said.append(item)
            case "function_call":
                yield from _message("model", [item])
            case _ if isinstance(content := item.get("content"), str):
                yield {"role": item.get("role") or "user", "content": content}
            case _:
                role = text_or_none(item.get("role")) or "model"
                yield from _message(role, objects(item.get("content")))
    yield from _message("user", said)


def _output_messages(steps: list[dict[str, Any]]) -> Iterator[_Message]:
    """Give each result of a function, then the rest of all steps as one message."""
    said: list[dict[str, Any]] = []
    results = 0
    for step in steps:
        if step.get("type") == "function_result":
            results += 1
            yield _result_message(step)
        else:
            said.append(step)
    message = next(_message("model", said), None)
    if message or not results:
        yield message or {"role": "model"}


def _result_message(step: dict[str, Any]) -> _Message:
    result = step.get("result") or ""
    return {
        "role": "tool",
        "content": result if isinstance(result, str) else to_json(result),
        "tool_call_id": text_or_none(step.get("call_id")) or "",
    }


def _message(role: str, items: list[dict[str, Any]]) -> Iterator[_Message]:
    """Give the message that *items* are, if they say anything."""
    contents: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for item in items:
        _add_item(item, contents, calls)
    if contents or calls:
        yield {"role": role, "contents": contents, "tool_calls": calls}


def _add_item(
    item: dict[str, Any], contents: list[dict[str, Any]], calls: list[dict[str, Any]]
) -> None:
    signature = text_or_none(item.get("signature")) or None
    match item.get("type"):
        case "model_output":
            for inner in objects(item.get("content")):
                _add_item(inner, contents, calls)
        case "text":
            contents.append({"type": "text", "text": text_or_none(item.get("text")) or ""})
        case "image":
            contents.extend(_image(item))
        case "thought":
            summary = objects(item.get("summary"))
            parts = [text_or_none(part.get("text")) or "" for part in summary]
            text = "".join(parts) or text_or_none(item.get("text")) or None
            if text or signature:
                contents.append({"type": "reasoning", "text": text, "signature": signature})
        case "function_call":
            calls.append(
                {
                    "id": item.get("id") or None,
                    "name": item.get("name"),
                    "arguments": item.get("arguments"),
                    "signature": signature,
                }
            )


def _image(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    mime_type = text_or_none(item.get("mime_type")) or "image/png"
    if url := item.get("uri") or data_url(mime_type, item.get("data") or None):
        yield {"type": "image", "image_url": url}


def _usage_attributes(usage: dict[str, Any]) -> Pairs:
    """Give the token counts as the instrumentor adds them up."""
    if not usage:
        return
    cached = _count(usage, "total_cached_tokens")
    by_modality = objects(usage.get("input_tokens_by_modality"))
    modalities = sum(_count(item, "tokens") for item in by_modality)
    prompt = max(_count(usage, "total_input_tokens"), modalities) + cached
    completion = sum(
        _count(usage, f"total_{name}_tokens") for name in ("thought", "output", "tool_use")
    )
    total = _count(usage, "total_tokens")
    if total > prompt + completion and (prompt or completion):
        prompt = total - completion
    yield SpanAttributes.LLM_TOKEN_COUNT_TOTAL, max(total, prompt + completion)
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, prompt
    yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, completion
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_READ, cached or None


def _count(usage: dict[str, Any], name: str) -> int:
    count = usage.get(name)
    return count if isinstance(count, int) else 0


def _response(call: Call, result: Interpretation) -> dict[str, Any]:
    """Give the interaction, put together from its events when it came as a stream."""
    if not call.succeeded:
        return {}
    if call.response_type == "text/event-stream":
        return interaction_of_events(_events(call, result))
    if isinstance(call.response_json, dict):
        return mapping(without_large_images(call.response_json))
    if call.response.data:
        result.add([(SpanAttributes.OUTPUT_VALUE, call.response_text)])
        result.problems.append("response body is not a JSON object")
    return {}


def _events(call: Call, result: Interpretation) -> Iterator[dict[str, Any]]:
    """Give the events of a stream until its end; an error among them is recorded."""
    for event in parse_sse(call.response.data):
        if event.data.startswith("[DONE]"):
            return
        data = parse_json(event.data)
        if not isinstance(data, dict):
            result.problems.append("stream holds an event that is not a JSON object")
            continue
        if data.get("event_type") == "error" and result.status != "ERROR":
            message = text_or_none(mapping(data.get("error")).get("message")) or "no message"
            failure = Failure(f"{_ERRORS_MODULE}.APIError", remove_keys(message))
            result.fail(failure, call.exchange.end_unix_ns)
        yield mapping(without_large_images(data))
