"""Progress and pace, from times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracequill_phoenix.annotate.progress import (
    IDLE_SECONDS,
    Answered,
    progress_of,
    seconds_left,
)

START = datetime(2026, 1, 1, 9, tzinfo=UTC)


def every(
    seconds: float, count: int, person: str = "Ana", start: datetime = START
) -> list[Answered]:
    """One who answers every so many seconds, and takes all of the time for it."""
    return [
        Answered(person, start + timedelta(seconds=seconds * (number + 1)), seconds)
        for number in range(count)
    ]


def test_nothing_done_has_no_pace() -> None:
    found = progress_of([])

    assert (found.together.answers, found.together.per_hour) == (0, None)
    assert found.people == {}
    assert found.days == []


def test_a_steady_person_is_as_fast_as_they_are() -> None:
    ana = progress_of(every(30, 20)).people["Ana"]

    assert (ana.answers, ana.median_seconds, ana.per_hour) == (20, 30, 120)
    assert ana.first_at == START + timedelta(seconds=30)
    assert ana.last_at == START + timedelta(seconds=600)


def test_a_pause_is_no_work_and_a_question_left_open_over_it_neither() -> None:
    morning = every(30, 20)
    afternoon = every(30, 20, start=START + timedelta(hours=4))
    left_open = Answered("Ana", START + timedelta(hours=8), 4 * 3600.0)

    assert progress_of([*morning, *afternoon]).people["Ana"].per_hour == 120
    with_pause = progress_of([*morning, *afternoon, left_open]).people["Ana"]
    assert with_pause.per_hour == pytest.approx(41 / (1200 + IDLE_SECONDS) * 3600, abs=0.1)
    assert with_pause.median_seconds == 30


def test_people_at_work_at_the_same_time_are_faster_together() -> None:
    found = progress_of([*every(30, 20), *every(60, 10, "Ben")])

    assert found.people["Ana"].per_hour == 120
    assert found.people["Ben"].per_hour == 60
    assert found.together.per_hour == 180


def test_people_one_after_the_other_are_as_fast_together_as_one() -> None:
    later = START + timedelta(hours=3)

    assert progress_of([*every(30, 20), *every(30, 20, "Ben", later)]).together.per_hour == 120


def test_two_answers_are_no_pace_yet() -> None:
    assert progress_of(every(30, 2)).together.per_hour is None
    assert progress_of(every(1, 5)).together.per_hour is None  # five seconds of work


def test_without_times_of_the_page_the_pauses_between_answers_count() -> None:
    unknown = [Answered(one.person, one.at, None) for one in every(30, 21)]

    ana = progress_of(unknown).people["Ana"]

    assert ana.median_seconds is None
    assert ana.per_hour == pytest.approx(21 / 600 * 3600, abs=0.1)


def test_days_are_counted_in_utc() -> None:
    late = datetime(2026, 1, 2, 1, 30, tzinfo=timezone(timedelta(hours=2)))

    assert progress_of([Answered("Ana", late, 1)]).days == [(datetime(2026, 1, 1).date(), 1)]


def test_what_is_left_takes_as_long_as_the_pace_says() -> None:
    assert seconds_left(60, 120.0) == 1800
    assert seconds_left(60, None) is None
    assert seconds_left(0, None) == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from("AB"),
            st.integers(0, 100_000),
            st.none() | st.floats(-10, 1e7, allow_nan=False),
        )
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_rows_changes_nothing_and_nobody_works_faster_than_time(
    rows: list[tuple[str, int, float | None]], chance: object
) -> None:
    answers = [Answered(who, START + timedelta(seconds=at), took) for who, at, took in rows]

    found = progress_of(answers)

    assert progress_of(answers[::-1]) == found
    assert sum(pace.answers for pace in found.people.values()) == found.together.answers
    assert sum(number for _, number in found.days) == len(answers)
    for pace in (found.together, *found.people.values()):
        assert pace.per_hour is None or pace.per_hour > 0
