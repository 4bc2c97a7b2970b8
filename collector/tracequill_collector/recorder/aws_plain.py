"""Event streams that no instrumentor reads: a Call enters, a plain span with its events leaves.

Flows, optimised prompts and whatever comes next. No input or output.
"""

from __future__ import annotations

from typing import Any

from openinference.semconv.trace import OpenInferenceMimeTypeValues, SpanAttributes

from tracequill_collector.recorder import aws_error
from tracequill_collector.recorder.body import parse_json, to_json
from tracequill_collector.recorder.call import Call, Interpretation
from tracequill_collector.recorder.eventstream import parse_eventstream
from tracequill_collector.recorder.plain import plain
from tracequill_collector.recorder.secret import remove_keys

MEDIA_TYPE = "application/vnd.amazon.eventstream"


def interpret(call: Call) -> Interpretation | None:
    """Give a plain span whose output is the events as JSON, or None when there are none."""
    if call.response_type != MEDIA_TYPE or not call.succeeded:
        return None
    result = plain(call)
    events: list[dict[str, Any]] = []
    stream = parse_eventstream(call.response.data)
    for message in stream.messages:
        if message.text_header(":message-type") not in ("", "event"):
            failure = aws_error.stream_failure(message, call.segments[-1], describes=False)
            result.fail(failure, call.exchange.end_unix_ns)
            break
        said = parse_json(message.payload)
        if said is None:
            said = message.payload.decode("utf-8", errors="replace")
        events.append({message.text_header(":event-type") or "event": said})
    if stream.problem:
        result.problems.append(stream.problem)
    result.add(
        [
            (SpanAttributes.OUTPUT_VALUE, remove_keys(to_json(events))),
            (SpanAttributes.OUTPUT_MIME_TYPE, OpenInferenceMimeTypeValues.JSON.value),
        ]
    )
    return result
