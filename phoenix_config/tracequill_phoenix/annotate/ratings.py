"""Answers to one label as a table of items and people, in an order that depends on nothing.

In come who said what of which item, in any order; out comes a table with one row for each item,
one column for each person, and a mark where nothing was said. The order of rows and columns is
fixed by the content, so that what is drawn by chance from equal data is equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tracequill_phoenix.annotate.labels import Label

Level = Literal["nominal", "ordinal", "interval", "sets", "text"]
Value = str | float | frozenset[str]
Codes = npt.NDArray[np.int64]

MISSING = -1
# Of two choices every order is the same; of more than so many, nobody thinks of one.
_ORDERED_MIN, _ORDERED_MAX = 3, 12


@dataclass(frozen=True, slots=True)
class Said:
    """What one person said of one item."""

    item: int
    person: str
    value: Value


@dataclass(frozen=True, slots=True)
class Ratings:
    """A table of codes: *values[code]* was said, or nothing where the code is MISSING."""

    people: Sequence[str]
    values: Sequence[Value]
    codes: Codes
    level: Level


def level_of(label: Label) -> Level:
    """Say what can be compared: choices that all have scores of their own stand in an order."""
    if label.kind == "FREEFORM":
        return "text"
    if label.kind == "CONTINUOUS":
        return "interval"
    if label.multiple:
        return "sets"
    scores = [choice.score for choice in label.values]
    is_ordered = None not in scores and len(set(scores)) == len(scores)
    return "ordinal" if is_ordered and _ORDERED_MIN <= len(scores) <= _ORDERED_MAX else "nominal"


def value_in(label: Label, value: Any) -> Value:
    """Give what *value* says, read from the place where values of its kind are kept."""
    if label.kind == "CONTINUOUS":
        return float(value)
    return frozenset(value) if label.multiple else str(value)


def ratings_of(label: Label, answers: Iterable[Said]) -> Ratings:
    """Arrange *answers* in a table; what a person said last of an item holds."""
    said = {(answer.item, answer.person): answer.value for answer in answers}
    people = list(dict.fromkeys(person for _, person in said))
    values = list(dict.fromkeys(said.values()))
    column_of = {person: column for column, person in enumerate(people)}
    code_of = {value: code for code, value in enumerate(values)}
    return arranged(
        label,
        people,
        values,
        np.array([item for item, _ in said], dtype=np.int64),
        np.array([column_of[person] for _, person in said], dtype=np.int64),
        np.array([code_of[value] for value in said.values()], dtype=np.int64),
    )


def arranged(
    label: Label,
    people: Sequence[str],
    values: Sequence[Value],
    items: Codes,
    columns: Codes,
    codes: Codes,
) -> Ratings:
    """Arrange answers in a table: ``people[columns[i]]`` said ``values[codes[i]]`` of ``items[i]``.

    No person said two things of one item.
    """
    level = level_of(label)
    if level == "text" or not len(items):
        return Ratings(people, [], np.empty((0, len(people)), dtype=np.int64), level)
    ordered_people = sorted(people)
    ordered_values, is_known = _values(label, set(values))
    if level == "ordinal" and not is_known:
        level = "nominal"  # nothing says where in the order it stood
    column_of = {person: column for column, person in enumerate(ordered_people)}
    code_of = {value: code for code, value in enumerate(ordered_values)}
    rows = np.unique(items, return_inverse=True)[1]
    table = np.full((int(rows.max()) + 1, len(people)), MISSING, dtype=np.int64)
    new_columns = np.array([column_of[person] for person in people], dtype=np.int64)
    new_codes = np.array([code_of[value] for value in values], dtype=np.int64)
    table[rows, new_columns[columns]] = new_codes[codes]
    return Ratings(ordered_people, ordered_values, table[np.lexsort(table.T[::-1])], level)


def _values(label: Label, found: set[Value]) -> tuple[list[Value], bool]:
    """All that could be said, in its order, and whether that holds all that was *found*.

    A choice that the label no longer has comes last.
    """
    if label.kind == "CONTINUOUS" or label.multiple:
        return (
            sorted(found, key=lambda value: sorted(value) if label.multiple else value),  # type: ignore[arg-type]
            True,
        )
    choices = list(label.values)
    if level_of(label) == "ordinal":
        choices.sort(key=lambda choice: choice.score or 0.0)
    known: list[Value] = [choice.label for choice in choices]
    gone = sorted(found - set(known), key=str)
    return known + gone, not gone
