from __future__ import annotations

import json

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from tracequill_collector.errors import PermanentError, QueueFullError, RetryableError
from tracequill_collector.otlp import OversizeError, UnsupportedError
from tracequill_collector.receiver.status import answer_for, http_body, trailers


@pytest.mark.parametrize(
    ("error", "code", "http_status", "is_retryable"),
    [
        (QueueFullError("full"), grpc.StatusCode.UNAVAILABLE, 503, True),
        (RetryableError("later"), grpc.StatusCode.UNAVAILABLE, 503, True),
        (OversizeError("large"), grpc.StatusCode.RESOURCE_EXHAUSTED, 413, False),
        (UnsupportedError("what"), grpc.StatusCode.INVALID_ARGUMENT, 415, False),
        (PermanentError("bad"), grpc.StatusCode.INVALID_ARGUMENT, 400, False),
        (ZeroDivisionError("ours"), grpc.StatusCode.UNAVAILABLE, 503, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_error_is_what_a_client_understands(
    error: Exception, code: grpc.StatusCode, http_status: int, is_retryable: bool
) -> None:
    answer = answer_for(error)

    assert (answer.code, answer.http_status) == (code, http_status)
    assert (answer.retry_seconds is not None) == is_retryable
    names = [name for name, _ in trailers(answer)]
    assert ("google.rpc.retryinfo-bin" in names) == is_retryable


def test_the_delay_is_one_to_three_seconds_and_not_the_same_for_all() -> None:
    delays = {
        answer_for(RetryableError("later", asked)).retry_seconds for asked in (0, 1, 2, 60) * 50
    }

    assert delays == {1, 2, 3}


def test_both_trailers_say_the_same_delay() -> None:
    answer = answer_for(RetryableError("later"))
    found = dict(trailers(answer))

    own = RetryInfo.FromString(found["google.rpc.retryinfo-bin"])
    status = Status.FromString(found["grpc-status-details-bin"])
    detail = RetryInfo()
    assert status.details[0].Unpack(detail)
    assert own.retry_delay.seconds == detail.retry_delay.seconds == answer.retry_seconds
    assert (status.code, status.message) == (14, "later")


def test_the_text_of_an_unexpected_error_stays_with_us() -> None:
    answer = answer_for(ValueError("prompt: how do I ..."))

    assert answer.message == "the collector failed unexpectedly; see its log."


def test_an_http_body_is_a_status_in_either_encoding() -> None:
    answer = answer_for(PermanentError("bad"))

    assert Status.FromString(http_body(answer, as_json=False)).message == "bad"
    assert json.loads(http_body(answer, as_json=True)) == {"code": 3, "message": "bad"}


def test_a_json_body_holds_the_delay() -> None:
    body = json.loads(http_body(answer_for(RetryableError("later")), as_json=True))

    assert body["details"][0]["@type"] == "type.googleapis.com/google.rpc.RetryInfo"
