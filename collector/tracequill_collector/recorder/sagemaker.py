"""Exchanges with SageMaker's endpoints: a Call enters, an Interpretation leaves.

What an endpoint speaks is its owner's choice, and no instrumentor knows any of it. Chats make LLM
spans, in OpenAI's format, as vLLM and SGLang speak it, and so do prompts that are completed, in
that format or in that of Hugging Face's servers. Everything else is a plain span. The model is the
endpoint, or the inference component in it. No input or output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from openinference.semconv.trace import (
    OpenInferenceLLMProviderValues,
    OpenInferenceMimeTypeValues,
    OpenInferenceSpanKindValues,
    SpanAttributes,
)

from tracequill_collector.recorder import attributes
from tracequill_collector.recorder.aws import error as aws_error
from tracequill_collector.recorder.aws import stream as aws_stream
from tracequill_collector.recorder.body import header, parse_json, to_json
from tracequill_collector.recorder.call import Call, Interpretation
from tracequill_collector.recorder.message import Pairs, mapping, objects, text_or_none
from tracequill_collector.recorder.openai import chat as openai_chat
from tracequill_collector.recorder.plain import plain
from tracequill_collector.recorder.secret import remove_keys

Operation = Literal["InvokeEndpoint", "InvokeEndpointWithResponseStream", "InvokeEndpointAsync"]

_OPERATIONS: dict[str, Operation] = {
    "invocations": "InvokeEndpoint",
    "invocations-response-stream": "InvokeEndpointWithResponseStream",
    "async-invocations": "InvokeEndpointAsync",
}
_SPAN_NAMES: dict[Operation, str] = {
    "InvokeEndpoint": "sagemaker.invoke_endpoint",
    "InvokeEndpointWithResponseStream": "sagemaker.invoke_endpoint_with_response_stream",
}
# What an answer has that completes a prompt.
_GENERATED = frozenset({"generated_text", "token", "choices"})
_JSON = OpenInferenceMimeTypeValues.JSON.value
_TEXT = OpenInferenceMimeTypeValues.TEXT.value


def operation_of(method: str, segments: list[str]) -> Operation | None:
    """Name the operation, from ``/endpoints/{name}/{operation}``."""
    if method != "POST" or len(segments) != 3 or segments[0] != "endpoints":
        return None
    return _OPERATIONS.get(segments[2])


def interpret(call: Call) -> Interpretation | None:
    """Interpret the exchange, or give None when it is no call of an endpoint."""
    operation = operation_of(call.exchange.method, call.segments)
    if operation is None:
        return None
    request = mapping(call.request_json)
    if operation == "InvokeEndpointAsync":
        result = _async(call)
    elif isinstance(request.get("messages"), list):
        result = _chat(call, operation, request)
    else:
        result = _generation(call, operation, request) or _other(call, operation)
    component = header(call.exchange.request_headers, "x-amzn-sagemaker-inference-component")
    result.add([(attributes.INFERENCE_COMPONENT, component or None)])
    result.add([(SpanAttributes.LLM_MODEL_NAME, component or call.segments[1])])
    return result


def _start(call: Call, operation: Operation) -> Interpretation:
    result = Interpretation(_SPAN_NAMES[operation])
    kind = OpenInferenceSpanKindValues.LLM.value
    result.add([(SpanAttributes.OPENINFERENCE_SPAN_KIND, kind)])
    result.add([(SpanAttributes.LLM_PROVIDER, OpenInferenceLLMProviderValues.AWS.value)])
    if not call.succeeded and call.exchange.status:
        failure = aws_error.failure(call, operation, describes=True)
        result.fail(failure, call.exchange.end_unix_ns)
    return result


def _answer(call: Call, operation: Operation, result: Interpretation) -> bytes:
    """Give what the model sent, without the frames of a stream; a stream's error is recorded."""
    if not call.succeeded or operation == "InvokeEndpoint":
        return call.response.data if call.succeeded else b""
    parts = aws_stream.messages(call, operation, result, describes=True)
    return b"".join(message.payload for message in parts)


def _pieces(answer: bytes) -> Iterator[dict[str, Any]]:
    """Give the objects in an answer: one, a list, one a line, or one an event of a stream."""
    whole = parse_json(answer)
    if whole is not None:
        yield from [whole] if isinstance(whole, dict) else objects(whole)
        return
    for line in answer.splitlines():
        piece = parse_json(line.removeprefix(b"data:").strip())
        yield from [piece] if isinstance(piece, dict) else objects(piece)


# --- OpenAI's chat completions ------------------------------------------------------------


def _chat(call: Call, operation: Operation, request: dict[str, Any]) -> Interpretation:
    result = _start(call, operation)
    result.add([(SpanAttributes.INPUT_VALUE, to_json(request))])
    result.add([(SpanAttributes.INPUT_MIME_TYPE, _JSON)])
    result.add(openai_chat.request_attributes(request))
    pieces = list(_pieces(_answer(call, operation, result)))
    is_whole = operation == "InvokeEndpoint" and len(pieces) == 1
    if response := pieces[0] if is_whole else openai_chat.response_of_chunks(pieces):
        result.add([(SpanAttributes.OUTPUT_VALUE, to_json(response))])
        result.add([(SpanAttributes.OUTPUT_MIME_TYPE, _JSON)])
        result.add(openai_chat.response_attributes(response))
    elif call.succeeded:
        result.add([(SpanAttributes.OUTPUT_VALUE, call.response_text or None)])
        result.problems.append("response holds no JSON object")
    return result


# --- prompts ------------------------------------------------------------------------------


def _generation(call: Call, operation: Operation, request: dict[str, Any]) -> Interpretation | None:
    """Interpret a prompt that is completed; None when the answer shows that it was none."""
    field, parameters = "prompt", request
    if "inputs" in request:
        field, parameters = "inputs", mapping(request.get("parameters"))
    if not isinstance(request.get(field), str):
        return None
    result = _start(call, operation)
    result.add([(SpanAttributes.INPUT_VALUE, request[field])])
    result.add([(SpanAttributes.INPUT_MIME_TYPE, _TEXT)])
    kept = {name: value for name, value in parameters.items() if name != field}
    result.add([(SpanAttributes.LLM_INVOCATION_PARAMETERS, to_json(kept))])
    answer = _answer(call, operation, result)
    pieces = list(_pieces(answer))
    is_json = bool(answer) and parse_json(answer) is not None
    if is_json and not any(map(_GENERATED.intersection, pieces)):
        # Texts are also classified, or become vectors or images.
        return None
    result.add(_generated(pieces))
    if call.succeeded and not pieces:
        result.add([(SpanAttributes.OUTPUT_VALUE, answer.decode("utf-8", "replace") or None)])
        result.problems.append("response holds no JSON object")
    return result


def _generated(pieces: list[dict[str, Any]]) -> Pairs:
    """Give the text, why it ended and its tokens; the last piece of a stream repeats the text."""
    whole = [text for piece in pieces if isinstance(text := piece.get("generated_text"), str)]
    text = "".join(whole) or "".join(map(_piece_text, pieces))
    if text:
        yield SpanAttributes.OUTPUT_VALUE, text
        yield SpanAttributes.OUTPUT_MIME_TYPE, _TEXT
    for piece in pieces:
        yield from openai_chat.usage_attributes(piece.get("usage"))
        details = mapping(piece.get("details"))
        for ended in (details, *objects(piece.get("choices"))[:1]):
            yield SpanAttributes.LLM_FINISH_REASON, text_or_none(ended.get("finish_reason"))
        completion, prompt = details.get("generated_tokens"), details.get("prefill")
        prompt = len(prompt) if prompt and isinstance(prompt, list) else details.get("input_length")
        yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, _count(completion)
        yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, _count(prompt)
        if isinstance(completion, int) and isinstance(prompt, int):
            yield SpanAttributes.LLM_TOKEN_COUNT_TOTAL, prompt + completion


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _piece_text(piece: dict[str, Any]) -> str:
    """Give the text of a token, or of the first of OpenAI's choices."""
    token = mapping(piece.get("token"))
    holders = [{} if token.get("special") else token, *objects(piece.get("choices"))[:1]]
    return "".join(text for holder in holders if isinstance(text := holder.get("text"), str))


# --- everything else ----------------------------------------------------------------------


def _other(call: Call, operation: Operation) -> Interpretation:
    result = plain(call)
    if operation == "InvokeEndpointWithResponseStream" and call.succeeded:
        answer = _answer(call, operation, result)
        result.add(_plain_output(remove_keys(answer.decode("utf-8", errors="replace"))))
    return result


def _plain_output(text: str) -> Pairs:
    yield SpanAttributes.OUTPUT_VALUE, text or None
    is_json = bool(text) and parse_json(text) is not None
    yield SpanAttributes.OUTPUT_MIME_TYPE, _JSON if is_json else _TEXT


def _async(call: Call) -> Interpretation:
    """Give where the question lies and where the answer will; neither crosses."""
    result = plain(call)
    asked, answered = call.exchange.request_headers, call.exchange.response_headers
    location = header(asked, "x-amzn-sagemaker-inputlocation")
    if location:
        result.add([(SpanAttributes.INPUT_VALUE, location)])
        result.add([(SpanAttributes.INPUT_MIME_TYPE, _TEXT)])
    places = {
        name: place
        for name in ("OutputLocation", "FailureLocation")
        if (place := header(answered, f"x-amzn-sagemaker-{name.lower()}"))
    }
    if places:
        output = to_json({**mapping(call.response_json), **places})
        result.add([(SpanAttributes.OUTPUT_VALUE, output)])
        result.add([(SpanAttributes.OUTPUT_MIME_TYPE, _JSON)])
    return result
