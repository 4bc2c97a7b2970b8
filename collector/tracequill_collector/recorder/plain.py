"""Spans that are no LLM spans: an exchange enters, what can be said without knowing its format
leaves.

Two of them: a plain span for an endpoint that the recorder does not interpret, and the facts
alone, for a call whose LLM span the application's own instrumentor writes. No input or output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from openinference.semconv.trace import (
    OpenInferenceMimeTypeValues,
    OpenInferenceSpanKindValues,
    SpanAttributes,
)

from tracequill_collector.recorder import attributes
from tracequill_collector.recorder.body import Body, header, media_type, to_json
from tracequill_collector.recorder.call import Call, Interpretation
from tracequill_collector.recorder.message import Pairs, mapping
from tracequill_collector.recorder.secret import remove_keys

PROXY_SPAN_NAME = "tracequill.proxy"

# What upstreams call the id they log a request under, the most telling first.
_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id")
_RATE_LIMIT_HEADER = re.compile(r"(?:x-|anthropic-)?ratelimit-.+|retry-after(?:-ms)?")


def plain(call: Call) -> Interpretation:
    """Give a span of kind CHAIN with request, response and model, and no tokens."""
    result = Interpretation(f"{call.exchange.method} {call.path}")
    result.add(
        [
            (SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.CHAIN.value),
            (SpanAttributes.LLM_MODEL_NAME, _model(call)),
        ]
    )
    result.add(
        _value(
            call.request,
            call.request_text,
            call.request_json,
            (SpanAttributes.INPUT_VALUE, SpanAttributes.INPUT_MIME_TYPE),
        )
    )
    result.add(
        _value(
            call.response,
            call.response_text,
            call.response_json,
            (SpanAttributes.OUTPUT_VALUE, SpanAttributes.OUTPUT_MIME_TYPE),
        )
    )
    _add_status(call, result)
    return result


def proxy_facts(call: Call) -> Interpretation:
    """Give the span of a call that is traced in the application: no content, no tokens."""
    result = Interpretation(PROXY_SPAN_NAME)
    result.add([(SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.CHAIN.value)])
    _add_status(call, result)
    return result


def _model(call: Call) -> str | None:
    model = mapping(call.request_json).get("model")
    return model if isinstance(model, str) else None


def _value(body: Body, text: str | None, parsed: Any, names: tuple[str, str]) -> Pairs:
    if not body.data or text is None:
        return
    # Endpoints for keys and sessions answer with secrets.
    yield names[0], remove_keys(text)
    mime = OpenInferenceMimeTypeValues.TEXT if parsed is None else OpenInferenceMimeTypeValues.JSON
    yield names[1], mime.value


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
