"""How far people agree about a label, beyond what chance gives: all of them, and each two.

In come answers of any number of people, some of them missing; out come percent agreement, Cohen's
kappa, Krippendorff's alpha and Gwet's AC1 (weighted kappa and AC2 beside them where choices stand
in an order), each with an interval, or with a sentence why it has no value. The definitions and
their sources stand in ``coefficients``. Equal data gives equal figures, in whatever order it comes.

What is compared depends on the label. Choices are the same or not; where each has a score of its
own they stand in that order, and alpha, AC2 and weighted kappa count a near miss as one. Numbers
are compared by the square of their difference. Several tags at once are compared as sets: alpha
takes Passonneau's MASI distance, and percent counts equal sets. Free text is not compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tracequill_phoenix.annotate.coefficients import Array
from tracequill_phoenix.annotate.comparison import (
    AC1,
    AC2,
    ALPHA,
    OF_TWO,
    Figures,
    Measure,
    compare_all,
    compare_two,
    measure_of,
    names_of,
)
from tracequill_phoenix.annotate.labels import Label
from tracequill_phoenix.annotate.ratings import MISSING, Codes, Level, Ratings, Said, ratings_of
from tracequill_phoenix.annotate.resampling import Draws, Score, score

# Tables of distances grow with the square of it.
VALUES_MAX = 256
# Of more pairs, those with the most questions in common are shown.
PAIRS_MAX = 200
# Of more pairs no mean is taken.
_MEAN_PAIRS_MAX = 1000

_TEXT = "free text has no measure of agreement."
_NOBODY = "no question has answers of two people yet."
_ONE_VALUE = "everybody always said the same, so what chance would give cannot be told."
_NO_KAPPA = "no two people have both used more than one choice on questions they share."
_ONE_CHOICE = "the label has one choice only."
_NOT_CHOICES = "it is only for labels with one choice."
_TOO_MANY = f"there are more than {VALUES_MAX} different values."
_TOO_MANY_PAIRS = "too many pairs of people for a mean; see each pair."

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """What two people agree about, over the *items* that both have answered."""

    people: tuple[str, str]
    items: int
    scores: dict[str, Score]


@dataclass(frozen=True, slots=True)
class LabelAgreement:
    """What all *people* agree about; *items* have answers of two of them or more."""

    name: str
    kind: str
    level: Level
    items: int
    people: int
    scores: dict[str, Score]
    pairs: list[PairAgreement]


def agreement_of(
    label: Label, answers: Iterable[Said], *, share_of_time: float = 1.0
) -> LabelAgreement:
    """Give the agreement about *label*; a smaller *share_of_time* draws fewer samples."""
    return agreement_in(label, ratings_of(label, answers), share_of_time=share_of_time)


def agreement_in(label: Label, ratings: Ratings, *, share_of_time: float = 1.0) -> LabelAgreement:
    """Give the agreement about *label* that the table *ratings* shows."""
    codes, people, level = ratings.codes, ratings.people, ratings.level
    items = int(((codes != MISSING).sum(axis=1) > 1).sum())
    why = None
    if level == "text":
        why = _TEXT
    elif not items:
        why = _NOBODY
    elif level != "interval" and len(ratings.values) > VALUES_MAX:
        why = _TOO_MANY
    if why is not None:
        missing = {name: Score(None, why=why) for name in names_of(level)}
        return LabelAgreement(label.name, label.kind, level, items, len(people), missing, [])
    measure = measure_of(level, ratings.values)
    comparison = _Comparison(measure, codes, share_of_time)
    pairs = [
        PairAgreement((people[first], people[second]), shared, scores)
        for (first, second), shared, scores in comparison.pairs()
    ]
    if len(people) == 2:
        overall = dict(pairs[0].scores)
    else:
        overall = comparison.together(items)
    return LabelAgreement(label.name, label.kind, level, items, len(people), overall, pairs)


class _Comparison:
    """All people and each two, in the same draws."""

    def __init__(self, measure: Measure, codes: Codes, share_of_time: float) -> None:
        self._measure, self._codes = measure, codes
        said = (codes != MISSING).astype(np.float64)
        shared = np.triu((said.T @ said).astype(np.int64), 1)
        self._shared = {
            (int(first), int(second)): int(shared[first, second])
            for first, second in zip(*np.nonzero(shared), strict=True)
        }
        most = sorted(self._shared, key=lambda pair: -self._shared[pair])
        self._shown = sorted(most[:PAIRS_MAX])
        has_mean = measure.has_choices and len(most) <= _MEAN_PAIRS_MAX
        self._compared = sorted(self._shared) if has_mean else self._shown
        self._has_mean = has_mean
        width = measure.width * len(self._compared) + measure.size
        self._draws = Draws(len(codes), width, share_of_time)
        self._means = {name: _Mean() for name in OF_TWO}

    def pairs(self) -> list[tuple[Pair, int, dict[str, Score]]]:
        """Give each pair that is shown, with the number of items that both have answered."""
        shown, is_shown = [], set(self._shown)
        for pair in self._compared:
            figures = self._of_two(pair)
            if self._has_mean:
                for name, mean in self._means.items():
                    if name in figures:
                        mean.add(figures[name])
            if pair in is_shown:
                shown.append((pair, self._shared[pair], self._scores(figures, self._shared[pair])))
        return shown

    def together(self, items: int) -> dict[str, Score]:
        """Give the scores of all people; kappas, which are for two, are the means of the pairs.

        ``pairs`` comes first.
        """
        draws = self._draws
        figures = compare_all(self._measure, self._codes, draws.group_of, draws.size, draws.totals)
        if self._has_mean:
            for name, mean in self._means.items():
                if mean.number is not None:
                    figures[name] = mean.value()
        return self._scores(figures, items)

    def _of_two(self, pair: Pair) -> Figures:
        first, second = (self._codes[:, column] for column in pair)
        rows = np.flatnonzero((first != MISSING) & (second != MISSING))
        # Two of very many people share few groups.
        groups, places = np.unique(self._draws.group_of[rows], return_inverse=True)
        return compare_two(
            self._measure,
            first[rows],
            second[rows],
            places,
            len(groups),
            lambda sums: self._draws.totals(sums, groups),
        )

    def _scores(self, figures: Figures, items: int) -> dict[str, Score]:
        return {
            name: self._explained(figures.get(name), name, items) for name in self._measure.names
        }

    def _explained(self, drawn: Array | None, name: str, items: int) -> Score:
        """Say why a figure is missing."""
        if drawn is None:
            is_mean = name in OF_TWO and self._measure.has_choices
            return Score(None, why=_TOO_MANY_PAIRS if is_mean else _NOT_CHOICES)
        found = score(drawn, items)
        if found.value is not None:
            return found
        if name in (AC1, AC2):
            return Score(None, why=_ONE_CHOICE)
        if name in OF_TWO:
            return Score(None, why=_NO_KAPPA)
        assert name == ALPHA, name  # two answers on one item are enough for percent
        return Score(None, why=_ONE_VALUE)


class _Mean:
    """The mean of those pairs that have a value, draw by draw."""

    def __init__(self) -> None:
        self.number: Array | None = None
        self._sum: Array | None = None

    def add(self, figures: Array) -> None:
        is_defined = ~np.isnan(figures)
        values = np.where(is_defined, figures, 0.0)
        self._sum = values if self._sum is None else self._sum + values
        one = is_defined.astype(np.float64)
        self.number = one if self.number is None else self.number + one

    def value(self) -> Array:
        """Give the mean of each draw."""
        assert self.number is not None
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.number > 0, self._sum / self.number, np.nan)  # type: ignore[operator]
