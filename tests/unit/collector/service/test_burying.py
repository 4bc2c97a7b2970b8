"""What of a record goes to the dead letters, and as how many."""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracequill_collector.otlp import PROTOBUF
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.service.burying import letters_of_spans

_MAX_BYTES = 10_000_000


def record_of(spans: int) -> Record:
    """Give a record of so many spans."""
    request = ExportTraceServiceRequest()
    scope_spans = request.resource_spans.add().scope_spans.add()
    for number in range(spans):
        scope_spans.spans.add(name=f"span {number}")
    return Record(RecordKind.OTLP_TRACES, 7, request.SerializeToString(), PROTOBUF, "", "bot")


def test_a_few_spans_are_letters_of_their_own() -> None:
    letters = letters_of_spans(record_of(20), dict.fromkeys(range(3, 11), "bad."), max_bytes=10**6)

    assert [(letter.what, letter.reason, letter.spans) for letter in letters] == [
        ("span", "bad.", 1)
    ] * 8
    assert [b"span 3" in letter.record.payload for letter in letters] == [True] + [False] * 7


def test_many_spans_are_one_letter_of_the_record_as_it_came_which_says_which() -> None:
    record = record_of(20)
    reasons = {place: "bad." for place in (0, 1, 2, 5, 7, 8, 19)} | {9: "worse.", 10: "worse."}

    [letter] = letters_of_spans(record, reasons, max_bytes=_MAX_BYTES)

    assert (letter.record, letter.what, letter.spans) == (record, "spans", 9)
    assert letter.reason == "9 spans of it, most often: bad."
    assert letter.details == {
        "spans": 9,
        "places": "0-2,5,7-10,19",
        "reasons": {"bad.": 7, "worse.": 2},
        "other_reasons": 0,
    }


def test_a_reason_for_each_of_very_many_spans_makes_no_large_letter() -> None:
    reasons = {place: f"span {place} is bad." for place in range(100_000)}

    [letter] = letters_of_spans(record_of(1), reasons, max_bytes=_MAX_BYTES)

    assert letter.details["places"] == "0-99999"
    assert (len(letter.details["reasons"]), letter.details["other_reasons"]) == (20, 99_980)


def test_without_bad_spans_there_is_no_letter() -> None:
    assert letters_of_spans(record_of(1), {}, max_bytes=_MAX_BYTES) == []
