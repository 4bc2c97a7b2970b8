"""What is added up over items to compare people, and the coefficients of the totals.

In comes a table of codes, one row for each kind of item; out come rows of sums (one for each kind)
and a function that gives the coefficients of any weighted total of them. Which coefficients there
are depends on the label's level. Knows no people by name, and nothing of chance samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tracequill_phoenix.annotate.coefficients import (
    Array,
    corrected,
    gwet_ac,
    krippendorff_alpha,
    krippendorff_alpha_interval,
    krippendorff_alpha_ordinal,
    masi_distances,
    ordinal_weights,
)
from tracequill_phoenix.annotate.ratings import MISSING, Codes, Level, Value

PERCENT, KAPPA, ALPHA, AC1, AC2 = (
    "percent",
    "cohen_kappa",
    "krippendorff_alpha",
    "gwet_ac1",
    "gwet_ac2",
)
Pair = tuple[int, int]


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


@dataclass(slots=True)
class _Columns:
    """Arrays side by side, to be added up at once and found again by name."""

    parts: list[Array] = field(default_factory=list)
    places: dict[str, slice] = field(default_factory=dict)
    width: int = 0

    def add(self, name: str, part: Array) -> None:
        part = part.reshape(len(part), -1)
        self.places[name] = slice(self.width, self.width + part.shape[1])
        self.width += part.shape[1]
        self.parts.append(part)

    def one(self, totals: Array, name: str) -> Array:
        return totals[:, self.places[name]][:, 0]

    def many(self, totals: Array, name: str) -> Array:
        return totals[:, self.places[name]]


class Comparison:
    """The sums of each kind of item, and what their totals mean."""

    def __init__(self, measure: Measure, codes: Codes, pairs: Sequence[Pair]) -> None:
        self._measure, self._pairs = measure, pairs
        self._columns = _Columns()
        if measure.level == "interval":
            self._add_numbers(codes)
        else:
            self._add_values(codes)
        if measure.has_choices:
            self._add_pairs(codes)
        self.sums = np.hstack(self._columns.parts)

    def figures(self, totals: Array) -> dict[str, Array]:
        """Give the coefficients of each row of totals."""
        one, many = self._columns.one, self._columns.many
        level = self._measure.level
        compared = one(totals, "compared")
        percent = _divided(one(totals, "same"), compared)
        figures = {PERCENT: percent}
        if level == "interval":
            figures[ALPHA] = krippendorff_alpha_interval(
                *(one(totals, name) for name in ("disagreement", "answers", "sums", "squares"))
            )
            return figures
        if level == "ordinal":
            shape = (len(totals), self._measure.size, self._measure.size)
            figures[ALPHA] = krippendorff_alpha_ordinal(many(totals, "coincidences").reshape(shape))
        else:
            figures[ALPHA] = krippendorff_alpha(
                one(totals, "disagreement"), many(totals, "counts"), self._measure.distances
            )
        if not self._measure.has_choices:
            return figures
        shares = _divided(many(totals, "shares"), one(totals, "answered")[:, None])
        size = self._measure.size
        figures[AC1] = gwet_ac(percent, shares, np.eye(size))
        if level == "ordinal":
            near = _divided(one(totals, "near"), compared)
            figures[AC2] = gwet_ac(near, shares, ordinal_weights(size))
        figures[KAPPA] = self._kappa(totals)
        return figures

    def _kappa(self, totals: Array) -> Array:
        """Give the mean of the pairs that have a kappa."""
        size, pairs = self._measure.size, len(self._pairs)
        both = self._columns.many(totals, "both")
        observed = _divided(self._columns.many(totals, "agreed"), both)
        shape = (len(totals), pairs, size)
        firsts = self._columns.many(totals, "firsts").reshape(shape)
        seconds = self._columns.many(totals, "seconds").reshape(shape)
        expected = _divided((firsts * seconds).sum(axis=2), both**2)
        kappas = corrected(observed, expected)
        is_defined = ~np.isnan(kappas)
        return _divided(np.where(is_defined, kappas, 0).sum(axis=1), is_defined.sum(axis=1))

    def _add_values(self, codes: Codes) -> None:
        size = self._measure.size
        counts = counts_of(codes, size)
        answers = counts.sum(axis=1)
        is_compared = answers > 1
        others = np.where(is_compared, answers - 1, 1)[:, None]
        compared = counts * is_compared[:, None]
        add = self._columns.add
        add("compared", is_compared.astype(np.float64))
        same = (compared * (compared - 1)).sum(axis=1)
        add("same", same / (np.maximum(answers, 1) * others[:, 0]))
        if self._measure.level == "ordinal":
            near = compared * (compared @ ordinal_weights(size) - 1)
            add("near", near.sum(axis=1) / (np.maximum(answers, 1) * others[:, 0]))
            together = compared[:, :, None] * compared[:, None, :]
            together[:, np.arange(size), np.arange(size)] -= compared
            add("coincidences", together / others[:, :, None])
        else:
            distances = compared * (compared @ self._measure.distances)
            add("disagreement", (distances / others).sum(axis=1))
            add("counts", compared)
        add("answered", (answers > 0).astype(np.float64))
        if self._measure.has_choices:
            add("shares", counts / np.maximum(answers, 1)[:, None])

    def _add_numbers(self, codes: Codes) -> None:
        is_said = codes != MISSING
        numbers = np.where(is_said, self._measure.numbers[codes], 0.0)
        answers = is_said.sum(axis=1).astype(np.float64)
        is_compared = answers > 1
        others = np.where(is_compared, answers - 1, 1)
        sums, squares = numbers.sum(axis=1), (numbers**2).sum(axis=1)
        # Through the mean, and not as answers * squares - sums**2: equal numbers differ by nothing.
        means = sums / np.maximum(answers, 1)
        spread = (np.where(is_said, numbers - means[:, None], 0.0) ** 2).sum(axis=1)
        equal = _equal_pairs(codes)
        add = self._columns.add
        add("compared", is_compared.astype(np.float64))
        add("same", 2 * equal / (np.maximum(answers, 1) * others) * is_compared)
        add("disagreement", 2 * answers * spread / others * is_compared)
        add("answers", answers * is_compared)
        add("sums", sums * is_compared)
        add("squares", squares * is_compared)

    def _add_pairs(self, codes: Codes) -> None:
        size, rows = self._measure.size, len(codes)
        firsts = codes[:, [first for first, _ in self._pairs]]
        seconds = codes[:, [second for _, second in self._pairs]]
        both = (firsts != MISSING) & (seconds != MISSING)
        add = self._columns.add
        add("both", both.astype(np.float64))
        add("agreed", (both & (firsts == seconds)).astype(np.float64))
        every = np.arange(size)
        for name, said in (("firsts", firsts), ("seconds", seconds)):
            chosen = (np.where(both, said, MISSING)[:, :, None] == every).astype(np.float64)
            add(name, chosen.reshape(rows, len(self._pairs) * size))


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


def _divided(part: Array, whole: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
