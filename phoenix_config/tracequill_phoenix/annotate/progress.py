"""Progress and pace of a queue and of each person, from what was done and when.

In come times; out come counts, answers an hour over active time, the middle number of seconds a
question takes, and how long the rest will take. Active is whoever does something again within
IDLE_SECONDS; a longer pause is not work, and counts for nobody. Pure: no database, no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from statistics import median

IDLE_SECONDS = 300.0
# A pace from fewer answers, or from less time, would promise too much.
_PACE_ANSWERS_MIN = 3
_PACE_SECONDS_MIN = 10.0


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer that counts; *seconds* is how long the question was shown."""

    person: str
    at: datetime
    seconds: float | None


@dataclass(slots=True)
class Pace:
    """How much was done, and how fast."""

    answers: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    median_seconds: float | None = None
    per_hour: float | None = None


@dataclass(slots=True)
class Progress:
    """The pace of all together and of each person, and the answers of each day (UTC)."""

    together: Pace
    people: dict[str, Pace] = field(default_factory=dict)
    days: list[tuple[date, int]] = field(default_factory=list)


def progress_of(answers: Iterable[Answered]) -> Progress:
    """Give the progress that *answers*, in any order, make."""
    ordered = sorted(answers, key=lambda answer: answer.at)
    by_person: dict[str, list[Answered]] = {}
    for answer in ordered:
        by_person.setdefault(answer.person, []).append(answer)
    work = {person: _sittings(done) for person, done in by_person.items()}
    days = Counter(answer.at.astimezone(UTC).date() for answer in ordered)
    return Progress(
        _pace(ordered, _union([sitting for sittings in work.values() for sitting in sittings])),
        {person: _pace(done, work[person]) for person, done in sorted(by_person.items())},
        sorted(days.items()),
    )


def seconds_left(remaining: int, per_hour: float | None) -> float | None:
    """Give how many seconds of work *remaining* answers are at that pace; None if it is unknown."""
    if not remaining:
        return 0.0
    return remaining / per_hour * 3600 if per_hour else None


Sitting = tuple[datetime, datetime]


def _sittings(answers: Sequence[Answered]) -> list[Sitting]:
    """Give when one person was active: from the first question shown to the last one answered."""
    sittings: list[Sitting] = []
    for answer in answers:
        # A question left open over lunch took nobody two hours.
        shown = min(max(answer.seconds or 0.0, 0.0), IDLE_SECONDS)
        begin = answer.at - timedelta(seconds=shown)
        if sittings and (answer.at - sittings[-1][1]).total_seconds() <= IDLE_SECONDS:
            sittings[-1] = (min(sittings[-1][0], begin), answer.at)
        else:
            sittings.append((begin, answer.at))
    return sittings


def _union(sittings: Iterable[Sitting]) -> list[Sitting]:
    """Give when anybody was active."""
    union: list[Sitting] = []
    for begin, end in sorted(sittings):
        if union and begin <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end))
        else:
            union.append((begin, end))
    return union


def _pace(answers: Sequence[Answered], sittings: Sequence[Sitting]) -> Pace:
    if not answers:
        return Pace()
    shown = [answer.seconds for answer in answers if answer.seconds is not None]
    active = sum((end - begin).total_seconds() for begin, end in _union(sittings))
    is_known = len(answers) >= _PACE_ANSWERS_MIN and active >= _PACE_SECONDS_MIN
    return Pace(
        len(answers),
        answers[0].at,
        answers[-1].at,
        round(median(shown), 1) if shown else None,
        round(len(answers) / active * 3600, 1) if is_known else None,
    )
