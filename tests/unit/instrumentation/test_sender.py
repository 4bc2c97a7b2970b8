from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import SpanContext

from tracequill import _sender
from tracequill._config import resolve_destination
from tracequill._sender import (
    HttpSender,
    OtlpSender,
    RefusedError,
    TooLargeError,
    UnavailableError,
    check_partial_success,
    check_response,
    clean,
    open_sender,
)


def span(name: str, attributes: dict[str, object] | None = None) -> ReadableSpan:
    context = SpanContext(trace_id=1, span_id=1, is_remote=False)
    return ReadableSpan(name=name, context=context, attributes=attributes)  # type: ignore[arg-type]


class Keeper(OtlpSender):
    """Keeps requests; refuses those with more spans than *most*, and spans called ``bad``."""

    def __init__(self, most: int = 1_000_000) -> None:
        self.most = most
        self.requests: list[list[str]] = []

    def _post(self, request: ExportTraceServiceRequest, timeout_seconds: float) -> None:
        names = [s.name for s in request.resource_spans[0].scope_spans[0].spans]
        if len(names) > self.most:
            raise TooLargeError("413")
        if "bad" in names:
            raise RefusedError("400")
        self.requests.append(names)


def test_what_is_too_large_for_the_destination_is_split_and_keeps_its_order() -> None:
    sender = Keeper(most=2)

    sender.send([span(name) for name in "abcde"], timeout_seconds=10)

    assert [name for request in sender.requests for name in request] == list("abcde")


def test_what_is_too_large_for_grpc_is_split_before_it_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_sender, "MAX_REQUEST_BYTES", 2000)
    sender = Keeper()

    sender.send([span(name, {"prompt": "x" * 900}) for name in "abcd"], timeout_seconds=10)

    assert sender.requests == [["a"], ["b"], ["c"], ["d"]]


def test_a_part_that_is_refused_does_not_stop_the_others() -> None:
    sender = Keeper(most=1)

    with pytest.raises(RefusedError) as raised:
        sender.send([span("a"), span("bad"), span("b")], timeout_seconds=10)

    assert raised.value.spans == 1
    assert sender.requests == [["a"], ["b"]]


def test_a_single_span_that_is_too_large_is_refused() -> None:
    with pytest.raises(RefusedError, match="413"):
        Keeper(most=0).send([span("a")], timeout_seconds=10)


def test_time_that_ran_out_is_retryable() -> None:
    with pytest.raises(UnavailableError):
        Keeper().send([span("a")], timeout_seconds=0)


@pytest.mark.parametrize("status", [200, 202])
def test_success_is_success(status: int) -> None:
    check_response(status)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_opentelemetry_calls_retryable_is_retryable(status: int) -> None:
    with pytest.raises(UnavailableError) as raised:
        check_response(status, "7")

    assert raised.value.retry_after_seconds == 7


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (301, "redirects are not followed"),
        (400, "400 Bad Request"),
        (401, "TRACEQUILL_API_KEY"),
        (403, "TRACEQUILL_API_KEY"),
        (404, "base URL"),
        (500, "500"),
        (599, "599"),
    ],
)
def test_every_other_status_is_permanent_and_says_what_to_do(status: int, advice: str) -> None:
    with pytest.raises(RefusedError, match=advice):
        check_response(status)


def test_a_retry_after_that_is_a_date_means_our_own_backoff() -> None:
    with pytest.raises(UnavailableError) as raised:
        check_response(503, "Wed, 21 Oct 2026 07:28:00 GMT")

    assert raised.value.retry_after_seconds is None


def test_a_partial_success_counts_what_was_not_taken() -> None:
    answer = ExportTraceServiceResponse(
        partial_success=ExportTracePartialSuccess(rejected_spans=2, error_message="full")
    )

    with pytest.raises(RefusedError) as raised:
        check_partial_success(answer.SerializeToString())

    assert raised.value.spans == 2
    check_partial_success(b"")
    check_partial_success(b"{}")


def test_half_a_character_does_not_cost_the_prompt() -> None:
    dirty = ReadableSpan(
        name="span",
        attributes={"prompt": "a\ud83d\ude00b\ud800c", "n": 1, "tags": ("\udc00", "ok")},
        events=[Event("exception", {"message": "\ud800"}, timestamp=5)],
        start_time=1,
        end_time=2,
    )

    cleaned = clean(dirty)

    assert dict(cleaned.attributes or {}) == {
        "prompt": "a😀b\ufffdc",
        "n": 1,
        "tags": ("\ufffd", "ok"),
    }
    assert dict(cleaned.events[0].attributes or {}) == {"message": "\ufffd"}
    assert (cleaned.events[0].timestamp, cleaned.start_time, cleaned.end_time) == (5, 1, 2)


def test_a_span_without_such_characters_is_left_as_it_is() -> None:
    plain = ReadableSpan(name="span", attributes={"prompt": "größe 😀"})

    assert clean(plain) is plain


def test_http_is_sent_without_loading_grpc() -> None:
    assert isinstance(open_sender(resolve_destination()), HttpSender)
