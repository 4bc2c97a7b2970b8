"""Exchanges in OpenAI's format: a Call enters, the Interpretation that the SDK's span equals
leaves.

Knows the endpoints that make LLM and embedding spans; everything else is not for this module.
No input or output.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

from openinference.semconv.trace import (
    ChoiceAttributes,
    EmbeddingAttributes,
    OpenInferenceLLMSystemValues,
    OpenInferenceMimeTypeValues,
    OpenInferenceSpanKindValues,
    PromptAttributes,
    SpanAttributes,
)

from tracequill_collector.recorder.body import parse_json, to_compact_json, to_json
from tracequill_collector.recorder.call import Call, Failure, Interpretation
from tracequill_collector.recorder.message import (
    REDACTED,
    Pairs,
    is_large_image,
    mapping,
    objects,
)
from tracequill_collector.recorder.openai import chat, images, response_stream, responses
from tracequill_collector.recorder.pieces import Assembly, Indexed, Kind
from tracequill_collector.recorder.secret import remove_keys
from tracequill_collector.recorder.span import RecordedEvent
from tracequill_collector.recorder.sse import parse_sse

FIRST_TOKEN_EVENT = "First Token Stream Event"

_JSON = OpenInferenceMimeTypeValues.JSON.value
_KIND = SpanAttributes.OPENINFERENCE_SPAN_KIND
_ERRORS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
}


def endpoint_of(method: str, path: str) -> str:
    """Name the endpoint that makes a span of its own kind, or give an empty text.

    Reading a stored response or completion again is none: its tokens were counted when it was
    made.
    """
    if method != "POST":
        return ""
    for endpoint in _INTERPRETERS:
        if path.rstrip("/").endswith(f"/{endpoint}"):
            return endpoint
    return ""


def interpret(call: Call) -> Interpretation | None:
    """Interpret the exchange, or give None when its endpoint makes no LLM or embedding span."""
    endpoint = endpoint_of(call.exchange.method, call.path)
    if not endpoint:
        return None
    return _INTERPRETERS[endpoint](call)


def _start(call: Call, name: str, kind: OpenInferenceSpanKindValues) -> Interpretation:
    result = _begin(call, name, kind)
    _add_input(call, result)
    _add_failure(call, result)
    return result


def _begin(call: Call, name: str, kind: OpenInferenceSpanKindValues) -> Interpretation:
    result = Interpretation(name)
    result.add(
        [
            (_KIND, kind.value),
            (SpanAttributes.LLM_PROVIDER, call.provider or None),
            (SpanAttributes.LLM_SYSTEM, OpenInferenceLLMSystemValues.OPENAI.value),
        ]
    )
    return result


def _add_input(call: Call, result: Interpretation) -> None:
    if isinstance(call.request_json, dict):
        result.add(
            [
                (SpanAttributes.INPUT_VALUE, _input_value(call)),
                (SpanAttributes.INPUT_MIME_TYPE, _JSON),
            ]
        )
    else:
        result.add([(SpanAttributes.INPUT_VALUE, call.request_text)])
        result.problems.append("request body is not a JSON object")


def _add_failure(call: Call, result: Interpretation) -> None:
    if not call.succeeded and call.exchange.status:
        result.fail(_failure(call), call.exchange.end_unix_ns)


def _input_value(call: Call) -> str:
    """Give the request as JSON text, without the images that the instrumentor leaves out."""
    request = _without_large_images(call.request_json)
    if request is not None:
        return to_json(request)
    return call.request.data.decode("utf-8", errors="replace")


def _without_large_images(request: dict[str, Any]) -> dict[str, Any] | None:
    """Give the request with large images replaced; None when it holds none."""
    found = False
    changed = dict(request)
    for field, kind in (("messages", "image_url"), ("input", "input_image")):
        messages = request.get(field)
        if not isinstance(messages, list):
            continue
        copies: list[Any] = []
        for message in messages:
            content = message.get("content") if isinstance(message, dict) else None
            if isinstance(content, list):
                parts = [_without_large_image(part, kind) for part in content]
                if any(new is not old for new, old in zip(parts, content, strict=True)):
                    found = True
                    message = {**message, "content": parts}
            copies.append(message)
        changed[field] = copies
    return changed if found else None


def _without_large_image(part: Any, kind: str) -> Any:
    if not isinstance(part, dict) or part.get("type") != kind:
        return part
    image = part.get("image_url")
    if kind == "image_url" and isinstance(image, dict) and is_large_image(image.get("url")):
        return {**part, "image_url": {**image, "url": REDACTED}}
    if kind == "input_image" and is_large_image(image):
        return {**part, "image_url": REDACTED}
    return part


def _failure(call: Call) -> Failure:
    """Give the error that the openai library raises for this answer."""
    status = call.exchange.status
    message = f"Error code: {status}"
    if isinstance(body := call.response_json, dict):
        error = body.get("error", body)
        if isinstance(error, dict) and isinstance(text := error.get("message"), str) and text:
            message = f"{message} - {remove_keys(text)}"
    name = _ERRORS.get(status, "InternalServerError" if status >= 500 else "APIStatusError")
    return Failure(f"openai.{name}", message)


def _output(result: Interpretation, text: str) -> None:
    result.add([(SpanAttributes.OUTPUT_VALUE, text), (SpanAttributes.OUTPUT_MIME_TYPE, _JSON)])


def _is_stream(call: Call) -> bool:
    return call.response_type == "text/event-stream"


def _stream(call: Call, result: Interpretation) -> Iterator[dict[str, Any]]:
    """Give the JSON events of a stream until its end or its error, which is recorded."""
    first_unix_ns = call.exchange.first_byte_unix_ns
    for event in parse_sse(call.response.data):
        if event.data.startswith("[DONE]"):
            return
        data = parse_json(event.data)
        if not isinstance(data, dict):
            result.problems.append("stream holds an event that is not a JSON object")
            continue
        if error := data.get("error"):
            text = mapping(error).get("message")
            message = (
                text if text and isinstance(text, str) else "An error occurred during streaming"
            )
            result.fail(Failure("openai.APIError", remove_keys(message)), call.exchange.end_unix_ns)
            return
        if first_unix_ns:
            result.events.append(RecordedEvent(FIRST_TOKEN_EVENT, first_unix_ns))
            first_unix_ns = 0
        yield data


def _fail(call: Call, result: Interpretation, message: Any) -> None:
    """Record an error that came inside an answer."""
    text = remove_keys(message) if isinstance(message, str) else "no message"
    result.fail(Failure("openai.APIError", text), call.exchange.end_unix_ns)


def _response_object(call: Call, result: Interpretation) -> dict[str, Any] | None:
    """Give the answer of a call without a stream, and record it as the output."""
    if not call.succeeded:
        return None
    if isinstance(call.response_json, dict):
        _output(result, call.response.data.decode("utf-8", errors="replace"))
        return call.response_json
    if call.response.data:
        result.add([(SpanAttributes.OUTPUT_VALUE, call.response_text)])
    result.problems.append("response body is not a JSON object")
    if call.is_whole and call.response_type == "application/json":
        # The library reads the body as JSON too, and raises what this raises.
        try:
            json.loads(call.response.data)
        except ValueError as error:
            failure = Failure("json.decoder.JSONDecodeError", str(error))
            result.fail(failure, call.exchange.end_unix_ns)
    return None


def _chat(call: Call) -> Interpretation:
    result = _start(call, chat.SPAN_NAME, OpenInferenceSpanKindValues.LLM)
    result.add(chat.request_attributes(mapping(call.request_json)))
    if _is_stream(call) and call.succeeded:
        response: Any = chat.response_of_chunks(_stream(call, result))
        if response:
            _output(result, to_json(response))
    else:
        response = _response_object(call, result)
    if response:
        result.add(chat.response_attributes(response))
    return result


def _responses(call: Call) -> Interpretation:
    result = _start(call, responses.SPAN_NAME, OpenInferenceSpanKindValues.LLM)
    request = mapping(call.request_json)
    result.add(responses.request_attributes(request))
    if _is_stream(call) and call.succeeded:
        response, end = response_stream.response_of_events(_stream(call, result))
        if response:
            _output(result, to_json(response))
        if end == "response.failed" and result.status != "ERROR":
            _fail(call, result, mapping(response.get("error")).get("message"))
    else:
        response = _response_object(call, result) or {}
    if response:
        result.add(responses.response_attributes(response, request))
    return result


def _fill_in_middle(call: Call) -> Interpretation:
    """Interpret Mistral's completion of code, which answers as chat does."""
    result = _start(call, "Completion", OpenInferenceSpanKindValues.LLM)
    result.add(_prompt_attributes(call))
    if _is_stream(call) and call.succeeded:
        response: Any = chat.response_of_chunks(_stream(call, result))
        if response:
            _output(result, to_json(response))
    else:
        response = _response_object(call, result)
    if response:
        result.add(chat.response_attributes(response))
    return result


def _completions(call: Call) -> Interpretation:
    result = _start(call, "Completion", OpenInferenceSpanKindValues.LLM)
    result.add(_prompt_attributes(call))
    if _is_stream(call) and call.succeeded:
        assembly = Assembly({"choices": Indexed({"text": Kind.TEXT})})
        for chunk in _stream(call, result):
            assembly.add(chunk)
        response: Any = assembly.whole()
        if response:
            _output(result, to_json(response))
    else:
        response = _response_object(call, result)
    if response:
        result.add(_completion_attributes(response))
    return result


def _prompt_attributes(call: Call) -> Pairs:
    if not isinstance(call.request_json, dict):
        return
    request = call.request_json
    parameters = {key: value for key, value in request.items() if key != "prompt"}
    yield SpanAttributes.LLM_INVOCATION_PARAMETERS, to_json(parameters)
    prompts = request.get("prompt")
    if isinstance(prompts, str):
        prompts = [prompts]
    if isinstance(prompts, list) and all(isinstance(prompt, str) for prompt in prompts):
        for index, prompt in enumerate(prompts):
            yield f"{SpanAttributes.LLM_PROMPTS}.{index}.{PromptAttributes.PROMPT_TEXT}", prompt


def _completion_attributes(response: dict[str, Any]) -> Pairs:
    yield SpanAttributes.LLM_MODEL_NAME, response.get("model") or None
    yield from chat.usage_attributes(response.get("usage"))
    for choice in objects(response.get("choices")):
        index = choice.get("index")
        if not isinstance(index, int):
            continue
        name = f"{SpanAttributes.LLM_CHOICES}.{index}.{ChoiceAttributes.COMPLETION_TEXT}"
        yield name, choice.get("text") or None
        if index == 0:
            yield SpanAttributes.LLM_FINISH_REASON, choice.get("finish_reason")


def _embeddings(call: Call) -> Interpretation:
    result = _start(call, "CreateEmbeddings", OpenInferenceSpanKindValues.EMBEDDING)
    request = mapping(call.request_json)
    parameters = {key: value for key, value in request.items() if key != "input"}
    if isinstance(call.request_json, dict):
        result.add([(SpanAttributes.EMBEDDING_INVOCATION_PARAMETERS, to_json(parameters))])
    texts = request.get("input")
    if isinstance(texts, str):
        texts = [texts]
    # Input may also be token numbers, of which nothing is recorded.
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        result.add(
            (_embedding(index, EmbeddingAttributes.EMBEDDING_TEXT), text)
            for index, text in enumerate(texts)
        )
    response = _response_object(call, result)
    if response is not None:
        vectors = _decode_vectors(response)
        if vectors is not response:
            _output(result, to_compact_json(vectors))
        result.add(_embedding_attributes(vectors))
    return result


def _embedding(index: int, name: str) -> str:
    return f"{SpanAttributes.EMBEDDING_EMBEDDINGS}.{index}.{name}"


def _embedding_attributes(response: dict[str, Any]) -> Pairs:
    usage = mapping(response.get("usage"))
    yield SpanAttributes.LLM_TOKEN_COUNT_TOTAL, usage.get("total_tokens")
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, usage.get("prompt_tokens")
    yield SpanAttributes.EMBEDDING_MODEL_NAME, response.get("model") or None
    for item in objects(response.get("data")):
        index, vector = item.get("index"), item.get("embedding")
        if not isinstance(index, int) or not isinstance(vector, list) or not vector:
            continue
        yield _embedding(index, EmbeddingAttributes.EMBEDDING_VECTOR), _floats(vector)


def _floats(vector: list[Any]) -> list[float] | None:
    """Give the vector, or None when it holds anything but numbers."""
    types = set(map(type, vector))
    if types == {float}:
        return vector
    if not types <= {int, float, bool}:
        return None
    try:
        return [float(number) for number in vector]
    except OverflowError:
        return None


def _decode_vectors(response: dict[str, Any]) -> dict[str, Any]:
    """Give the response with its base64 vectors as numbers; the library asks for base64 and
    decodes it before anybody sees the answer.
    """
    data = response.get("data")
    if not any(isinstance(item.get("embedding"), str) for item in objects(data)):
        return response
    decoded: list[Any] = []
    for item in data if isinstance(data, list) else []:
        if isinstance(item, dict) and isinstance(encoded := item.get("embedding"), str):
            try:
                raw = base64.b64decode(encoded)
            except (binascii.Error, ValueError):
                raw = b""
            vector = struct.unpack_from(f"<{len(raw) // 4}f", raw)
            item = {**item, "embedding": list(vector)}
        decoded.append(item)
    return {**response, "data": decoded}


def _images(call: Call) -> Interpretation:
    if not call.form.parts:
        result = _start(call, images.SPAN_NAME, OpenInferenceSpanKindValues.LLM)
        request = mapping(call.request_json)
    else:
        result = _begin(call, images.SPAN_NAME, OpenInferenceSpanKindValues.LLM)
        request = images.request_of_form(call.form)
        value = to_json(request)
        result.add([(SpanAttributes.INPUT_VALUE, value), (SpanAttributes.INPUT_MIME_TYPE, _JSON)])
        result.add(images.input_image_attributes(call.form))
        if call.form.problem:
            result.problems.append(call.form.problem)
        _add_failure(call, result)
    if request or call.form.parts:
        result.add([(SpanAttributes.LLM_INVOCATION_PARAMETERS, to_json(request))])
    model = request.get("model")
    result.add([(SpanAttributes.LLM_MODEL_NAME, model if isinstance(model, str) else None)])
    if _is_stream(call) and call.succeeded:
        event = images.response_of_events(_stream(call, result))
        if event:
            _output(result, to_json(event))
            result.add(images.event_attributes(event))
    elif response := _response_object(call, result):
        result.add(images.response_attributes(response, request))
    return result


def _decisions(call: Call) -> Interpretation:
    """Interpret typed questions about an input; a model that decides is no LLM here."""
    result = Interpretation("Decision")
    model = mapping(call.request_json).get("model")
    result.add(
        [
            (_KIND, OpenInferenceSpanKindValues.DECISION.value),
            (SpanAttributes.DECISION_PROVIDER, call.provider or None),
            (SpanAttributes.DECISION_SYSTEM, OpenInferenceLLMSystemValues.OPENAI.value),
            (SpanAttributes.DECISION_REQUEST_MODEL_NAME, model),
            (SpanAttributes.DECISION_MODEL_NAME, model),
        ]
    )
    _add_input(call, result)
    _add_failure(call, result)
    if response := _response_object(call, result):
        usage = mapping(response.get("usage"))
        answered = response.get("model") or None
        result.add(
            [
                (SpanAttributes.DECISION_RESPONSE_MODEL_NAME, answered),
                (SpanAttributes.DECISION_MODEL_NAME, answered),
                (SpanAttributes.DECISION_TOKEN_COUNT_INPUT, usage.get("input_tokens")),
                (SpanAttributes.DECISION_TOKEN_COUNT_OUTPUT, usage.get("output_tokens")),
            ]
        )
    return result


_INTERPRETERS: dict[str, Callable[[Call], Interpretation]] = {
    "chat/completions": _chat,
    "responses": _responses,
    "embeddings": _embeddings,
    # Mistral's; an agent is chosen by its id instead of a model.
    "agents/completions": _chat,
    "fim/completions": _fill_in_middle,
    # After the others whose path ends in the same word.
    "completions": _completions,
    "images/generations": _images,
    "images/edits": _images,
    "images/variations": _images,
    "decisions": _decisions,
}

ENDPOINTS = tuple(_INTERPRETERS)
"""What a path ends in whose calls make a span of their own kind."""
