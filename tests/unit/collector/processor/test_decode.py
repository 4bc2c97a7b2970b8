"""A record of OTLP traces becomes spans; one bad span never costs another."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    InstrumentationScope,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from tests.otlp_values import pairs
from tracequill_collector.errors import PermanentError
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.pipeline import Span as DecodedSpan
from tracequill_collector.processor.decode import alone, decode

_MAX_BYTES = 1_000_000


def otlp_span(attributes: dict[str, Any] | None = None, **given: Any) -> Span:
    """Give a span with sound ids; *given* replaces fields."""
    fields = {"trace_id": b"t" * 16, "span_id": b"s" * 8, "attributes": pairs(attributes or {})}
    return Span(**(fields | given))


def request(*spans: Span, resource: dict[str, Any] | None = None) -> ExportTraceServiceRequest:
    """Give a request of one resource."""
    return ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(
                resource=Resource(attributes=pairs(resource or {})),
                scope_spans=[
                    ScopeSpans(scope=InstrumentationScope(name="scope"), spans=list(spans))
                ],
            )
        ]
    )


def record(sent: ExportTraceServiceRequest, **given: Any) -> Record:
    """Give *sent* as it is queued."""
    fields: dict[str, Any] = {
        "kind": RecordKind.OTLP_TRACES,
        "received_unix_ns": 0,
        "payload": sent.SerializeToString(),
    }
    return Record(**(fields | given))


def decoded(*spans: Span, resource: dict[str, Any] | None = None) -> list[DecodedSpan]:
    """Decode a request of *spans*."""
    return decode(record(request(*spans, resource=resource)), max_bytes=_MAX_BYTES).spans


def attributes_of(attributes: dict[str, Any]) -> dict[str, Any]:
    """Decode a span with *attributes* and give what became of them."""
    return decoded(otlp_span(attributes))[0].attributes


def test_a_span_is_decoded_whole() -> None:
    span = otlp_span(
        {"openinference.span.kind": "LLM", "session.id": "s"},
        parent_span_id=b"p" * 8,
        name="chat",
        start_time_unix_nano=1,
        end_time_unix_nano=2,
        status=Status(code=Status.STATUS_CODE_ERROR, message="why"),
        events=[Span.Event(name="retry", time_unix_nano=3, attributes=pairs({"n": None}))],
    )

    [found] = decoded(span, resource={"openinference.project.name": "app"})

    assert found.trace_id == b"t".hex() * 16
    assert found.span_id == b"s".hex() * 8
    assert found.parent_id == b"p".hex() * 8
    assert (found.name, found.span_kind, found.project_name) == ("chat", "LLM", "app")
    assert (found.start_time_unix_ns, found.end_time_unix_ns) == (1, 2)
    assert (found.status_code, found.status_message) == ("ERROR", "why")
    assert found.attributes == {
        "openinference": {"span": {"kind": "LLM"}},
        "session": {"id": "s"},
    }
    [event] = found.events
    assert (event.name, event.timestamp_unix_ns, event.attributes) == ("retry", 3, {"n": None})


def test_a_span_without_anything_is_of_the_default_project_and_an_unknown_kind() -> None:
    [found] = decoded(otlp_span())

    assert (found.parent_id, found.name, found.span_kind) == (None, "", "UNKNOWN")
    assert (found.status_code, found.project_name) == ("UNSET", "default")


@pytest.mark.parametrize(
    ("kind", "found"),
    [("LLM", "LLM"), ("llm", "LLM"), ("Chain", "CHAIN"), ("123", "UNKNOWN"), (["LLM"], "UNKNOWN")],
)
def test_the_kind_is_read_in_any_case(kind: Any, found: str) -> None:
    assert decoded(otlp_span({"openinference.span.kind": kind}))[0].span_kind == found


def test_the_header_names_the_project_before_the_resource() -> None:
    sent = record(
        request(otlp_span(), resource={"openinference.project.name": "resource"}),
        project_name="header",
    )

    assert decode(sent, max_bytes=_MAX_BYTES).spans[0].project_name == "header"


@pytest.mark.parametrize("name", ["", 5])
def test_a_project_name_that_is_no_text_is_none(name: Any) -> None:
    [found] = decoded(otlp_span(), resource={"openinference.project.name": name})

    assert found.project_name == "default"


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("metadata", '{"a": [1, null]}', {"a": [1, None]}),
        ("my.own_metadata", "[1]", [1]),
        ("tool.parameters", "{broken", "{broken"),
        ("llm.prompt_template.variables", '"text"', "text"),
        ("metadata", b'{"a": 1}', {"a": 1}),
        ("metadata", b"\xff", "/w=="),
        ("metadata", True, True),
        ("llm.token_count.prompt", "12", 12),
        ("llm.token_count.completion", 3.9, 3),
        ("llm.token_count.total", "many", "many"),
        ("llm.token_count.prompt_details.audio", 3.9, 3.9),
        ("llm.invocation_parameters", '{"a": 1}', '{"a": 1}'),
    ],
)
def test_some_attributes_are_read_as_json_or_as_counts(key: str, value: Any, found: Any) -> None:
    nested: Any = attributes_of({key: value})
    for segment in key.split("."):
        nested = nested[segment]

    assert nested == found


def test_json_null_says_nothing() -> None:
    assert attributes_of({"metadata": "null"}) == {}


def test_json_too_deep_is_kept() -> None:
    text = "[" * 5000 + "]" * 5000

    assert attributes_of({"metadata": text}) == {"metadata": text}


@pytest.mark.parametrize("value", [5, {"q": "ü"}, ["a"], {"bytes": b"\0"}])
def test_an_input_that_is_no_text_becomes_json(value: Any) -> None:
    found = attributes_of({"input.value": value})["input"]

    assert found["mime_type"] == "application/json"
    assert json.loads(found["value"]) == (value if value != {"bytes": b"\0"} else {"bytes": "AA=="})


@pytest.mark.parametrize("value", ["text", 0, False, []])
def test_an_input_that_is_text_or_empty_stays(value: Any) -> None:
    assert attributes_of({"input.value": value}) == {"input": {"value": value}}


def test_an_exception_keeps_its_four_attributes() -> None:
    attributes = {"exception.type": "E", "exception.escaped": False, "other": 1}
    event = Span.Event(name="exception", attributes=pairs(attributes))

    [found] = decoded(otlp_span(events=[event]))[0].events

    assert found.attributes == {
        "exception.type": "E",
        "exception.message": "",
        "exception.escaped": False,
    }


def test_nul_is_repaired_wherever_it_stands() -> None:
    [found] = decoded(
        otlp_span(
            {"k\0": "v\0", "metadata": '"\\u0000\\ud800"'},
            name="n\0",
            status=Status(message="m\0"),
            events=[Span.Event(name="e\0", attributes=pairs({"a": "\0"}))],
        ),
        resource={"openinference.project.name": "p\0"},
    )

    assert found.attributes == {"k\ufffd": "v\ufffd", "metadata": "\ufffd\ufffd"}
    assert (found.name, found.status_message, found.project_name) == (
        "n\ufffd",
        "m\ufffd",
        "p\ufffd",
    )
    assert found.events[0].name == "e\ufffd"
    assert found.events[0].attributes == {"a": "\ufffd"}


def test_a_span_with_a_bad_id_is_rejected_with_what_surrounds_it() -> None:
    bad = otlp_span({"a": 1}, span_id=bytes(8), name="bad")
    good = otlp_span(name="good")

    sent = record(request(bad, good, resource={"service.name": "shop"}))

    found = decode(sent, max_bytes=_MAX_BYTES)

    assert [span.name for span in found.spans] == ["good"]
    assert found.places == [1]
    [rejected] = found.rejected
    assert "all zeros" in rejected.reason
    [(place, payload)] = alone(sent, {rejected.place}, max_bytes=_MAX_BYTES)
    assert place == 0
    assert ExportTraceServiceRequest.FromString(payload) == request(
        bad, resource={"service.name": "shop"}
    )


def test_a_span_that_cannot_be_decoded_is_rejected_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_on(attributes: dict[str, Any]) -> tuple[dict[str, Any], str]:
        if "bad" in attributes:
            raise KeyError("a secret prompt")
        return attributes, ""

    monkeypatch.setattr("tracequill_collector.processor.decode.storable_with_json", fail_on)
    sent = request(otlp_span({"bad": 1}), otlp_span({"good": 1}))

    found = decode(record(sent), max_bytes=_MAX_BYTES)

    assert [span.attributes for span in found.spans] == [{"good": 1}]
    assert [rejected.reason for rejected in found.rejected] == [
        "the span cannot be decoded: KeyError."
    ]


def test_a_compressed_request_is_read() -> None:
    sent = request(otlp_span())
    packed = record(sent, payload=gzip.compress(sent.SerializeToString()), content_encoding="gzip")

    assert len(decode(packed, max_bytes=_MAX_BYTES).spans) == 1


@pytest.mark.parametrize("payload", [b"no request", gzip.compress(bytes(2 * _MAX_BYTES))])
def test_what_is_no_request_is_a_permanent_error(payload: bytes) -> None:
    encoding = "gzip" if payload.startswith(b"\x1f\x8b") else ""
    bad = record(request(), payload=payload, content_encoding=encoding)

    with pytest.raises(PermanentError):
        decode(bad, max_bytes=_MAX_BYTES)


def test_genai_attributes_without_a_converter_are_kept_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tracequill_collector.processor.genai._loaded", [None])

    found = decode(
        record(request(otlp_span({"gen_ai.request.model": "m"}), otlp_span())),
        max_bytes=_MAX_BYTES,
    )

    assert found.raw_genai_spans == 1
    assert found.spans[0].attributes == {"gen_ai": {"request": {"model": "m"}}}
