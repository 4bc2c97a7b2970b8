"""Calls of Bedrock's guardrails: a Call enters, the Interpretation that the SDK's span equals
leaves.

Also knows what blocks, in such an answer and in an agent's trace. No input or output.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from openinference.semconv.trace import (
    OpenInferenceMimeTypeValues,
    OpenInferenceSpanKindValues,
    SpanAttributes,
)

from tracequill_collector.recorder.aws import error as aws_error
from tracequill_collector.recorder.body import to_json
from tracequill_collector.recorder.call import Call, Interpretation
from tracequill_collector.recorder.message import Pairs, mapping, objects

_JSON = OpenInferenceMimeTypeValues.JSON.value
# Where each policy of an assessment lists what it found.
_FINDINGS = {
    "contentPolicy": ("filters",),
    "sensitiveInformationPolicy": ("piiEntities", "regexes"),
    "topicPolicy": ("topics",),
    "wordPolicy": ("customWords", "managedWordLists"),
}


def is_blocked(assessments: list[dict[str, Any]]) -> bool:
    """Whether a guardrail blocked what it assessed; it may also only mask or detect."""
    return any(
        finding.get("action") == "BLOCKED"
        for assessment in assessments
        for policy, lists in _FINDINGS.items()
        for name in lists
        for finding in objects(mapping(assessment.get(policy)).get(name))
    )


def interpret(call: Call) -> Interpretation | None:
    """Interpret a call of ApplyGuardrail, or give None when the exchange is none."""
    match call.segments:
        case ["guardrail", guardrail_id, "version", version, "apply"]:
            pass
        case _:
            return None
    if call.exchange.method != "POST":
        return None
    result = Interpretation("bedrock.apply_guardrail")
    result.add(_request_attributes(mapping(call.request_json)))
    if not isinstance(call.request_json, dict):
        result.problems.append("request body is not a JSON object")
    if not call.succeeded:
        if call.exchange.status:
            failure = aws_error.failure(call, "ApplyGuardrail", describes=False)
            result.fail(failure, call.exchange.end_unix_ns)
    elif isinstance(response := call.response_json if call.response.data else {}, dict):
        result.add(_response_attributes(guardrail_id, version, response))
        if is_blocked(objects(response.get("assessments"))):
            result.status = "ERROR"
            result.status_message = str(response.get("actionReason") or "")
    else:
        result.add([(SpanAttributes.OUTPUT_VALUE, call.response_text or None)])
        result.problems.append("response body is not a JSON object")
    return result


def _request_attributes(request: dict[str, Any]) -> Pairs:
    yield SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.GUARDRAIL.value
    content = [block for item in objects(request.get("content")) if (block := _block(item))]
    given = {
        "source": request.get("source"),
        "content": content,
        "outputScope": request.get("outputScope"),
    }
    yield SpanAttributes.INPUT_VALUE, to_json({key: item for key, item in given.items() if item})
    yield SpanAttributes.INPUT_MIME_TYPE, _JSON


def _block(item: dict[str, Any]) -> dict[str, Any]:
    """Give one block of content, with the size of an image for the image."""
    block: dict[str, Any] = {}
    if item.get("text") is not None:
        block["text"] = item["text"]
    given = mapping(item.get("image"))
    image = {"format": given["format"]} if given.get("format") is not None else {}
    source = {key: value for key, value in mapping(given.get("source")).items() if value}
    if isinstance(encoded := source.get("bytes"), str):
        source["bytes"] = f"<{_decoded_bytes(encoded)} bytes>"
    if source:
        image["source"] = source
    if image:
        block["image"] = image
    return block


def _decoded_bytes(encoded: str) -> int:
    try:
        return len(base64.b64decode(encoded))
    except (binascii.Error, ValueError):
        return len(encoded)


def _response_attributes(guardrail_id: str, version: str, response: dict[str, Any]) -> Pairs:
    about: dict[str, Any] = {"guardrailIdentifier": guardrail_id, "guardrailVersion": version}
    about |= _given(response, "guardrailCoverage", "usage")
    yield SpanAttributes.METADATA, to_json(about)
    output = _given(response, "action", "actionReason", "outputs")
    yield SpanAttributes.OUTPUT_VALUE, to_json(output)
    yield SpanAttributes.OUTPUT_MIME_TYPE, _JSON


def _given(response: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: response[name] for name in names if response.get(name)}
