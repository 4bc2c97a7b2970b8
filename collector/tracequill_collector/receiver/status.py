"""An error becomes what an OTLP client understands, for gRPC and for HTTP, in this one place.

https://github.com/open-telemetry/opentelemetry-proto/blob/v1.11.0/docs/specification.md says what
a client retries: UNAVAILABLE, and 429, 502, 503 and 504. All else it drops, so what is unexpected
is answered as retryable: the sender keeps its spans, and a person finds the error in our log.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from tracequill_collector.errors import PermanentError, RetryableError
from tracequill_collector.otlp import OversizeError, UnsupportedError

# Senders that were refused together shall not come back together. The Python exporters give up
# when a delay exceeds what is left of their 10 s.
_JITTER_SECONDS = 2
_MAX_DELAY_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender is told."""

    code: grpc.StatusCode
    http_status: int
    message: str
    retry_seconds: int | None = None
    """How long to wait before sending again; None: do not send this again."""


def answer_for(error: BaseException) -> Answer:
    """Give the answer that *error* is to the sender."""
    if isinstance(error, RetryableError):
        delay = error.delay_seconds + random.randint(0, _JITTER_SECONDS)
        return Answer(
            grpc.StatusCode.UNAVAILABLE, 503, str(error), max(1, min(delay, _MAX_DELAY_SECONDS))
        )
    if isinstance(error, OversizeError):
        return Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, 413, str(error))
    if isinstance(error, UnsupportedError):
        return Answer(grpc.StatusCode.INVALID_ARGUMENT, 415, str(error))
    if isinstance(error, PermanentError):
        return Answer(grpc.StatusCode.INVALID_ARGUMENT, 400, str(error))
    return Answer(
        grpc.StatusCode.UNAVAILABLE, 503, "the collector failed unexpectedly; see its log.", 1
    )


def trailers(answer: Answer) -> tuple[tuple[str, bytes], ...]:
    """Give the trailing metadata of a gRPC answer.

    Most clients read RetryInfo from ``grpc-status-details-bin``; the Python exporter reads it from
    a trailer of its own.
    """
    whole = ("grpc-status-details-bin", _status(answer).SerializeToString())
    if answer.retry_seconds is None:
        return (whole,)
    return (("google.rpc.retryinfo-bin", _retry_info(answer).SerializeToString()), whole)


def http_body(answer: Answer, *, as_json: bool) -> bytes:
    """Give the body of an HTTP answer, a ``google.rpc.Status`` in the request's encoding."""
    return encode(_status(answer), as_json=as_json)


def encode(message: Message, *, as_json: bool) -> bytes:
    """Encode *message* as JSON or as protobuf."""
    if as_json:
        return MessageToJson(message, indent=None).encode()
    return message.SerializeToString()


def _status(answer: Answer) -> Status:
    status = Status(code=answer.code.value[0], message=answer.message)
    if answer.retry_seconds is not None:
        detail = AnyMessage()
        detail.Pack(_retry_info(answer))
        status.details.append(detail)
    return status


def _retry_info(answer: Answer) -> RetryInfo:
    return RetryInfo(retry_delay=Duration(seconds=answer.retry_seconds or 0))
