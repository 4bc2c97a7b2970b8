"""What the answers of OTLP backends mean, once for both protocols."""

from __future__ import annotations

import email.utils
import time

import grpc
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tracequill_collector.exporter.otlp import (
    Meaning,
    grpc_answer,
    grpc_target,
    http_answer,
    http_url,
)

_PROTOBUF = "application/x-protobuf"


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (200, Meaning.DONE),
        (202, Meaning.DONE),
        (204, Meaning.DONE),
        (301, Meaning.WAIT),
        (307, Meaning.WAIT),
        (400, Meaning.BAD),
        (401, Meaning.WAIT),
        (403, Meaning.WAIT),
        (404, Meaning.WAIT),
        (405, Meaning.WAIT),
        (408, Meaning.RETRY),
        (413, Meaning.TOO_LARGE),
        (415, Meaning.WAIT),
        (422, Meaning.BAD),
        (429, Meaning.RETRY),
        (500, Meaning.DOUBTFUL),
        (501, Meaning.DOUBTFUL),
        (502, Meaning.RETRY),
        (503, Meaning.RETRY),
        (504, Meaning.RETRY),
        (520, Meaning.DOUBTFUL),
    ],
)
def test_an_http_status_means(status: int, meaning: Meaning) -> None:
    assert http_answer(status).meaning is meaning


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (grpc.StatusCode.CANCELLED, Meaning.RETRY),
        (grpc.StatusCode.UNKNOWN, Meaning.DOUBTFUL),
        (grpc.StatusCode.INVALID_ARGUMENT, Meaning.BAD),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Meaning.DOUBTFUL),
        (grpc.StatusCode.NOT_FOUND, Meaning.WAIT),
        (grpc.StatusCode.ALREADY_EXISTS, Meaning.WAIT),
        (grpc.StatusCode.PERMISSION_DENIED, Meaning.WAIT),
        (grpc.StatusCode.UNAUTHENTICATED, Meaning.WAIT),
        (grpc.StatusCode.FAILED_PRECONDITION, Meaning.WAIT),
        (grpc.StatusCode.ABORTED, Meaning.RETRY),
        (grpc.StatusCode.OUT_OF_RANGE, Meaning.RETRY),
        (grpc.StatusCode.UNIMPLEMENTED, Meaning.WAIT),
        (grpc.StatusCode.INTERNAL, Meaning.DOUBTFUL),
        (grpc.StatusCode.UNAVAILABLE, Meaning.RETRY),
        (grpc.StatusCode.DATA_LOSS, Meaning.RETRY),
    ],
)
def test_a_grpc_status_means(code: grpc.StatusCode, meaning: Meaning) -> None:
    assert grpc_answer(code).meaning is meaning
    assert code.name in grpc_answer(code).reason


def test_resource_exhausted_is_overload_with_retry_info_and_the_size_without() -> None:
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED

    overload = grpc_answer(exhausted, delay_seconds=2.0, payload_bytes=10_000_000)
    too_large = grpc_answer(exhausted, payload_bytes=10_000_000)
    no_limit_is_so_low = grpc_answer(exhausted, payload_bytes=1_000)

    assert (overload.meaning, overload.delay_seconds) == (Meaning.RETRY, 2.0)
    assert too_large.meaning is Meaning.TOO_LARGE
    assert no_limit_is_so_low.meaning is Meaning.RETRY


def test_retry_info_makes_no_refusal_retryable() -> None:
    answer = grpc_answer(grpc.StatusCode.INVALID_ARGUMENT, delay_seconds=1.0)

    assert answer.meaning is Meaning.BAD


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("86400", 300),
        ("inf", 300),
        ("nan", 0),
        ("soon", 0),
        ("Wed, 99 Foo 2020 99:99:99 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 9999 07:28:00 GMT", 300),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_bounds(text: str | None, seconds: float) -> None:
    assert http_answer(503, retry_after=text).delay_seconds == seconds


def test_retry_after_as_a_date_counts_from_now() -> None:
    date = email.utils.formatdate(time.time() + 60, usegmt=True)

    assert 50 < http_answer(429, retry_after=date).delay_seconds <= 60


def test_rejected_spans_are_read_in_protobuf_and_in_json() -> None:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 3
    response.partial_success.error_message = "no"

    protobuf = http_answer(200, content_type=_PROTOBUF, content=response.SerializeToString())
    json = http_answer(
        200,
        content_type="application/json; charset=utf-8",
        content=b'{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "no"}}',
    )

    assert protobuf.rejected_spans == json.rejected_spans == 3
    assert protobuf.said == json.said == "no"


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        (_PROTOBUF, b"\xff\xff\xff"),
        (_PROTOBUF, b""),
        ("application/json", b""),
        ("application/json", b"null"),
        ("application/json", b'{"partialSuccess": [1]}'),
        ("application/json", b'{"partialSuccess": {"rejectedSpans": "many"}}'),
        ("text/html", b"\n\x04 <p>"),
    ],
)
def test_a_200_with_any_body_is_taken_whole(content_type: str, content: bytes) -> None:
    answer = http_answer(200, content_type=content_type, content=content)

    assert (answer.meaning, answer.rejected_spans) == (Meaning.DONE, 0)


def test_a_negative_number_of_rejected_spans_is_none() -> None:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = -5

    answer = http_answer(200, content_type=_PROTOBUF, content=response.SerializeToString())

    assert answer.rejected_spans == 0


def test_what_the_backend_says_stands_apart_from_the_reason_and_is_short() -> None:
    prompt = "a prompt\x1b[31m\n" + "x" * 1000

    by_http = http_answer(
        400, content_type=_PROTOBUF, content=Status(message=prompt).SerializeToString()
    )
    as_text = http_answer(400, content_type="text/plain", content=prompt.encode())
    by_grpc = grpc_answer(grpc.StatusCode.INVALID_ARGUMENT, said=prompt)

    assert by_http.reason == "it answered 400"
    assert by_grpc.reason == "it answered INVALID_ARGUMENT"
    for answer in (by_http, as_text, by_grpc):
        assert answer.said.startswith("a prompt [31m x")
        assert len(answer.said) == 200


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://a:4318", "http://a:4318/v1/traces"),
        ("http://a:4318/v1/traces", "http://a:4318/v1/traces"),
        ("https://a/api/otel", "https://a/api/otel/v1/traces"),
        ("https://a/otlp?key=1", "https://a/otlp/v1/traces?key=1"),
        ("https://a/otlp/v1/traces?key=1", "https://a/otlp/v1/traces?key=1"),
    ],
)
def test_the_path_is_added_where_it_is_missing(endpoint: str, url: str) -> None:
    assert str(http_url(endpoint)) == url


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        ("http://a", (False, "a:4317")),
        ("https://a", (True, "a:443")),
        ("http://a:80", (False, "a:80")),
        ("https://a:4317/", (True, "a:4317")),
        ("http://[::1]:4317", (False, "[::1]:4317")),
    ],
)
def test_a_grpc_endpoint_is_a_host_and_a_port(endpoint: str, target: tuple[bool, str]) -> None:
    assert grpc_target(endpoint) == target


@pytest.mark.parametrize("endpoint", ["http://a/path", "http://a?b=c", "http://me:secret@a:1"])
def test_a_grpc_endpoint_with_more_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="nothing more") as refused:
        grpc_target(endpoint)

    assert "secret" not in str(refused.value)
