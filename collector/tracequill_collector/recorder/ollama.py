"""Exchanges in Ollama's own format: a Call enters, an Interpretation leaves.

Chat as its instrumentor describes it; prompts and embeddings, which that one leaves out, in the
same words. Ollama's paths in OpenAI's format are not for this module. No input or output.
https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from openinference.semconv.trace import (
    EmbeddingAttributes,
    OpenInferenceMimeTypeValues,
    OpenInferenceSpanKindValues,
    SpanAttributes,
)

from tracequill_collector.recorder.body import NDJSON_TYPES, lines, parse_json, to_json
from tracequill_collector.recorder.call import Call, Failure, Interpretation
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

_JSON = OpenInferenceMimeTypeValues.JSON.value
# The first characters of images in base64; Ollama is told no media type.
_IMAGE_TYPES = {"iVBORw0KGgo": "png", "/9j/": "jpeg", "R0lGOD": "gif", "UklGR": "webp"}


def interpret(call: Call) -> Interpretation | None:
    """Interpret the exchange, or give None when it is none of Ollama's own calls of a model."""
    if call.exchange.method != "POST" or len(call.segments) < 2 or call.segments[-2] != "api":
        return None
    interpreter = _INTERPRETERS.get(call.segments[-1])
    if interpreter is None or not isinstance(call.request_json, dict | None):
        return None
    return interpreter(call)


def _start(call: Call, name: str, kind: OpenInferenceSpanKindValues) -> Interpretation:
    result = Interpretation(name)
    result.add(
        [
            (SpanAttributes.OPENINFERENCE_SPAN_KIND, kind.value),
            (SpanAttributes.LLM_PROVIDER, call.provider or None),
            (SpanAttributes.INPUT_VALUE, call.request_text or None),
        ]
    )
    if isinstance(call.request_json, dict):
        result.add([(SpanAttributes.INPUT_MIME_TYPE, _JSON)])
    else:
        result.problems.append("request body is not a JSON object")
    if not call.succeeded and call.exchange.status:
        error = mapping(call.response_json).get("error")
        text = remove_keys(error) if isinstance(error, str) else ""
        _fail(call, result, f"{text} (status code: {call.exchange.status})")
    return result


def _fail(call: Call, result: Interpretation, message: str) -> None:
    result.fail(Failure("ollama._types.ResponseError", message), call.exchange.end_unix_ns)


def _chat(call: Call) -> Interpretation:
    result = _start(call, "Chat", OpenInferenceSpanKindValues.LLM)
    request = mapping(call.request_json)
    messages = [_message(message) for message in objects(request.get("messages"))]
    result.add(_request_attributes(request, ("messages", "model", "tools"), messages))
    tools = request.get("tools")
    result.add(tool_attributes(tools if isinstance(tools, list) else []))
    if response := _response(call, result, _whole_chat):
        result.add(_response_attributes(response, mapping(response.get("message"))))
    return result


def _generate(call: Call) -> Interpretation:
    result = _start(call, "Generate", OpenInferenceSpanKindValues.LLM)
    request = mapping(call.request_json)
    prompt = {"role": "user", "content": request.get("prompt"), "images": request.get("images")}
    messages = [_message(prompt)]
    if system := text_or_none(request.get("system")):
        messages.insert(0, {"role": "system", "content": system})
    left_out = ("prompt", "images", "system", "model", "context")
    result.add(_request_attributes(request, left_out, messages))
    if response := _response(call, result, _whole_generation):
        answer = {"role": "assistant", "content": response.get("response")}
        result.add(_response_attributes(response, {**answer, **_thinking(response)}))
    return result


def _embed(call: Call) -> Interpretation:
    result = _start(call, "CreateEmbeddings", OpenInferenceSpanKindValues.EMBEDDING)
    request = mapping(call.request_json)
    parameters = {key: value for key, value in request.items() if key not in ("input", "prompt")}
    if isinstance(call.request_json, dict):
        result.add([(SpanAttributes.EMBEDDING_INVOCATION_PARAMETERS, to_json(parameters))])
    result.add([(SpanAttributes.EMBEDDING_MODEL_NAME, text_or_none(request.get("model")))])
    texts = request.get("input", request.get("prompt"))
    for index, text in enumerate(texts if isinstance(texts, list) else [texts]):
        name = f"{SpanAttributes.EMBEDDING_EMBEDDINGS}.{index}.{EmbeddingAttributes.EMBEDDING_TEXT}"
        result.add([(name, text_or_none(text))])
    response = _response(call, result, _last) or {}
    vectors = response.get("embeddings", [response.get("embedding")])
    for index, vector in enumerate(vectors if isinstance(vectors, list) else []):
        name = (
            f"{SpanAttributes.EMBEDDING_EMBEDDINGS}.{index}.{EmbeddingAttributes.EMBEDDING_VECTOR}"
        )
        result.add([(name, _floats(vector))])
    result.add([(SpanAttributes.EMBEDDING_MODEL_NAME, text_or_none(response.get("model")))])
    result.add(_token_attributes(response))
    return result


# --- requests -----------------------------------------------------------------------------


def _request_attributes(
    request: dict[str, Any], left_out: Iterable[str], messages: Iterable[dict[str, Any]]
) -> Pairs:
    if not request:
        return
    parameters = {key: value for key, value in request.items() if key not in left_out}
    yield SpanAttributes.LLM_INVOCATION_PARAMETERS, to_json(parameters)
    yield SpanAttributes.LLM_MODEL_NAME, text_or_none(request.get("model"))
    yield from messages_attributes(INPUT_MESSAGES, messages)


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """Give one of Ollama's messages in OpenInference's shape."""
    content = text_or_none(message.get("content")) or None
    found: dict[str, Any] = {
        "role": text_or_none(message.get("role")),
        "name": message.get("tool_name"),
        "tool_calls": [_tool_call(call) for call in objects(message.get("tool_calls"))],
    }
    contents = []
    if thinking := text_or_none(message.get("thinking")):
        contents.append({"type": "reasoning", "text": thinking})
    given = message.get("images")
    images = [image for image in given if isinstance(image, str)] if isinstance(given, list) else []
    if images and content:
        contents.append({"type": "text", "text": content})
        content = None
    contents.extend({"type": "image", "image_url": _image_url(image)} for image in images)
    return {**found, "content": content, "contents": contents}


def _tool_call(call: dict[str, Any]) -> dict[str, Any]:
    function = mapping(call.get("function"))
    return {
        "id": text_or_none(call.get("id")),
        "name": function.get("name"),
        "arguments": function.get("arguments"),
    }


def _image_url(image: str) -> str:
    kinds = (kind for start, kind in _IMAGE_TYPES.items() if image.startswith(start))
    return f"data:image/{next(kinds, 'png')};base64,{image}"


# --- answers ------------------------------------------------------------------------------


def _response(
    call: Call, result: Interpretation, put_together: Callable[[list[Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Give the answer, a stream put together, and record it as the output."""
    if not call.succeeded:
        return {}
    if call.response_type in NDJSON_TYPES:
        response = put_together(list(_events(call, result)))
        output = to_json(response) if response else None
    elif isinstance(call.response_json, dict):
        response = call.response_json
        output = call.response_text or to_json(response)
    else:
        if call.response.data:
            result.problems.append("response body is not a JSON object")
        return {}
    result.add(
        [
            (SpanAttributes.OUTPUT_VALUE, output),
            (SpanAttributes.OUTPUT_MIME_TYPE, _JSON if output else None),
        ]
    )
    return response


def _events(call: Call, result: Interpretation) -> Iterator[dict[str, Any]]:
    """Give the objects of a stream until its end or its error, which is recorded."""
    for line in lines(call.response.data):
        if not line:
            continue
        event = parse_json(line)
        if not isinstance(event, dict):
            result.problems.append("stream holds a line that is not a JSON object")
            continue
        if error := event.get("error"):
            text = remove_keys(error) if isinstance(error, str) else "no message"
            # The library gives an error inside a stream no status, which is -1.
            _fail(call, result, f"{text} (status code: -1)")
            return
        yield event


def _last(events: list[Any]) -> dict[str, Any]:
    return events[-1] if events else {}


def _whole_chat(events: list[Any]) -> dict[str, Any]:
    """Put a stream of messages together: texts are joined, calls are continued."""
    if not events:
        return {}
    messages = [mapping(event.get("message")) for event in events]
    last = dict(messages[-1])
    roles = (role for message in messages if (role := text_or_none(message.get("role"))))
    last |= {"role": next(roles, None), "content": _joined(messages, "content")}
    if thinking := _joined(messages, "thinking"):
        last["thinking"] = thinking
    if calls := [call for message in messages for call in objects(message.get("tool_calls"))]:
        last["tool_calls"] = calls
    return {**events[-1], "message": last}


def _whole_generation(events: list[Any]) -> dict[str, Any]:
    if not events:
        return {}
    whole = {**events[-1], "response": _joined(events, "response")}
    if thinking := _joined(events, "thinking"):
        whole["thinking"] = thinking
    return whole


def _joined(pieces: Iterable[dict[str, Any]], name: str) -> str:
    return "".join(text for piece in pieces if (text := text_or_none(piece.get(name))))


def _thinking(response: dict[str, Any]) -> dict[str, Any]:
    return {"thinking": response["thinking"]} if response.get("thinking") else {}


def _response_attributes(response: dict[str, Any], message: dict[str, Any]) -> Pairs:
    yield SpanAttributes.LLM_MODEL_NAME, text_or_none(response.get("model")) or None
    yield from _token_attributes(response)
    if message:
        yield from messages_attributes(OUTPUT_MESSAGES, [_message(message)])
    yield SpanAttributes.LLM_FINISH_REASON, text_or_none(response.get("done_reason"))


def _token_attributes(response: dict[str, Any]) -> Pairs:
    prompt, completion = (_count(response, name) for name in ("prompt_eval_count", "eval_count"))
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, prompt
    yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, completion
    if prompt is not None:
        yield SpanAttributes.LLM_TOKEN_COUNT_TOTAL, prompt + (completion or 0)


def _count(response: dict[str, Any], name: str) -> int | None:
    value = response.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _floats(vector: Any) -> list[float] | None:
    if not isinstance(vector, list) or not vector:
        return None
    if not all(isinstance(number, int | float) for number in vector):
        return None
    try:
        return [float(number) for number in vector]
    except OverflowError:
        return None


_INTERPRETERS: dict[str, Callable[[Call], Interpretation]] = {
    "chat": _chat,
    "generate": _generate,
    "embed": _embed,
    "embeddings": _embed,
}
