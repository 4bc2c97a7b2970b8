"""Event streams of AWS's services in an exchange: its events leave, its error is recorded.

No input or output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tracequill_collector.recorder.aws import error as aws_error
from tracequill_collector.recorder.aws.eventstream import EventStream, EventStreamMessage
from tracequill_collector.recorder.body import parse_json
from tracequill_collector.recorder.call import Call, Interpretation


def messages(
    call: Call, operation: str, result: Interpretation, *, describes: bool
) -> Iterator[EventStreamMessage]:
    """Give the answer's messages until its end or its error, which *result* gets.

    *describes*: whether the error's message is the span's status message as it is.
    """
    stream = EventStream(call.response.data)
    for message in stream:
        if message.text_header(":message-type") != "event":
            failure = aws_error.stream_failure(message, operation, describes=describes)
            result.fail(failure, call.exchange.end_unix_ns)
            return
        yield message
    if stream.problem:
        result.problems.append(stream.problem)


def events(
    call: Call, operation: str, result: Interpretation, *, describes: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give type and payload of those whose payload is a JSON object, as almost all are."""
    for message in messages(call, operation, result, describes=describes):
        payload = parse_json(message.payload)
        if isinstance(payload, dict):
            yield message.text_header(":event-type"), payload
        else:
            result.problems.append("stream holds an event that is not a JSON object")
