"""Labels and answers to them, written as tables, for tests of agreement."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tracequill_phoenix.annotate.labels import Choice, Label
from tracequill_phoenix.annotate.ratings import Said, Value
from tracequill_phoenix.annotate.resampling import Score

Rows = Sequence[Sequence[object]]


def choices(*values: object) -> Label:
    return Label("q", "CATEGORICAL", values=tuple(Choice(str(value)) for value in values))


def ordered(*values: object) -> Label:
    scored = (Choice(str(value), float(place)) for place, value in enumerate(values))
    return Label("q", "CATEGORICAL", values=tuple(scored))


NUMBER = Label("q", "CONTINUOUS")
TAGS = Label(
    "q", "CATEGORICAL", multiple=True, values=tuple(Choice(tag) for tag in ("a", "b", "c"))
)
TEXT = Label("q", "FREEFORM")


def said(rows: Rows, read: Callable[[object], Value] = str) -> list[Said]:
    return [
        Said(item, f"person {column}", read(value))
        for item, row in enumerate(rows)
        for column, value in enumerate(row)
        if value is not None
    ]


def number(value: object) -> float:
    assert isinstance(value, (int, float))
    return float(value)


def table(cells: Sequence[Sequence[int]]) -> list[Said]:
    """Two people: *cells[k][l]* times one said k while the other said l."""
    rows = [
        [first, second]
        for first, row in enumerate(cells)
        for second, count in enumerate(row)
        for _ in range(count)
    ]
    return said(rows)


def figure(score: Score) -> float:
    assert score.value is not None, score.why
    return score.value
