"""Parsing gives a request or a PermanentError, whatever the bytes; never anything else."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracequill_collector.errors import PermanentError
from tracequill_collector.otlp import (
    JSON,
    PROTOBUF,
    all_spans,
    decompress,
    parse_traces,
    rejected_spans,
    span_problem,
)

EXAMPLES = settings(max_examples=200, deadline=None)

IDS = st.one_of(st.sampled_from(["ab" * 16, "cd" * 8, "", "0" * 16, "xyz"]), st.text(max_size=20))
ANY = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([]), IDS
)
NAMES = st.sampled_from(
    "traceId spanId parentSpanId name kind startTimeUnixNano attributes key value stringValue "
    "intValue doubleValue boolValue bytesValue arrayValue kvlistValue values links events status "
    "code flags droppedAttributesCount resource scope trace_id unknown".split()
)
JSON_VALUES = st.recursive(
    ANY, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5)
)
SPANS = st.one_of(
    ANY,
    st.fixed_dictionaries(
        {"traceId": IDS | ANY, "spanId": IDS}, optional={"parentSpanId": IDS, "attributes": ANY}
    ),
    st.dictionaries(NAMES, JSON_VALUES, max_size=6),
)


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    spans = draw(st.one_of(ANY, st.lists(SPANS, max_size=4)))
    outer = draw(st.sampled_from(["scopeSpans", "instrumentationLibrarySpans", "scope_spans"]))
    scopes = draw(st.one_of(ANY, st.just([{"spans": spans}]), st.just({"spans": spans})))
    whole = draw(st.one_of(JSON_VALUES, st.just({"resourceSpans": [{outer: scopes}]})))
    return json.dumps(whole).encode()


@EXAMPLES
@given(_requests())
def test_any_json_is_a_request_or_refused_for_good(payload: bytes) -> None:
    with suppress(PermanentError):
        _check(parse_traces(payload, JSON))


@EXAMPLES
@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused_for_good(payload: bytes) -> None:
    for content_type in (PROTOBUF, JSON):
        with suppress(PermanentError):
            _check(parse_traces(payload, content_type))


@EXAMPLES
@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "identity", "br"]))
def test_any_bytes_are_decompressed_or_refused_for_good(payload: bytes, encoding: str) -> None:
    with suppress(PermanentError):
        assert len(decompress(payload, encoding, 1000)) <= 1000


def _check(request: ExportTraceServiceRequest) -> None:
    # What the queue keeps is what the processor parses: it must be able to.
    assert ExportTraceServiceRequest.FromString(request.SerializeToString()) == request
    bad = {item.place for item in rejected_spans(request)}
    for place, (_, _, span) in enumerate(all_spans(request)):
        assert (place in bad) == bool(span_problem(span))
