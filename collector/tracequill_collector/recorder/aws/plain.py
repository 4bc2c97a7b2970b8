"""Calls of AWS that no instrumentor reads: a Call enters, a plain span with what AWS writes in its
own way leaves.

The events of a stream (flows, optimised prompts, whatever comes next), and the model where it has
another name. No input or output.
"""

from __future__ import annotations

from typing import Any

from openinference.semconv.trace import OpenInferenceMimeTypeValues, SpanAttributes

from tracequill_collector.recorder.aws import stream as aws_stream
from tracequill_collector.recorder.body import parse_json, to_json
from tracequill_collector.recorder.call import Call, Interpretation
from tracequill_collector.recorder.message import mapping
from tracequill_collector.recorder.plain import plain
from tracequill_collector.recorder.secret import remove_keys

MEDIA_TYPE = "application/vnd.amazon.eventstream"


def interpret(call: Call) -> Interpretation | None:
    """Give a plain span, or None when it has nothing that every plain span does not have."""
    model = _model(call)
    is_stream = call.response_type == MEDIA_TYPE and call.succeeded
    if not model and not is_stream:
        return None
    result = plain(call)
    if model:
        result.add([(SpanAttributes.LLM_MODEL_NAME, model)])
    if is_stream:
        _add_events(call, result)
    return result


def _model(call: Call) -> str:
    request = mapping(call.request_json)
    match call.segments:
        case ["async-invoke"]:
            model = request.get("modelId")
        case ["rerank"]:
            configuration = mapping(request.get("rerankingConfiguration"))
            reranking = mapping(configuration.get("bedrockRerankingConfiguration"))
            model = mapping(reranking.get("modelConfiguration")).get("modelArn")
        case _:
            return ""
    return model if isinstance(model, str) else ""


def _add_events(call: Call, result: Interpretation) -> None:
    """Make the events, as JSON, the output; an error among them is recorded."""
    operation = f"{call.exchange.method} {call.path}"
    events: list[dict[str, Any]] = []
    for message in aws_stream.messages(call, operation, result, describes=False):
        said = parse_json(message.payload)
        if said is None:
            said = message.payload.decode("utf-8", errors="replace")
        events.append({message.text_header(":event-type") or "event": said})
    result.add(
        [
            (SpanAttributes.OUTPUT_VALUE, remove_keys(to_json(events))),
            (SpanAttributes.OUTPUT_MIME_TYPE, OpenInferenceMimeTypeValues.JSON.value),
        ]
    )
