"""Generated requests: real OTLP, with the ids that their number stands for."""

from __future__ import annotations

from bench.ingest.spans import SPANS_A_TRACE, ids_of, make_templates
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

NOW_NS = 1_900_000_000_000_000_000
TRACES = 5


def spans_of(number: int, salt: int = 7) -> list[Span]:
    """The spans of one request, as a receiver reads them."""
    template = make_templates(1, 1, TRACES)[0]
    content = template.fresh(ids_of(salt, number, TRACES), NOW_NS)
    request = ExportTraceServiceRequest.FromString(content)
    return list(request.resource_spans[0].scope_spans[0].spans)


def test_a_request_holds_the_ids_of_its_number() -> None:
    spans = spans_of(3)

    ids = ids_of(7, 3, TRACES)
    assert [span.span_id.hex() for span in spans] == ids.span_ids()
    assert [span.trace_id for span in spans[::SPANS_A_TRACE]] == [
        row.tobytes() for row in ids.traces
    ]


def test_no_two_requests_share_an_id() -> None:
    spans = [*spans_of(0), *spans_of(1), *spans_of(0, salt=8)]

    assert len({span.span_id for span in spans}) == 3 * TRACES * SPANS_A_TRACE
    assert len({span.trace_id for span in spans}) == 3 * TRACES


def test_each_trace_is_a_chain_with_a_retriever_and_an_llm_call() -> None:
    spans = spans_of(0)

    for first in range(0, len(spans), SPANS_A_TRACE):
        retriever, llm, chain = trace = spans[first : first + SPANS_A_TRACE]
        assert len({span.trace_id for span in trace}) == 1
        assert retriever.parent_span_id == llm.parent_span_id == chain.span_id
        assert chain.parent_span_id == b""
        assert [attribute(span, "openinference.span.kind") for span in trace] == [
            "RETRIEVER",
            "LLM",
            "CHAIN",
        ]


def test_sessions_are_new_in_each_request_and_one_a_trace() -> None:
    first, second = spans_of(0), spans_of(1)

    sessions = [attribute(span, "session.id") for span in first]
    assert all(
        len(set(sessions[place : place + SPANS_A_TRACE])) == 1
        for place in range(0, len(sessions), SPANS_A_TRACE)
    )
    assert not set(sessions) & {attribute(span, "session.id") for span in second}


def test_times_are_those_of_sending_and_ends_follow_starts() -> None:
    for span in spans_of(0):
        assert NOW_NS <= span.start_time_unix_nano < span.end_time_unix_nano
        assert span.end_time_unix_nano < NOW_NS + 10_000_000_000


def attribute(span: Span, key: str) -> str:
    """The text of one attribute."""
    return next(one.value.string_value for one in span.attributes if one.key == key)
