"""Exchanges with Bedrock's agents and knowledge bases: a Call enters, the Interpretation that the
SDK's span equals leaves, with the agent's steps below it.

Knows the operations that make such spans; flows, sessions and all others are not for this module.
No input or output.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal

from openinference.semconv.trace import (
    OpenInferenceLLMProviderValues,
    OpenInferenceMimeTypeValues,
    OpenInferenceSpanKindValues,
    SpanAttributes,
)

from tracequill_collector.recorder.aws import error as aws_error
from tracequill_collector.recorder.aws import stream as aws_stream
from tracequill_collector.recorder.bedrock_agent import knowledge
from tracequill_collector.recorder.bedrock_agent.steps import interpret_items
from tracequill_collector.recorder.bedrock_agent.trace import AgentTrace
from tracequill_collector.recorder.body import to_json
from tracequill_collector.recorder.call import Call, Interpretation
from tracequill_collector.recorder.message import Pairs, mapping, objects, text_or_none

Operation = Literal[
    "InvokeAgent",
    "InvokeInlineAgent",
    "Retrieve",
    "RetrieveAndGenerate",
    "RetrieveAndGenerateStream",
]

_SPAN_NAMES: dict[Operation, str] = {
    "InvokeAgent": "bedrock_agent.invoke_agent",
    "InvokeInlineAgent": "bedrock_agent.invoke_inline_agent",
    "Retrieve": "bedrock.retrieve",
    "RetrieveAndGenerate": "bedrock.retrieve_and_generate",
    "RetrieveAndGenerateStream": "bedrock_agent.retrieve_and_generate_stream",
}
# Of these the instrumentor sets the status message itself.
_DESCRIBED = ("InvokeAgent", "InvokeInlineAgent", "RetrieveAndGenerateStream")


def operation_of(method: str, segments: list[str]) -> Operation | None:
    """Name the operation that makes a span of its own, from the path."""
    if method != "POST":
        return None
    match segments:
        case ["agents", _, "agentAliases", _, "sessions", _, "text"]:
            return "InvokeAgent"
        case ["agents", _]:
            return "InvokeInlineAgent"
        case ["knowledgebases", _, "retrieve"]:
            return "Retrieve"
        case ["retrieveAndGenerate"]:
            return "RetrieveAndGenerate"
        case ["retrieveAndGenerateStream"]:
            return "RetrieveAndGenerateStream"
    return None


def interpret(call: Call) -> Interpretation | None:
    """Interpret the exchange, or give None when its operation makes no such span."""
    operation = operation_of(call.exchange.method, call.segments)
    if operation is None:
        return None
    result = Interpretation(_SPAN_NAMES[operation])
    request = mapping(call.request_json)
    if not isinstance(call.request_json, dict):
        result.add([(SpanAttributes.INPUT_VALUE, call.request_text)])
        result.problems.append("request body is not a JSON object")
    match operation:
        case "Retrieve":
            base_id = call.segments[1]
            result.add(knowledge.retrieve_request_attributes(base_id, request))
        case "RetrieveAndGenerate" | "RetrieveAndGenerateStream":
            result.add(knowledge.generate_request_attributes(request))
        case _:
            result.add(_agent_request_attributes(request))
    if call.succeeded:
        _add_response(call, operation, result)
    elif call.exchange.status:
        describes = operation in _DESCRIBED
        failure = aws_error.failure(call, operation, describes=describes)
        result.fail(failure, call.exchange.end_unix_ns)
    return result


def _agent_request_attributes(request: dict[str, Any]) -> Pairs:
    yield SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.AGENT.value
    yield SpanAttributes.LLM_PROVIDER, OpenInferenceLLMProviderValues.AWS.value
    yield SpanAttributes.INPUT_VALUE, text_or_none(request.get("inputText")) or None


def _add_response(call: Call, operation: Operation, result: Interpretation) -> None:
    if operation == "RetrieveAndGenerateStream":
        _add_generate_stream(call, operation, result)
    elif operation in ("InvokeAgent", "InvokeInlineAgent"):
        _add_agent_stream(call, operation, result)
    elif isinstance(response := call.response_json, dict):
        if operation == "Retrieve":
            result.add(knowledge.retrieve_response_attributes(response))
        else:
            citations = objects(response.get("citations"))
            text = text_or_none(mapping(response.get("output")).get("text")) or ""
            result.add(knowledge.generate_response_attributes(citations, text))
    else:
        result.add([(SpanAttributes.OUTPUT_VALUE, call.response_text or None)])
        result.problems.append("response body is not a JSON object")


# --- streams ------------------------------------------------------------------------------


def _add_agent_stream(call: Call, operation: Operation, result: Interpretation) -> None:
    """Add what the agent said, or else what it wants to have done or gives, and its steps."""
    texts: list[str] = []
    given: list[dict[str, Any]] = []
    trace = AgentTrace()
    for kind, payload in aws_stream.events(call, operation, result, describes=True):
        match kind:
            case "chunk":
                texts.append(_chunk_text(payload, result))
            case "trace":
                trace.add(payload)
            case "returnControl":
                given.append(payload)
            case "files":
                given.append({"files": [_named(file) for file in objects(payload.get("files"))]})
    if texts:
        result.add(_output("".join(texts), OpenInferenceMimeTypeValues.TEXT))
    elif given:
        said: Any = given[0] if len(given) == 1 else given
        result.add(_output(to_json(said), OpenInferenceMimeTypeValues.JSON))
    result.children = interpret_items(trace.root)
    if trace.left_out:
        result.problems.append(f"trace is too long: its last {trace.left_out} events are left out")


def _named(file: dict[str, Any]) -> dict[str, Any]:
    return {name: file[name] for name in ("name", "type") if name in file}


def _output(text: str, kind: OpenInferenceMimeTypeValues) -> Pairs:
    yield SpanAttributes.OUTPUT_VALUE, text
    yield SpanAttributes.OUTPUT_MIME_TYPE, kind.value


def _chunk_text(payload: dict[str, Any], result: Interpretation) -> str:
    encoded = payload.get("bytes")
    try:
        return base64.b64decode(encoded).decode("utf-8") if isinstance(encoded, str) else ""
    except (binascii.Error, ValueError):
        result.problems.append("stream holds a chunk that is not text")
        return ""


def _add_generate_stream(call: Call, operation: Operation, result: Interpretation) -> None:
    texts: list[str] = []
    citations: list[dict[str, Any]] = []
    for kind, payload in aws_stream.events(call, operation, result, describes=True):
        if kind == "output" and isinstance(text := payload.get("text"), str):
            texts.append(text)
        elif kind == "citation":
            citations.append(payload)
    result.add(knowledge.generate_response_attributes(citations, "".join(texts)))
