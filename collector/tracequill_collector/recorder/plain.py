"""Spans that are no LLM spans: an exchange enters, what can be said without knowing its format
leaves.

Two of them: a plain span for an endpoint that the recorder does not interpret, and the facts
alone, for a call whose LLM span the application's own instrumentor writes. No input or output.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any

from openinference.semconv.trace import (
    OpenInferenceMimeTypeValues,
    OpenInferenceSpanKindValues,
    SpanAttributes,
)

from tracequill_collector.recorder import attributes
from tracequill_collector.recorder.body import (
    NDJSON_TYPES,
    header,
    lines,
    media_type,
    parse_json,
    to_json,
)
from tracequill_collector.recorder.call import Call, Interpretation
from tracequill_collector.recorder.message import Pairs, mapping
from tracequill_collector.recorder.secret import remove_keys
from tracequill_collector.recorder.sse import parse_sse
from tracequill_collector.recorder.usage import (
    counts_tokens,
    token_attributes,
    usage_of,
    usage_of_events,
)

# What Google's paths append to a model: ``models/gemini-small:countTokens``.
_GOOGLE_METHOD = re.compile(r":[a-z][A-Za-z]+$")

PROXY_SPAN_NAME = "tracequill.proxy"

# What upstreams call the id they log a request under, the most telling first.
_REQUEST_ID_HEADERS = (
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "x-goog-request-id",
    "apim-request-id",
)
_RATE_LIMIT_HEADER = re.compile(r"(?:x-|anthropic-)?ratelimit-.+|retry-after(?:-ms)?")


def plain(call: Call) -> Interpretation:
    """Give a span of kind CHAIN with request, response and model, and the tokens of this call."""
    result = Interpretation(f"{call.exchange.method} {call.path}")
    result.add(
        [
            (SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.CHAIN.value),
            (SpanAttributes.LLM_MODEL_NAME, _model(call)),
        ]
    )
    result.add(_input(call))
    if call.form.problem:
        result.problems.append(call.form.problem)
    result.add(
        _value(
            call.response_text,
            call.response_json,
            _size(call.response_type, call.exchange.response_body_bytes),
            (SpanAttributes.OUTPUT_VALUE, SpanAttributes.OUTPUT_MIME_TYPE),
        )
    )
    result.add(token_attributes(_usage(call)))
    _add_status(call, result)
    return result


def proxy_facts(call: Call) -> Interpretation:
    """Give the span of a call that is traced in the application: no content, no tokens."""
    result = Interpretation(PROXY_SPAN_NAME)
    result.add([(SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.CHAIN.value)])
    _add_status(call, result)
    return result


def _model(call: Call) -> str | None:
    """Find the model in the request, the path or the answer, in this order."""
    request = mapping(call.request_json)
    found = (
        request.get("model"),
        mapping(request.get("session")).get("model"),
        call.form.text("model"),
        mapping(parse_json(call.form.text("session") or "")).get("model"),
        _model_in_path(call),
        mapping(call.response_json).get("model"),
    )
    return next((model for model in found if isinstance(model, str) and model), None)


def _model_in_path(call: Call) -> str | None:
    """Find the model in a path like ``/v1/models/{model}`` or ``/model/{model}/invoke``."""
    for name, value in itertools.pairwise(call.segments):
        if name in ("models", "model", "deployments") and value:
            return _GOOGLE_METHOD.sub("", value) if call.exchange.method == "POST" else value
    return None


def _input(call: Call) -> Pairs:
    names = (SpanAttributes.INPUT_VALUE, SpanAttributes.INPUT_MIME_TYPE)
    request = call.exchange
    if call.form.parts:
        described = call.form.described()
        yield from _value(to_json(described), described, "", names)
    else:
        size = _size(media_type(request.request_headers), request.request_body_bytes)
        yield from _value(call.request_text, call.request_json, size, names)


def _value(text: str | None, parsed: Any, size: str, names: tuple[str, str]) -> Pairs:
    """Give a body as text; of one that is no text, only *size*."""
    if not text:
        text, parsed = size, None
    if not text:
        return
    # Endpoints for keys and sessions answer with secrets.
    yield names[0], remove_keys(text)
    mime = OpenInferenceMimeTypeValues.TEXT if parsed is None else OpenInferenceMimeTypeValues.JSON
    yield names[1], mime.value


def _size(content_type: str, body_bytes: int) -> str:
    return f"{content_type or 'binary'}, {body_bytes} bytes" if body_bytes else ""


def _usage(call: Call) -> dict[str, Any]:
    """Find what the answer says of this call's tokens; empty when it says nothing."""
    if not call.succeeded or call.exchange.method != "POST":
        return {}
    response = call.response_json
    if isinstance(response, dict):
        counts = counts_tokens(call.exchange.method, call.segments, response)
        return usage_of(response) if counts else {}
    if call.response_type == "text/event-stream":
        texts: Iterable[str | bytes] = (event.data for event in parse_sse(call.response.data))
    elif call.response_type in NDJSON_TYPES:
        texts = lines(call.response.data)
    else:
        return {}
    if not counts_tokens(call.exchange.method, call.segments, None):
        return {}
    # Few events count tokens, and only these need to be read.
    return usage_of_events(parse_json(text) for text in texts if _may_count(text))


def _may_count(text: str | bytes) -> bool:
    if isinstance(text, bytes):
        return b"usage" in text or b"tokens" in text or b"eval_count" in text
    return "usage" in text or "tokens" in text or "eval_count" in text


def _add_status(call: Call, result: Interpretation) -> None:
    if call.exchange.status >= 400:
        result.status = "ERROR"
        result.status_message = f"HTTP {call.exchange.status}"


def facts(call: Call, problems: Iterable[str]) -> Pairs:
    """Give what holds for every exchange, whatever it says."""
    exchange = call.exchange
    yield attributes.ROUTE, exchange.route
    yield attributes.VENDOR, exchange.vendor
    yield attributes.REGION, exchange.region or None
    yield attributes.METHOD, exchange.method
    yield attributes.PATH, exchange.path
    yield attributes.STATUS_CODE, exchange.status or None
    if exchange.first_byte_unix_ns:
        waited_ns = exchange.first_byte_unix_ns - exchange.start_unix_ns
        yield attributes.TIME_TO_FIRST_TOKEN_MS, waited_ns / 1_000_000
    yield attributes.CHUNK_COUNT, exchange.chunk_count
    headers = exchange.response_headers
    ids = (header(headers, name) for name in _REQUEST_ID_HEADERS)
    yield attributes.UPSTREAM_REQUEST_ID, next(filter(None, ids), None)
    limits = {
        name.lower(): value for name, value in headers if _RATE_LIMIT_HEADER.fullmatch(name.lower())
    }
    yield attributes.RATE_LIMITS, to_json(limits) if limits else None
    yield attributes.REQUEST_CONTENT_TYPE, media_type(exchange.request_headers) or None
    yield attributes.RESPONSE_CONTENT_TYPE, media_type(headers) or None
    yield attributes.REQUEST_BYTES, exchange.request_body_bytes
    yield attributes.RESPONSE_BYTES, exchange.response_body_bytes
    yield attributes.REQUEST_CUT, True if exchange.request_cut else None
    yield attributes.RESPONSE_CUT, True if exchange.response_cut else None
    yield attributes.END, None if exchange.end == "complete" else exchange.end
    # One bad stream repeats its problem with every event.
    yield attributes.PROBLEM, "; ".join(dict.fromkeys(filter(None, problems))) or None
