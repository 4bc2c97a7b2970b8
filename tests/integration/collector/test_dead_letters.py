"""``tracequill dead-letters`` with a real exporter process and database."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.exchange_cases import own_case
from tests.integration.collector.replay_rig import execute, run
from tests.integration.collector.test_exporter_process import ExporterProcess, running
from tracequill_collector.otlp import PROTOBUF
from tracequill_collector.pipeline import Record, RecordKind

pytestmark = pytest.mark.integration


def one_span(span_id: bytes, project: str = "bot") -> Record:
    """Give the record of one span, as a dead letter keeps it."""
    span = Span(trace_id=b"t" * 16, span_id=span_id, name="a letter", start_time_unix_nano=1)
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.append(span)
    return Record(
        RecordKind.OTLP_TRACES, time.time_ns(), request.SerializeToString(), PROTOBUF, "", project
    )


def many_spans(prefix: bytes) -> Record:
    """Give a record of 20 spans, whose ids are bad where *prefix* is empty."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in range(20):
        span_id = prefix + bytes([number + 1]) if prefix else bytes(8)
        spans.add(trace_id=b"m" * 16, span_id=span_id, name=f"{number}", start_time_unix_nano=1)
    return Record(
        RecordKind.OTLP_TRACES, time.time_ns(), request.SerializeToString(), PROTOBUF, "", "many"
    )


async def test_many_bad_spans_are_one_letter_that_goes_when_all_of_them_are_stored(
    phoenix_database: str, tmp_path: Path
) -> None:
    async with running(tmp_path, phoenix_database) as (exporter, _):
        await exporter.says(lambda status: True)
        add = exporter.dead_letters.add
        solved = add(many_spans(b"solved-"), "an older Tracequill could not.", what="spans")
        stays = add(many_spans(b""), "an old reason.", what="spans")

        replayed = await run(exporter, "dead-letters", "replay", "--all", "--json")
        shown = await run(exporter, "dead-letters", "show", stays)
        rows = await execute(phoenix_database, "SELECT span_id FROM spans")
        left = exporter.dead_letters.list()

    assert (replayed.facts["solved_letters"], replayed.facts["dead_letters"]) == (1, 1)
    assert replayed.facts["stored_spans"] == len(rows) == 20
    [letter] = left
    assert letter.letter_id == stays != solved
    assert (letter.what, letter.details["spans"], letter.details["places"]) == ("spans", 20, "0-19")
    assert "zero" in letter.reason and "20 spans" in shown.out


def bury(exporter: ExporterProcess) -> dict[str, str]:
    """Bury letters of every kind; give their ids by what they are."""
    add = exporter.dead_letters.add
    exchange = own_case("openai-chat").exchange(project_name="bot")
    now = time.time_ns()
    return {
        "span": add(one_span(b"goodspan"), "an older Tracequill could not.", what="span"),
        "bad id": add(one_span(bytes(8)), "an old reason.", what="span"),
        "record": add(Record(RecordKind.OTLP_TRACES, now, b"no request"), "an old reason."),
        "exchange": add(Record(RecordKind.EXCHANGE, now, exchange.to_bytes()), "it was refused."),
        "no exchange": add(Record(RecordKind.EXCHANGE, now, b"x"), "an old reason."),
        "far": add(
            one_span(b"farspan1"), "otlp-far: no.", what="span", details={"exporter": "otlp-far"}
        ),
    }


async def test_letters_whose_cause_is_gone_are_stored_and_the_others_stay_with_the_new_reason(
    phoenix_database: str, tmp_path: Path
) -> None:
    async with running(tmp_path, phoenix_database) as (exporter, _):
        await exporter.says(lambda status: True)
        ids = bury(exporter)

        listed = await run(exporter, "dead-letters", "list")
        shown = await run(exporter, "dead-letters", "show", ids["span"])
        one = await run(exporter, "dead-letters", "replay", ids["span"], "--json")
        rest = await run(exporter, "dead-letters", "replay", "--all", "--json")
        again = await run(exporter, "dead-letters", "replay", "--all")
        rows = await execute(
            phoenix_database,
            "SELECT span_id, projects.name AS project FROM spans "
            "JOIN traces ON traces.id = trace_rowid JOIN projects ON projects.id = project_rowid",
        )
        left = {letter.letter_id: letter.reason for letter in exporter.dead_letters.list()}
        refused = await run(exporter, "dead-letters", "replay", ids["far"])
        discarded = await run(exporter, "dead-letters", "discard", "--all", "--yes")

        assert exporter.dead_letters.list() == []

    assert all(letter_id in listed.out for letter_id in ids.values())
    assert "an older Tracequill could not." in shown.out and "a letter" in shown.out
    assert one.facts["stored_spans"] == one.facts["solved_letters"] == 1
    assert rest.facts["stored_spans"] == rest.facts["solved_letters"] == 1
    assert rest.facts["dead_letters"] == 3
    assert again.code == 0 and "3 dead letters could not be solved" in again.out
    assert {(row["span_id"], row["project"]) for row in rows} == {
        (b"goodspan".hex(), "bot"),
        (own_case("openai-chat").exchange().span_id, "bot"),
    }
    assert left.keys() == {ids[what] for what in ("bad id", "record", "no exchange", "far")}
    assert "zero" in left[ids["bad id"]]
    assert "an old reason." not in left.values()
    assert refused.code == 1 and "no exporter 'far' runs" in refused.err
    assert discarded.out == "4 dead letters discarded.\n"
