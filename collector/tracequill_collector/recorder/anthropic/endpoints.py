"""Exchanges in Anthropic's format: a Call enters, the Interpretation that the SDK's span equals
leaves.

Knows messages, plain and streamed, of the library's beta methods and of Vertex AI too, token
counts, and the completions of prompts that came before messages; everything else is not for this
module. No input or output.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote

from openinference.semconv.trace import (
    ChoiceAttributes,
    OpenInferenceLLMSystemValues,
    OpenInferenceMimeTypeValues,
    OpenInferenceSpanKindValues,
    PromptAttributes,
    SpanAttributes,
)

from tracequill_collector.recorder.anthropic.content import (
    input_messages,
    metadata,
    offered_tools,
    output_message,
    to_safe_json,
    token_counts,
)
from tracequill_collector.recorder.anthropic.stream import CompletionStream, MessageStream
from tracequill_collector.recorder.body import header, parse_json, to_json
from tracequill_collector.recorder.call import Call, Failure, Interpretation
from tracequill_collector.recorder.message import Pairs, mapping, text_or_none, tool_attributes
from tracequill_collector.recorder.secret import remove_keys
from tracequill_collector.recorder.sse import parse_sse

_PROMPT = f"{SpanAttributes.LLM_PROMPTS}.0.{PromptAttributes.PROMPT_TEXT}"
_COMPLETION = f"{SpanAttributes.LLM_CHOICES}.0.{ChoiceAttributes.COMPLETION_TEXT}"
_JSON = OpenInferenceMimeTypeValues.JSON.value
_MESSAGES = "/v1/messages"
_COUNT = "/v1/messages/count_tokens"
_COMPLETE = "/v1/complete"
# On Vertex AI the model stands in the path, and in its place what is asked of none.
_VERTEX = re.compile(r"/publishers/anthropic/models/([^/]+):(?:rawPredict|streamRawPredict)\Z")
_VERTEX_COUNT = "count-tokens"
# Recorded as messages, tools and model; a schema for the answer stands in output_config today.
_NO_PARAMETERS = frozenset({"messages", "model", "output_format", "system", "tools"})
# What is said of unknown events: their types, that many, that long.
_KINDS = 8
_KIND_CHARACTERS = 64
_ERRORS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    413: "RequestTooLargeError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    529: "OverloadedError",
}
_VERTEX_ERRORS = {
    **_ERRORS,
    413: "APIStatusError",
    503: "ServiceUnavailableError",
    504: "DeadlineExceededError",
    529: "InternalServerError",
}


def interpret(call: Call) -> Interpretation | None:
    """Interpret the exchange, or give None when its endpoint makes no span of its own kind."""
    if call.exchange.method != "POST":
        return None
    path = call.path.rstrip("/")
    if path.endswith(_MESSAGES):
        return _messages(call, counted=False)
    if path.endswith(_COUNT):
        return _messages(call, counted=True)
    if path.endswith(_COMPLETE):
        return _complete(call)
    if model := _vertex_model(call):
        return _messages(call, counted=model == _VERTEX_COUNT)
    return None


def _vertex_model(call: Call) -> str:
    found = _VERTEX.search(call.path)
    return unquote(found[1]) if found else ""


def _messages(call: Call, *, counted: bool) -> Interpretation:
    result = Interpretation(_span_name(call, counted))
    result.add(_start(call))
    request = _request(call, result)
    if request:
        result.add(_request_attributes(call, request))
    response = _response(call, result, MessageStream())
    if response and not counted:
        result.add(_response_attributes(request, response))
    return result


def _span_name(call: Call, counted: bool) -> str:
    """Name the library's method; its helpers say in a header which of them was called."""
    query = parse_qs(call.exchange.path.partition("?")[2])
    beta = "beta." if query.get("beta") == ["true"] else ""
    headers = call.exchange.request_headers
    method = "create"
    if counted:
        method = "count_tokens"
    elif header(headers, "x-stainless-helper-method") == "stream":
        method = "stream"
    elif "beta.messages.parse" in header(headers, "x-stainless-helper"):
        method = "parse"
    return f"{beta}messages.{method}"


def _start(call: Call) -> Pairs:
    yield SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.LLM.value
    yield SpanAttributes.LLM_PROVIDER, call.provider or None
    yield SpanAttributes.LLM_SYSTEM, OpenInferenceLLMSystemValues.ANTHROPIC.value


def _request(call: Call, result: Interpretation) -> dict[str, Any]:
    """Give the request, and record it as the input; empty when it is no JSON object."""
    if not isinstance(call.request_json, dict):
        result.add([(SpanAttributes.INPUT_VALUE, call.request_text)])
        result.problems.append("request body is not a JSON object")
        return {}
    request = call.request_json
    text = call.request.data.decode("utf-8", errors="replace")
    if "model" not in request and (model := _vertex_model(call)):
        request = {"model": model, **request}
        text = to_json(request)
    result.add([(SpanAttributes.INPUT_VALUE, text), (SpanAttributes.INPUT_MIME_TYPE, _JSON)])
    return request


def _request_attributes(call: Call, request: dict[str, Any]) -> Pairs:
    parameters = {key: value for key, value in request.items() if key not in _NO_PARAMETERS}
    # The library's beta methods take as a parameter what crosses as a header.
    if betas := _betas(call):
        parameters["betas"] = betas
        yield SpanAttributes.INPUT_VALUE, to_json({**request, "betas": betas})
    model = request.get("model") or None
    yield SpanAttributes.LLM_MODEL_NAME, model
    yield SpanAttributes.LLM_REQUEST_MODEL_NAME, model
    yield from input_messages(request)
    yield from tool_attributes(offered_tools(request))
    yield SpanAttributes.LLM_INVOCATION_PARAMETERS, to_safe_json(parameters)


def _betas(call: Call) -> list[str]:
    named = header(call.exchange.request_headers, "anthropic-beta")
    return [name.strip() for name in named.split(",") if name.strip()]


def _response_attributes(request: dict[str, Any], response: dict[str, Any]) -> Pairs:
    model = response.get("model") or None
    yield SpanAttributes.LLM_MODEL_NAME, model
    yield SpanAttributes.LLM_RESPONSE_MODEL_NAME, model
    yield from output_message(response)
    yield SpanAttributes.LLM_FINISH_REASON, response.get("stop_reason") or None
    yield from token_counts(mapping(response.get("usage")))
    if more := metadata(request, response):
        yield SpanAttributes.METADATA, to_json(more)


# --- the answer ---------------------------------------------------------------------------


def _response(
    call: Call, result: Interpretation, stream: MessageStream | CompletionStream
) -> dict[str, Any]:
    """Give the answer, and record it as the output; empty when there is none, or an error."""
    if not call.succeeded:
        if call.exchange.status:
            result.fail(_failure(call), call.exchange.end_unix_ns)
        return {}
    if call.response_type == "text/event-stream":
        return _streamed(call, result, stream)
    return _response_object(call, result)


def _output(result: Interpretation, text: str) -> None:
    result.add([(SpanAttributes.OUTPUT_VALUE, text), (SpanAttributes.OUTPUT_MIME_TYPE, _JSON)])


def _response_object(call: Call, result: Interpretation) -> dict[str, Any]:
    """Give the answer of a call without a stream, and record it as the output."""
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
            failure = Failure("json.decoder.JSONDecodeError", str(error), str(error))
            result.fail(failure, call.exchange.end_unix_ns)
    return {}


def _streamed(
    call: Call, result: Interpretation, stream: MessageStream | CompletionStream
) -> dict[str, Any]:
    """Give the answer of a stream as far as it came, and record it as the output."""
    for event in _events(call, result):
        stream.add(event)
    if stream.other_events:
        kinds = sorted({str(event.get("type"))[:_KIND_CHARACTERS] for event in stream.other_events})
        result.problems.append(f"stream holds unknown events: {', '.join(kinds[:_KINDS])}")
    if not stream.ended and result.status != "ERROR" and call.is_whole:
        result.problems.append("stream ends before its last event")
    response = stream.whole()
    if response:
        _output(result, to_json(response))
    return response


def _events(call: Call, result: Interpretation) -> Iterator[dict[str, Any]]:
    """Give the JSON events of a stream until its end or its error, which is recorded."""
    for event in parse_sse(call.response.data):
        data = parse_json(event.data)
        if event.event == "error" or mapping(data).get("type") == "error":
            message = remove_keys(event.data if data is None else str(data))
            failure = Failure(_error_type(call), message)
            result.fail(failure, call.exchange.end_unix_ns)
            return
        if isinstance(data, dict):
            yield {"type": event.event, **data}
        else:
            result.problems.append("stream holds an event that is not a JSON object")


def _failure(call: Call) -> Failure:
    """Give the error that the anthropic library raises for this answer."""
    status = call.exchange.status
    message = f"Error code: {status}"
    if call.response_json is not None:
        message = f"{message} - {call.response_json}"
    elif text := call.response.data.decode("utf-8", errors="replace").strip():
        message = text
    message = remove_keys(message)
    return Failure(_error_type(call), message, message)


def _error_type(call: Call) -> str:
    status = call.exchange.status
    names = _VERTEX_ERRORS if _vertex_model(call) else _ERRORS
    other = "InternalServerError" if status >= 500 else "APIStatusError"
    return f"anthropic.{names.get(status, other)}"


# --- completions of a prompt --------------------------------------------------------------


def _complete(call: Call) -> Interpretation:
    """Give the span of older clients; no library of today has the method."""
    result = Interpretation("Completions")
    result.add(_start(call))
    if request := _request(call, result):
        parameters = {key: value for key, value in request.items() if key != "prompt"}
        result.add(
            [
                (SpanAttributes.LLM_MODEL_NAME, request.get("model") or None),
                (SpanAttributes.LLM_INVOCATION_PARAMETERS, to_json(parameters)),
                (_PROMPT, text_or_none(request.get("prompt"))),
            ]
        )
    if response := _response(call, result, CompletionStream()):
        result.add(
            [
                (SpanAttributes.LLM_MODEL_NAME, response.get("model") or None),
                (_COMPLETION, text_or_none(response.get("completion"))),
                (SpanAttributes.LLM_FINISH_REASON, response.get("stop_reason") or None),
            ]
        )
    return result
