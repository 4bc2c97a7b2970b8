"""The recorder's meaning: an Exchange enters, the span that stands for it leaves, with the spans of
its steps below it.

The same exchange always gives the same spans, ids included, so a replay changes nothing. Bad data
never raises: what cannot be interpreted is recorded plainly, with the problem beside it. Only an
exchange that no span can stand for is a PermanentError. No input or output.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from openinference.semconv.trace import OpenInferenceMimeTypeValues, SpanAttributes

from tracequill_collector.errors import PermanentError
from tracequill_collector.exchange import Exchange
from tracequill_collector.recorder import ollama, rerank, sagemaker
from tracequill_collector.recorder.anthropic import endpoints as anthropic
from tracequill_collector.recorder.aws import plain as aws_plain
from tracequill_collector.recorder.bedrock import guardrail as bedrock_guardrail
from tracequill_collector.recorder.bedrock import runtime as bedrock
from tracequill_collector.recorder.bedrock_agent import runtime as bedrock_agent
from tracequill_collector.recorder.body import parse_json, to_json
from tracequill_collector.recorder.call import Call, Failure, Interpretation
from tracequill_collector.recorder.gemini import endpoints as gemini
from tracequill_collector.recorder.message import Pairs, mapping
from tracequill_collector.recorder.openai import endpoints as openai
from tracequill_collector.recorder.plain import facts, plain, proxy_facts
from tracequill_collector.recorder.secret import remove_keys
from tracequill_collector.recorder.span import RecordedSpan, child_span_id

# By path, not by vendor: many speak OpenAI's format, Bedrock itself among them.
_INTERPRETERS: tuple[Callable[[Call], Interpretation | None], ...] = (
    bedrock.interpret,
    bedrock_agent.interpret,
    bedrock_guardrail.interpret,
    sagemaker.interpret,
    gemini.interpret,
    anthropic.interpret,
    # Before OpenAI's, whose paths for embeddings end in the same word.
    ollama.interpret,
    openai.interpret,
    rerank.interpret,
    # Whatever the others leave of AWS's streams.
    aws_plain.interpret,
)

# Beside `[DONE]`: what Anthropic, OpenAI's responses and Mistral's agents end with.
_LAST_EVENTS = frozenset(
    {
        "conversation.response.done",
        "message_stop",
        "response.completed",
        "response.failed",
        "response.incomplete",
    }
)

_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}")
_MAX_UNIX_NS = 2**63


def interpret(exchange: Exchange, default_project_name: str) -> RecordedSpan:
    """Give the span of *exchange*; PermanentError when it has no usable ids or times."""
    _check(exchange)
    exchange = _in_order(exchange)
    call = Call(exchange)
    if exchange.end == "client_disconnected" and _said_its_end(call):
        exchange = replace(exchange, end="complete")
        call = Call(exchange)
    result = _meaning(call)
    if not exchange.traced:
        _keep_raw(call, result)
    _add_end(call, result)
    problems = [call.request.problem, call.response.problem, *result.problems]
    result.add(facts(call, [*problems, *_metadata_problem(exchange)]))
    result.add(_context(exchange))
    result.add(_metadata(exchange, result))
    result.start_unix_ns, result.end_unix_ns = exchange.start_unix_ns, exchange.end_unix_ns
    project_name = exchange.project_name or default_project_name
    root = _span(exchange, project_name, result, exchange.span_id, exchange.parent_span_id)
    _add_children(exchange, root, result, itertools.count(1))
    return root


def _span(
    exchange: Exchange, project_name: str, result: Interpretation, span_id: str, parent_span_id: str
) -> RecordedSpan:
    return RecordedSpan(
        trace_id=exchange.trace_id,
        span_id=span_id,
        parent_span_id=parent_span_id,
        name=result.name,
        start_unix_ns=result.start_unix_ns,
        end_unix_ns=result.end_unix_ns,
        project_name=project_name,
        attributes=result.attributes,
        events=result.events,
        status=result.status,
        status_message=result.status_message,
    )


def _add_children(
    exchange: Exchange, parent: RecordedSpan, result: Interpretation, numbers: Iterator[int]
) -> None:
    """Add the spans of the steps below *parent*; all ids follow from the exchange's."""
    for step in result.children:
        step.start_unix_ns = step.start_unix_ns or parent.start_unix_ns
        step.end_unix_ns = max(step.end_unix_ns or parent.end_unix_ns, step.start_unix_ns)
        step.add(_context(exchange))
        span_id = child_span_id(exchange.trace_id, exchange.span_id, next(numbers))
        child = _span(exchange, parent.project_name, step, span_id, parent.span_id)
        _add_children(exchange, child, step, numbers)
        parent.children.append(child)


def _check(exchange: Exchange) -> None:
    if not _TRACE_ID.fullmatch(exchange.trace_id) or not _SPAN_ID.fullmatch(exchange.span_id):
        raise PermanentError(
            f"exchange has trace id {exchange.trace_id!r} and span id {exchange.span_id!r}; "
            "it needs 32 and 16 lower-case hex digits, not all of them 0."
        )
    if exchange.parent_span_id and not _SPAN_ID.fullmatch(exchange.parent_span_id):
        raise PermanentError(
            f"exchange has parent span id {exchange.parent_span_id!r}; "
            "it needs 16 lower-case hex digits or nothing."
        )
    times = (exchange.start_unix_ns, exchange.first_byte_unix_ns, exchange.end_unix_ns)
    if not all(0 <= time < _MAX_UNIX_NS for time in times):
        raise PermanentError(f"exchange has the times {times}, which are no unix nanoseconds.")


def _in_order(exchange: Exchange) -> Exchange:
    """Give *exchange* without times before its start: a clock may be set back during a call."""
    start = exchange.start_unix_ns
    if exchange.end_unix_ns >= start and not 0 < exchange.first_byte_unix_ns < start:
        return exchange
    first = exchange.first_byte_unix_ns if exchange.first_byte_unix_ns >= start else 0
    end = max(start, exchange.end_unix_ns)
    return replace(exchange, first_byte_unix_ns=first, end_unix_ns=end)


def _said_its_end(call: Call) -> bool:
    """Whether a stream's own last event came: some clients hang up at it.

    OpenAI's is one of them, and the end of the body comes in a packet of its own.
    """
    if call.exchange.response_cut or call.response_type != "text/event-stream":
        return False
    name, _, data = call.response.data.rstrip(b"\r\n").rpartition(b"\n")[2].partition(b":")
    if name != b"data":
        return False
    return data.strip() == b"[DONE]" or mapping(parse_json(data)).get("type") in _LAST_EVENTS


def _meaning(call: Call) -> Interpretation:
    if call.exchange.traced:
        return proxy_facts(call)
    try:
        for interpreter in _INTERPRETERS:
            if (result := interpreter(call)) is not None:
                return result
    except Exception as error:
        # Data can be wrong in more ways than the interpreters foresee; the call is kept anyway.
        result = plain(call)
        result.problems.append(f"cannot be interpreted ({type(error).__name__})")
        return result
    return plain(call)


def _keep_raw(call: Call, result: Interpretation) -> None:
    """Keep the text of bodies that are not the JSON that an interpreter looked for."""
    found = result.attributes
    if call.request_json is None and call.request_text and not call.form.parts:
        found[SpanAttributes.INPUT_VALUE] = remove_keys(call.request_text)
        if found.get(SpanAttributes.INPUT_MIME_TYPE) == OpenInferenceMimeTypeValues.JSON.value:
            del found[SpanAttributes.INPUT_MIME_TYPE]
    if call.succeeded and call.response_json is None and not found.get(SpanAttributes.OUTPUT_VALUE):
        # A stream may end properly without having said anything.
        if result.problems or not call.response_type.endswith("stream"):
            result.add([(SpanAttributes.OUTPUT_VALUE, call.response_text or None)])


def _add_end(call: Call, result: Interpretation) -> None:
    """Say how an exchange ended that did not end by itself."""
    exchange = call.exchange
    if exchange.end == "complete" or result.status == "ERROR":
        return
    if exchange.end == "client_disconnected":
        # As in the SDK: left early is neither success nor failure.
        result.status = "UNSET"
        return
    message = remove_keys(exchange.error) or exchange.end
    result.fail(Failure(f"tracequill.{exchange.end}", message, message), exchange.end_unix_ns)


def _context(exchange: Exchange) -> Pairs:
    yield SpanAttributes.SESSION_ID, exchange.session_id or None
    yield SpanAttributes.USER_ID, exchange.user_id or None
    yield SpanAttributes.TAG_TAGS, list(exchange.tags) or None


def _metadata(exchange: Exchange, result: Interpretation) -> Pairs:
    """Give what the call says of itself, beside what the vendor's module says of the call."""
    if not exchange.metadata or _metadata_problem(exchange):
        return
    if said := result.attributes.get(SpanAttributes.METADATA):
        both = {**mapping(parse_json(said)), **mapping(parse_json(exchange.metadata))}
        yield SpanAttributes.METADATA, to_json(both)
    else:
        yield SpanAttributes.METADATA, exchange.metadata


def _metadata_problem(exchange: Exchange) -> list[str]:
    if exchange.metadata and not isinstance(parse_json(exchange.metadata), dict):
        return ["metadata is not a JSON object"]
    return []
