"""What is added up over items to compare people, and the coefficients of the totals.

In comes a table of codes, of all people or of two; out come sums, a row for each group of items,
and the coefficients of their totals. Which coefficients there are depends on the label's level.
Knows no people by name, and nothing of how samples are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracequill_phoenix.annotate.coefficients import (
    Array,
    cohen_kappa,
    gwet_ac,
    krippendorff_alpha,
    krippendorff_alpha_interval,
    krippendorff_alpha_ordinal,
    masi_distances,
    ordinal_weights,
    quadratic_weights,
    weighted_kappa,
)
from tracequill_phoenix.annotate.ratings import MISSING, Codes, Level, Value

PERCENT, KAPPA, WEIGHTED, ALPHA, AC1, AC2 = (
    "percent",
    "cohen_kappa",
    "weighted_kappa",
    "krippendorff_alpha",
    "gwet_ac1",
    "gwet_ac2",
)
# Two people's measures; for more people the mean of all pairs is taken.
OF_TWO = (KAPPA, WEIGHTED)
Figures = dict[str, Array]
# Gives for each draw the totals of sums.
Totals = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Measure:
    """What two values of a label count as.

    *distances* is alpha's metric where that is fixed, *numbers* are values that are numbers.
    """

    level: Level
    size: int
    distances: Array
    numbers: Array

    @property
    def has_choices(self) -> bool:
        """Whether one of known values is taken."""
        return self.level in ("nominal", "ordinal")

    @property
    def names(self) -> tuple[str, ...]:
        """Give the names of the measures that there are."""
        return names_of(self.level)

    @property
    def width(self) -> int:
        """Give how many numbers are added up to compare two people."""
        if self.level == "ordinal":
            return self.size**2
        return 5 if self.level == "interval" else 2 * self.size + 2


def names_of(level: Level) -> tuple[str, ...]:
    """Give the names of the measures of a label of this *level*, also of those without a value."""
    names = (PERCENT, KAPPA, ALPHA, AC1)
    return (*names, WEIGHTED, AC2) if level == "ordinal" else names


def measure_of(level: Level, values: Sequence[Value]) -> Measure:
    """Say how *values* are compared."""
    size = len(values)
    if level == "interval":
        numbers = np.array(values, dtype=np.float64)
        numbers = numbers / (np.abs(numbers).max(initial=0.0) or 1.0)
        # From near zero, squares keep their digits.
        return Measure(level, size, np.empty((0, 0)), numbers - numbers[:1])
    if level == "sets":
        sets = [value for value in values if isinstance(value, frozenset)]
        return Measure(level, size, masi_distances(sets), np.empty(0))
    return Measure(level, size, 1 - np.eye(size), np.empty(0))


class _Sums:
    """Numbers of items, added up for each group; then totals of the groups, by name."""

    def __init__(self, groups: npt.NDArray[np.int64], size: int) -> None:
        self._groups, self._size = groups, size
        self._parts: list[Array] = []
        self._places: dict[str, slice] = {}
        self._width = 0

    def add(self, name: str, part: Array) -> None:
        """Add up *part*, which has one row for each item."""
        part = part.reshape(len(part), -1)
        columns = [
            np.bincount(self._groups, weights=column, minlength=self._size) for column in part.T
        ]
        self._keep(name, np.stack(columns, axis=1))

    def count(self, name: str, codes: Codes, values: int) -> None:
        """Count how often each of *values* values is in *codes*, which has one for each item."""
        cells = self._groups * values + codes
        counts = np.bincount(cells, minlength=self._size * values)
        self._keep(name, counts.reshape(self._size, values).astype(np.float64))

    def _keep(self, name: str, sums: Array) -> None:
        self._places[name] = slice(self._width, self._width + sums.shape[1])
        self._width += sums.shape[1]
        self._parts.append(sums)

    def totals(self, totals: Totals) -> dict[str, Array]:
        """Give by name what *totals* makes of the sums."""
        every = totals(np.hstack(self._parts))
        return {name: every[:, place] for name, place in self._places.items()}


# --- all people ------------------------------------------------------------------------------


def compare_all(
    measure: Measure, codes: Codes, groups: npt.NDArray[np.int64], size: int, totals: Totals
) -> Figures:
    """Give the measures of all people together, those of two people left out.

    *codes* has a row for each item and a column for each person; row i belongs to ``groups[i]``
    of *size* groups.
    """
    sums = _Sums(groups, size)
    if measure.level == "interval":
        _add_numbers(sums, measure, codes)
    else:
        _add_values(sums, measure, codes)
    found = sums.totals(totals)
    figures = {PERCENT: _one(_divided(found["same"], found["compared"]))}
    if measure.level == "interval":
        parts = (_one(found[name]) for name in ("disagreement", "answers", "sums", "squares"))
        figures[ALPHA] = krippendorff_alpha_interval(*parts)
        return figures
    if measure.level == "ordinal":
        figures[ALPHA] = krippendorff_alpha_ordinal(_square(found["coincidences"], measure))
    else:
        figures[ALPHA] = krippendorff_alpha(
            _one(found["disagreement"]), found["counts"], measure.distances
        )
    if measure.has_choices:
        near = _divided(found["near"], found["compared"]) if "near" in found else None
        shares = _divided(found["shares"], found["answered"])
        _add_gwets(figures, measure, shares, None if near is None else _one(near))
    return figures


def _add_values(sums: _Sums, measure: Measure, codes: Codes) -> None:
    size = measure.size
    counts = counts_of(codes, size)
    answers = counts.sum(axis=1)
    is_compared = answers > 1
    others = np.where(is_compared, answers - 1, 1)[:, None]
    pairs = np.maximum(answers, 1) * others[:, 0]
    compared = counts * is_compared[:, None]
    sums.add("compared", is_compared.astype(np.float64))
    sums.add("same", (compared * (compared - 1)).sum(axis=1) / pairs)
    if measure.level == "ordinal":
        near = compared * (compared @ ordinal_weights(size) - 1)
        sums.add("near", near.sum(axis=1) / pairs)
        together = compared[:, :, None] * compared[:, None, :]
        together[:, np.arange(size), np.arange(size)] -= compared
        sums.add("coincidences", together / others[:, :, None])
    else:
        distances = compared * (compared @ measure.distances)
        sums.add("disagreement", (distances / others).sum(axis=1))
        sums.add("counts", compared)
    if measure.has_choices:
        sums.add("answered", (answers > 0).astype(np.float64))
        sums.add("shares", counts / np.maximum(answers, 1)[:, None])


def _add_numbers(sums: _Sums, measure: Measure, codes: Codes) -> None:
    is_said = codes != MISSING
    numbers = np.where(is_said, measure.numbers[codes], 0.0)
    answers = is_said.sum(axis=1).astype(np.float64)
    is_compared = answers > 1
    others = np.where(is_compared, answers - 1, 1)
    added, squares = numbers.sum(axis=1), (numbers**2).sum(axis=1)
    # Through the mean, and not as answers * squares - added**2: equal numbers differ by nothing.
    means = added / np.maximum(answers, 1)
    spread = (np.where(is_said, numbers - means[:, None], 0.0) ** 2).sum(axis=1)
    sums.add("compared", is_compared.astype(np.float64))
    sums.add("same", 2 * _equal_pairs(codes) / (np.maximum(answers, 1) * others) * is_compared)
    sums.add("disagreement", 2 * answers * spread / others * is_compared)
    sums.add("answers", answers * is_compared)
    sums.add("sums", added * is_compared)
    sums.add("squares", squares * is_compared)


# --- two people ------------------------------------------------------------------------------


def compare_two(
    measure: Measure,
    first: Codes,
    second: Codes,
    groups: npt.NDArray[np.int64],
    size: int,
    totals: Totals,
) -> Figures:
    """Give the measures of two people, over the items that both have answered."""
    sums = _Sums(groups, size)
    if measure.level == "ordinal":
        sums.count("table", first * measure.size + second, measure.size**2)
        return _of_table(measure, _square(sums.totals(totals)["table"], measure))
    if measure.level == "interval":
        return _of_numbers(measure, first, second, sums, totals)
    sums.count("firsts", first, measure.size)
    sums.count("seconds", second, measure.size)
    sums.add("same", (first == second).astype(np.float64))
    if measure.level == "sets":
        sums.add("apart", measure.distances[first, second])
    found = sums.totals(totals)
    firsts, seconds = found["firsts"], found["seconds"]
    both, same = firsts.sum(axis=1), _one(found["same"])
    figures = {PERCENT: _divided(same, both)}
    apart = both - same if measure.has_choices else _one(found["apart"])
    figures[ALPHA] = krippendorff_alpha(2 * apart, firsts + seconds, measure.distances)
    if measure.has_choices:
        _add_choices(figures, measure, firsts, seconds, None)
    return figures


def _of_table(measure: Measure, tables: Array) -> Figures:
    """Give the measures of two people who choose from values in order."""
    firsts, seconds = tables.sum(axis=2), tables.sum(axis=1)
    both = firsts.sum(axis=1)
    figures = {PERCENT: _divided(np.trace(tables, axis1=1, axis2=2), both)}
    figures[ALPHA] = krippendorff_alpha_ordinal(tables + tables.transpose(0, 2, 1))
    _add_choices(figures, measure, firsts, seconds, tables)
    return figures


def _add_choices(
    figures: Figures, measure: Measure, firsts: Array, seconds: Array, tables: Array | None
) -> None:
    both = firsts.sum(axis=1, keepdims=True)
    first_shares, second_shares = _divided(firsts, both), _divided(seconds, both)
    figures[KAPPA] = cohen_kappa(figures[PERCENT], first_shares, second_shares)
    near = None
    if tables is not None:
        near = _weighted(tables, ordinal_weights(measure.size))
        weights = quadratic_weights(measure.size)
        figures[WEIGHTED] = weighted_kappa(
            _weighted(tables, weights), first_shares, second_shares, weights
        )
    _add_gwets(figures, measure, (first_shares + second_shares) / 2, near)


def _of_numbers(
    measure: Measure, first: Codes, second: Codes, sums: _Sums, totals: Totals
) -> Figures:
    one, other = measure.numbers[first], measure.numbers[second]
    sums.add("both", np.ones(len(one)))
    sums.add("same", (first == second).astype(np.float64))
    sums.add("disagreement", 2 * (one - other) ** 2)
    sums.add("sums", one + other)
    sums.add("squares", one**2 + other**2)
    found = {name: _one(total) for name, total in sums.totals(totals).items()}
    alpha = krippendorff_alpha_interval(
        found["disagreement"], 2 * found["both"], found["sums"], found["squares"]
    )
    return {PERCENT: _divided(found["same"], found["both"]), ALPHA: alpha}


# --- both ------------------------------------------------------------------------------------


def _add_gwets(figures: Figures, measure: Measure, shares: Array, near: Array | None) -> None:
    figures[AC1] = gwet_ac(figures[PERCENT], shares, np.eye(measure.size))
    if near is not None:
        figures[AC2] = gwet_ac(near, shares, ordinal_weights(measure.size))


def counts_of(codes: Codes, size: int) -> Array:
    """Count in each row how often each of *size* values was said."""
    rows = len(codes)
    shifted = codes + np.arange(rows)[:, None] * size
    found = shifted[codes != MISSING]
    return np.bincount(found, minlength=rows * size).reshape(rows, size).astype(np.float64)


def _equal_pairs(codes: Codes) -> Array:
    """Count in each row the pairs of people who said the same."""
    ordered = np.sort(codes, axis=1)
    equal = np.zeros(len(codes))
    run = np.zeros(len(codes))
    for column in range(1, codes.shape[1]):
        is_again = (ordered[:, column] == ordered[:, column - 1]) & (ordered[:, column] != MISSING)
        run = np.where(is_again, run + 1, 0)
        equal += run
    return equal


def _one(column: Array) -> Array:
    return column[:, 0]


def _square(cells: Array, measure: Measure) -> Array:
    return cells.reshape(len(cells), measure.size, measure.size)


def _weighted(tables: Array, weights: Array) -> Array:
    return _divided((tables * weights).sum(axis=(1, 2)), tables.sum(axis=(1, 2)))


def _divided(part: Array, whole: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
