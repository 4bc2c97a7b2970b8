"""What a batch does to traces, sessions and sums, decided without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracequill_collector.errors import PermanentError
from tracequill_collector.exporter.rows import (
    Counts,
    SpanRow,
    StoredSpan,
    StoredTrace,
    divide,
    gradient,
    plan,
    roll_up,
    sort_out,
    span_row,
    utc_time,
)
from tracequill_collector.pipeline import Span, SpanEvent

_SECOND = 1_000_000_000


def row(
    span_id: str,
    trace_id: str = "t",
    *,
    parent: str | None = None,
    start: int = 0,
    end: int = 1,
    session: Any = None,
    tokens: Any = None,
    **more: Any,
) -> SpanRow:
    """Give the row of a small span; times are in seconds."""
    attributes: dict[str, Any] = {}
    if session is not None:
        attributes["session"] = {"id": session}
    if tokens is not None:
        attributes["llm"] = {"token_count": {"prompt": tokens}}
    fields: dict[str, Any] = {
        "trace_id": trace_id,
        "span_id": span_id,
        "parent_id": parent,
        "name": "",
        "span_kind": "CHAIN" if tokens is None else "LLM",
        "start_time_unix_ns": start * _SECOND,
        "end_time_unix_ns": end * _SECOND,
        "attributes": attributes,
        "events": [],
        "status_code": "OK",
        "status_message": "",
        "project_name": "p",
    }
    return span_row(Span(**(fields | more)), lambda start_time, attributes: None)


def at(seconds: int) -> datetime:
    """Give a time."""
    return datetime.fromtimestamp(seconds, UTC)


def test_only_llm_spans_have_token_counts() -> None:
    assert row("a", tokens=3).llm_token_count_prompt == 3
    assert row("a", tokens=3).llm_token_count_completion == 0
    assert row("a", tokens="3").llm_token_count_prompt == 3
    assert row("a", tokens="many").llm_token_count_prompt == 0
    assert row("a", tokens=3, span_kind="CHAIN").llm_token_count_prompt is None


@pytest.mark.parametrize("tokens", [2**31, "2147483648", -(2**31) - 1, 1e12])
def test_more_tokens_than_a_column_holds_are_named(tokens: Any) -> None:
    with pytest.raises(PermanentError, match=r"llm\.token_count\.prompt is -?\d+, more than"):
        row("a", tokens=tokens)

    assert row("a", tokens=2**31 - 1).llm_token_count_prompt == 2**31 - 1
    assert row("a", tokens=2**40, span_kind="CHAIN").llm_token_count_prompt is None


def test_events_are_json_with_times() -> None:
    event = SpanEvent("retry", 1_500_000_000, {"n": 1})

    assert orjson.loads(row("a", events=[event]).events_json) == [
        {"name": "retry", "timestamp": "1970-01-01T00:00:01.500000+00:00", "attributes": {"n": 1}}
    ]


def test_a_session_id_of_any_type_is_text() -> None:
    assert row("a", session=" s ").session_id == "s"
    assert row("a", session=42).session_id == "42"
    assert row("a").session_id == ""


def test_times_are_rounded_through_a_float() -> None:
    assert utc_time(1_760_000_000_123_456_789).microsecond == 123457
    assert utc_time(0) == at(0)


def test_the_same_project_has_the_same_colours_everywhere() -> None:
    assert gradient("a") == gradient("a")
    assert len({gradient(f"project {number}") for number in range(50)}) > 3


def test_the_first_of_equal_span_ids_is_new_and_the_others_are_seen_before() -> None:
    rows = [row("a"), row("a"), row("b"), row("c")]

    found = sort_out(rows, {"b": "t"})

    assert found.new == [rows[0], rows[3]]
    assert found.kept == rows
    assert found.rejected == []


def test_a_span_id_belongs_to_the_first_trace_that_has_it() -> None:
    rows = [row("a", "t"), row("a", "u"), row("b", "u")]

    found = sort_out(rows, {"b": "t"})

    assert found.kept == found.new == rows[:1]
    assert [one.span.trace_id for one in found.rejected] == ["u", "u"]


def test_a_trace_covers_all_of_its_spans_and_stays_in_its_first_project() -> None:
    made = plan(
        [row("a", start=5, end=6), row("b", start=1, end=2, project_name="q"), row("c", end=9)], {}
    )

    [trace] = made.new_traces
    assert (trace.start_time, trace.end_time, trace.project_name) == (at(0), at(9), "p")


def test_a_stored_trace_is_written_again_only_when_it_changes() -> None:
    stored = {"t": StoredTrace(1, 1, None, at(0), at(10))}

    assert plan([row("a", start=1, end=9)], stored).changed_traces == []
    assert plan([row("a", start=1, end=11)], stored).changed_traces[0].end_time == at(11)
    assert plan([row("a", start=1, end=9, session="s")], stored).changed_traces[0].session_id == "s"


def test_the_first_session_of_a_trace_stays() -> None:
    made = plan([row("a"), row("b", session="s"), row("c", session="r")], {})

    assert made.new_traces[0].session_id == "s"
    assert list(made.sessions) == ["s"]


def test_a_session_belongs_to_the_trace_that_names_it_first_and_covers_all_of_its_traces() -> None:
    made = plan(
        [
            row("a", "t", start=5, end=6, project_name="late"),
            row("b", "u", start=7, end=8, session="s", project_name="first"),
            row("c", "t", start=4, end=5, session="s"),
            row("d", "u", start=7, end=20),
        ],
        {},
    )

    session = made.sessions["s"]
    assert session.first_trace.project_name == "first"
    assert (session.start_time, session.end_time) == (at(4), at(20))


def test_the_session_that_a_stored_trace_has_is_widened_and_no_other_made() -> None:
    stored = {
        "t": StoredTrace(1, 1, 7, at(0), at(10)),
        "u": StoredTrace(2, 1, 7, at(3), at(20)),
    }

    made = plan([row("a", "t", session="other"), row("b", "u", end=30)], stored)

    assert made.sessions == {}
    assert made.session_ranges == {7: (at(0), at(30))}


def test_sums_go_up_through_new_and_stored_spans_alike() -> None:
    # stored top <- new a <- stored middle <- new b, and two stored children below b
    new = [row("a", parent="top", tokens=1), row("b", parent="middle", tokens=10)]
    ancestors = [StoredSpan(1, "top", None, "t"), StoredSpan(2, "middle", "a", "t")]
    below = {"a": Counts(0, 100, 0), "b": Counts(1, 1000, 5)}

    cumulative, gained = roll_up(new, below, ancestors)

    assert cumulative["b"] == Counts(1, 1010, 5)
    assert gained[2] == Counts(1, 1010, 5)
    assert cumulative["a"] == Counts(1, 1111, 5)
    assert gained[1] == Counts(1, 1111, 5)


def test_sums_stay_in_their_trace() -> None:
    new = [row("a", "t"), row("b", "u", parent="a", tokens=1), row("c", "u", parent="x", tokens=1)]

    cumulative, gained = roll_up(new, {}, [StoredSpan(1, "x", None, "t")])

    assert cumulative["a"] == Counts()
    assert gained == {}


def test_parents_in_a_circle_are_counted_once() -> None:
    new = [row("a", parent="b", tokens=1), row("b", parent="a", tokens=2), row("c", parent="c")]

    cumulative, _ = roll_up(new, {}, [])

    assert cumulative["a"].prompt_tokens == cumulative["b"].prompt_tokens == 3


def test_a_deep_trace_is_summed_to_the_top() -> None:
    new = [row(str(n), parent=str(n - 1) if n else None, tokens=1) for n in range(2000)]

    cumulative, _ = roll_up(new, {}, [])

    assert cumulative["0"].prompt_tokens == 2000
    assert timedelta(0) == new[0].end_time - at(1)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9), st.integers(0, 200), st.sampled_from([None, None, "s", "t", "u"])
        ),
        max_size=40,
    )
)
def test_what_is_stored_side_by_side_has_no_trace_session_or_span_id_in_common(
    spans: list[tuple[int, int, str | None]],
) -> None:
    batch = [
        row(f"{span:016x}", f"{trace:032x}", session=session, name=str(place))
        for place, (trace, span, session) in enumerate(spans)
    ]

    parts = divide(batch)

    assert all(parts)
    for part in parts:
        places = [int(one.span.name) for one in part]
        assert places == sorted(places)
    assert sorted(int(one.span.name) for part in parts for one in part) == list(range(len(batch)))
    for name in ("span.trace_id", "span.span_id", "session_id"):
        keys = [{attrgetter(name)(one) for one in part} - {""} for part in parts]
        assert sum(map(len, keys)) == len(set().union(*keys))


def test_traces_that_have_nothing_in_common_are_divided_in_halves() -> None:
    batch = [row(f"{place:016x}", f"{place // 3:032x}") for place in range(30)]

    assert [len(part) for part in divide(batch)] == [15, 15]
