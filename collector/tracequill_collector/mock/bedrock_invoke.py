"""POST invoke and invoke-with-response-stream: each model family has its own body.

Known are Anthropic's messages, Amazon Nova, Titan text and Titan embeddings.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tracequill_collector.mock.anthropic_messages import message, message_events
from tracequill_collector.mock.bedrock_anthropic import write_anthropic
from tracequill_collector.mock.bedrock_converse import (
    content,
    limits,
    padding,
    read_converse,
    stream_failure,
    usage,
)
from tracequill_collector.mock.bedrock_errors import BedrockError, invalid, parse_body
from tracequill_collector.mock.conversation import (
    Conversation,
    Json,
    Message,
    count_tokens,
    tokens,
    uuid_identifier,
)
from tracequill_collector.mock.eventstream import event_frame
from tracequill_collector.mock.reply import HeaderList, MockRequest, Reply, compact_json
from tracequill_collector.mock.said import Said, as_object, say
from tracequill_collector.mock.vectors import unit_vector

_TITAN_V1_DIMENSIONS = 1536
_TITAN_V2_DIMENSIONS = (1024, 512, 256)
_VERSION = re.compile(r"-v\d+(:\d+)*\Z")


@dataclass(frozen=True, slots=True)
class _Whole:
    """One answer in both forms."""

    body: Json
    events: list[Json]
    input_tokens: int
    output_tokens: int


def invoke(request: MockRequest, model: str) -> Reply:
    """Answer POST /model/{id}/invoke; a BedrockError when the vendor would refuse it."""
    whole = _answer(request, model)
    headers = [
        ("content-type", "application/json"),
        ("x-amzn-bedrock-invocation-latency", str(request.latency_milliseconds)),
        ("x-amzn-bedrock-output-token-count", str(whole.output_tokens)),
        ("x-amzn-bedrock-input-token-count", str(whole.input_tokens)),
    ]
    return Reply(200, headers, [compact_json(whole.body)])


def invoke_stream(request: MockRequest, model: str) -> Reply:
    """Answer POST /model/{id}/invoke-with-response-stream."""
    if "titan-embed" in model:
        raise invalid("The model is unsupported for streaming.")
    whole = _answer(request, model)
    metrics = {
        "inputTokenCount": whole.input_tokens,
        "outputTokenCount": whole.output_tokens,
        "invocationLatency": request.latency_milliseconds,
        "firstByteLatency": request.latency_milliseconds,
    }
    whole.events[-1]["amazon-bedrock-invocationMetrics"] = metrics
    frames = [_chunk(event, number) for number, event in enumerate(whole.events)]
    headers: HeaderList = [
        ("content-type", "application/vnd.amazon.eventstream"),
        ("x-amzn-bedrock-content-type", "application/json"),
    ]
    return Reply(200, headers, frames, broken_off=stream_failure())


def _chunk(event: Json, number: int) -> bytes:
    payload = {"bytes": base64.b64encode(compact_json(event)).decode(), "p": padding(number)}
    return event_frame("chunk", compact_json(payload))


def _answer(request: MockRequest, model: str) -> _Whole:
    fields = parse_body(request.body)
    if "titan-embed" in model:
        return _embedding(fields, model)
    if "titan-text" in model:
        return _titan(request, fields)
    if "amazon.nova" in model:
        return _nova(request, fields)
    if "anthropic." in model or model.startswith("arn:"):
        written = write_anthropic(
            request, fields, _VERSION.sub("", model.rsplit("anthropic.", 1)[-1])
        )
        spent = {"input_tokens": written.said.input_tokens}
        return _Whole(
            message(written, spent),
            list(message_events(written, spent, {})),
            written.said.input_tokens,
            written.said.output_tokens,
        )
    raise BedrockError(
        400,
        "ValidationException",
        "The provided model identifier is invalid. The mock knows the bodies of Anthropic, Amazon "
        "Nova and Titan; for other models use converse.",
    )


# --- Amazon Nova --------------------------------------------------------------------------


def _nova(request: MockRequest, fields: Json) -> _Whole:
    said = say(request, read_converse(fields), *limits(fields.get("inferenceConfig")))
    message = {"content": _nova_content(said, request), "role": "assistant"}
    body: Json = {
        "output": {"message": message},
        "stopReason": said.stop_reason,
        "usage": {**usage(said), "cacheReadInputTokenCount": 0, "cacheWriteInputTokenCount": 0},
    }
    return _Whole(
        body, list(_nova_events(said, message["content"])), said.input_tokens, said.output_tokens
    )


def _nova_content(said: Said, request: MockRequest) -> list[Json]:
    """Blocks as converse has them; only the ids of calls look otherwise."""
    found = content(said)
    for number, block in enumerate(found):
        if use := as_object(block.get("toolUse")):
            use["toolUseId"] = uuid_identifier(request.path, request.body, str(number))
    return found


def _nova_events(said: Said, written: object) -> Iterator[Json]:
    """Every piece of text is a block of its own, as Nova streams it."""
    yield {"messageStart": {"role": "assistant"}}
    index = 0
    for piece in tokens(said.answer.text):
        yield {"contentBlockDelta": {"delta": {"text": piece}, "contentBlockIndex": index}}
        yield {"contentBlockStop": {"contentBlockIndex": index}}
        index += 1
    for block in written if isinstance(written, list) else []:
        if use := as_object(block.get("toolUse")):
            start = {"toolUse": {"toolUseId": use["toolUseId"], "name": use["name"]}}
            delta = {"toolUse": {"input": compact_json(use["input"]).decode()}}
            yield {"contentBlockStart": {"start": start, "contentBlockIndex": index}}
            yield {"contentBlockDelta": {"delta": delta, "contentBlockIndex": index}}
            yield {"contentBlockStop": {"contentBlockIndex": index}}
            index += 1
    yield {"messageStop": {"stopReason": said.stop_reason}}
    counted = {
        "inputTokens": said.input_tokens,
        "outputTokens": said.output_tokens,
        "cacheReadInputTokenCount": 0,
        "cacheWriteInputTokenCount": 0,
    }
    yield {"metadata": {"usage": counted, "metrics": {}, "trace": {}}}


# --- Amazon Titan -------------------------------------------------------------------------


def _input_text(fields: Json) -> str:
    text = fields.get("inputText")
    if not isinstance(text, str) or not text:
        raise invalid("Malformed input request: required key [inputText] not found")
    return text


def _titan(request: MockRequest, fields: Json) -> _Whole:
    text = _input_text(fields)
    config = as_object(fields.get("textGenerationConfig"))
    most, stops = limits(
        {"maxTokens": config.get("maxTokenCount"), "stopSequences": config.get("stopSequences")}
    )
    said = say(request, Conversation((Message("user", text),)), most, stops)
    counted = count_tokens(text)
    reason = {"max_tokens": "LENGTH", "stop_sequence": "STOP_CRITERIA_MET"}.get(
        said.stop_reason, "FINISH"
    )
    result = {
        "tokenCount": said.output_tokens,
        "outputText": said.answer.text,
        "completionReason": reason,
    }
    pieces = tokens(said.answer.text) or [""]
    events: list[Json] = [
        {
            "outputText": piece,
            "index": 0,
            "totalOutputTextTokenCount": None,
            "completionReason": None,
            "inputTextTokenCount": counted if number == 0 else None,
        }
        for number, piece in enumerate(pieces)
    ]
    events[-1]["totalOutputTextTokenCount"] = said.output_tokens
    events[-1]["completionReason"] = reason
    body: Json = {"inputTextTokenCount": counted, "results": [result]}
    return _Whole(body, events, counted, said.output_tokens)


def _embedding(fields: Json, model: str) -> _Whole:
    text = _input_text(fields)
    counted = count_tokens(text)
    if "-v2" not in model:
        vector = _numbers(text, _TITAN_V1_DIMENSIONS)
        body: Json = {"embedding": vector, "inputTextTokenCount": counted}
        return _Whole(body, [body], counted, 0)
    dimensions = fields.get("dimensions", _TITAN_V2_DIMENSIONS[0])
    if dimensions not in _TITAN_V2_DIMENSIONS:
        raise invalid(f"Malformed input request: #/dimensions: {dimensions} is not a valid value")
    vector = _numbers(text, dimensions)
    body = {
        "embedding": vector,
        "embeddingsByType": {"float": vector},
        "inputTextTokenCount": counted,
    }
    return _Whole(body, [body], counted, 0)


def _numbers(text: str, dimensions: int) -> list[float]:
    return [float(f"{value:.9g}") for value in unit_vector(text, dimensions)]
