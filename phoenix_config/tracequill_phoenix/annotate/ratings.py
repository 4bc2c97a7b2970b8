"""Answers to one label as a table of items and people, in an order that depends on nothing.

In come who said what of which item, in any order; out comes a table with one row for each item,
one column for each person, and a mark where nothing was said. The order of rows and columns is
fixed by the content, so that what is drawn by chance from equal data is equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def value_of(label: Label, value: Mapping[str, Any] | None) -> Value | None:
    """Give what *value*, as it is kept, says; None where it says nothing that can be compared."""
    if not value:
        return None
    if label.kind == "CONTINUOUS":
        score = value.get("score")
        return None if score is None else float(score)
    if label.kind == "FREEFORM":
        return None
    if label.multiple:
        tags = value.get("labels")
        return frozenset(tags) if tags else None
    said = value.get("label")
    return said if isinstance(said, str) else None


def ratings_of(label: Label, answers: Iterable[Said]) -> Ratings:
    """Arrange *answers* in a table; what a person said last of an item holds."""
    said = {(answer.item, answer.person): answer.value for answer in answers}
    people = sorted({person for _, person in said})
    values = _values(label, set(said.values()))
    row_of = {item: row for row, item in enumerate(dict.fromkeys(item for item, _ in said))}
    column_of = {person: column for column, person in enumerate(people)}
    code_of = {value: code for code, value in enumerate(values)}
    codes = np.full((len(row_of), len(people)), MISSING, dtype=np.int64)
    if said:
        rows = [row_of[item] for item, _ in said]
        columns = [column_of[person] for _, person in said]
        codes[rows, columns] = [code_of[value] for value in said.values()]
    return Ratings(people, values, codes[np.lexsort(codes.T[::-1])] if said else codes)


def _values(label: Label, found: set[Value]) -> list[Value]:
    """All that could be said, in its order; a choice that the label no longer has comes last."""
    if label.kind == "CONTINUOUS" or label.multiple:
        return sorted(found, key=lambda value: sorted(value) if label.multiple else value)  # type: ignore[arg-type]
    choices = list(label.values)
    if level_of(label) == "ordinal":
        choices.sort(key=lambda choice: choice.score or 0.0)
    known: list[Value] = [choice.label for choice in choices]
    return known + sorted(found - set(known), key=str)
