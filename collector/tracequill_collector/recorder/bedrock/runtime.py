"""Exchanges with Bedrock's runtime: a Call enters, the Interpretation that the SDK's span equals
leaves.

Knows the operations that make LLM spans, the frames of their streams and botocore's errors.
No input or output.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any, Literal

from openinference.semconv.trace import (
    OpenInferenceLLMProviderValues,
    OpenInferenceSpanKindValues,
    SpanAttributes,
)

from tracequill_collector.recorder.aws import error as aws_error
from tracequill_collector.recorder.aws import stream as aws_stream
from tracequill_collector.recorder.bedrock import claude, converse, invoke
from tracequill_collector.recorder.body import parse_json
from tracequill_collector.recorder.call import Call, Interpretation
from tracequill_collector.recorder.message import mapping
from tracequill_collector.recorder.openai import chat as openai_chat

Operation = Literal["Converse", "ConverseStream", "InvokeModel", "InvokeModelWithResponseStream"]

_OPERATIONS: dict[str, Operation] = {
    "converse": "Converse",
    "converse-stream": "ConverseStream",
    "invoke": "InvokeModel",
    "invoke-with-response-stream": "InvokeModelWithResponseStream",
}
_SPAN_NAMES: dict[Operation, str] = {
    "Converse": "bedrock.converse",
    "ConverseStream": "bedrock.converse_stream",
    "InvokeModel": "bedrock.invoke_model",
    "InvokeModelWithResponseStream": "bedrock.invoke_model_with_response_stream",
}


def operation_of(method: str, segments: list[str]) -> Operation | None:
    """Name the operation that makes an LLM span, from ``/model/{id}/{operation}``."""
    if method != "POST" or len(segments) != 3 or segments[0] != "model":
        return None
    return _OPERATIONS.get(segments[2])


def interpret(call: Call) -> Interpretation | None:
    """Interpret the exchange, or give None when its operation makes no LLM span."""
    operation = operation_of(call.exchange.method, call.segments)
    if operation is None:
        return None
    name = call.segments[1]
    request = call.request_json
    # Converse speaks one language to all models; InvokeModel speaks each model's own.
    is_converse = operation.startswith("Converse")
    model_id = name if is_converse else invoke.telling_id(name, request)
    result = Interpretation(_SPAN_NAMES[operation])
    if isinstance(request, dict):
        result.add(_request_attributes(operation, model_id, request))
        if model_id != name:
            result.add([(SpanAttributes.LLM_MODEL_NAME, name)])
    else:
        result.add(
            [
                (SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.LLM.value),
                (SpanAttributes.LLM_PROVIDER, OpenInferenceLLMProviderValues.AWS.value),
                (SpanAttributes.LLM_MODEL_NAME, name),
                (SpanAttributes.INPUT_VALUE, call.request_text),
            ]
        )
        result.problems.append("request body is not a JSON object")
    if not call.succeeded:
        if call.exchange.status:
            result.fail(
                aws_error.failure(call, operation, describes=operation != "InvokeModel"),
                call.exchange.end_unix_ns,
            )
    elif operation.endswith("Stream"):
        _add_stream(call, operation, model_id, result)
    elif isinstance(call.response_json, dict):
        result.add(_response_attributes(call, operation, model_id, call.response_json))
    else:
        # An empty one too: it was seen with status 200.
        result.add([(SpanAttributes.OUTPUT_VALUE, call.response_text or None)])
        result.problems.append("response body is not a JSON object")
    return result


def _request_attributes(
    operation: Operation, model_id: str, request: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    if operation.startswith("Converse"):
        return converse.request_attributes(model_id, request)
    stream = operation.endswith("Stream")
    if _is_claude(operation, model_id, request):
        return claude.request_attributes(model_id, request, stream=stream)
    return invoke.request_attributes(model_id, request, stream=stream)


def _response_attributes(
    call: Call, operation: Operation, model_id: str, response: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    if operation == "Converse":
        return converse.response_attributes(response)
    if _is_claude(operation, model_id, call.request_json):
        return claude.response_attributes(response)
    headers = call.exchange.response_headers
    return invoke.response_attributes(model_id, response, headers)


def _is_claude(operation: Operation, model_id: str, request: Any) -> bool:
    """Whether the bodies are Anthropic's Messages."""
    if operation.endswith("Stream"):
        # An inference profile's ARN need not name the vendor, but Messages needs this field.
        return "anthropic_version" in mapping(request)
    return claude.is_messages_model(model_id)


# --- streams ------------------------------------------------------------------------------


def _events(
    call: Call, operation: Operation, result: Interpretation
) -> Iterator[tuple[str, dict[str, Any]]]:
    # As the instrumentor, which sets the message of some errors itself.
    describes = operation == "ConverseStream"
    return aws_stream.events(call, operation, result, describes=describes)


def _add_stream(call: Call, operation: Operation, model_id: str, result: Interpretation) -> None:
    if operation == "ConverseStream":
        stream = converse.ConverseStream()
        for kind, payload in _events(call, operation, result):
            stream.add(kind, payload)
        if response := stream.whole():
            result.add(converse.response_attributes(response))
        return
    chunks = _chunks(call, operation, result)
    if _is_claude(operation, model_id, call.request_json):
        message = claude.ClaudeStream()
        for chunk in chunks:
            message.add(chunk)
        result.add(message.attributes())
    elif invoke.is_nova(model_id):
        nova = converse.ConverseStream()
        for chunk in chunks:
            for kind, event in chunk.items():
                nova.add(kind, mapping(event))
        result.add(invoke.nova_stream_attributes(nova.whole()))
    elif invoke.is_openai(model_id):
        result.add(_openai_stream(list(chunks)))
    else:
        result.add(invoke.other_stream_attributes(model_id, list(chunks)))


def _openai_stream(chunks: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    name = "amazon-bedrock-invocationMetrics"
    metrics = [mapping(chunk.pop(name)) for chunk in chunks if name in chunk]
    response = openai_chat.response_of_chunks(chunks)
    return invoke.openai_stream_attributes(response, metrics[-1] if metrics else {})


def _chunks(call: Call, operation: Operation, result: Interpretation) -> Iterator[dict[str, Any]]:
    """Give what the chunks of InvokeModel's stream carry: the model's own events."""
    for kind, payload in _events(call, operation, result):
        encoded = payload.get("bytes")
        if kind != "chunk" or not isinstance(encoded, str):
            continue
        try:
            event = parse_json(base64.b64decode(encoded))
        except (binascii.Error, ValueError):
            event = None
        if isinstance(event, dict):
            yield event
        else:
            result.problems.append("stream holds a chunk that is not a JSON object")
