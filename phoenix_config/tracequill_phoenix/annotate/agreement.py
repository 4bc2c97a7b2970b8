"""How far people agree about a label, beyond what chance gives: all of them, and each two.

In come answers of any number of people, some of them missing; out come percent agreement, Cohen's
kappa, Krippendorff's alpha and Gwet's AC1 (AC2 beside it where choices stand in an order), each
with an interval, or with a sentence why it has no value. The definitions and their sources stand
in ``coefficients``. Equal data gives equal figures, in whatever order it comes.

What is compared depends on the label. Choices are the same or not; where each has a score of its
own they stand in that order, and alpha and AC2 count a near miss as one. Numbers are compared by
the square of their difference. Several tags at once are compared as sets: alpha takes
Passonneau's MASI distance, and percent counts equal sets. Free text is not compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tracequill_phoenix.annotate.comparison import (
    AC1,
    AC2,
    ALPHA,
    KAPPA,
    PERCENT,
    Comparison,
    Measure,
    Pair,
    measure_of,
)
from tracequill_phoenix.annotate.labels import Label
from tracequill_phoenix.annotate.ratings import MISSING, Codes, Level, Said, level_of, ratings_of
from tracequill_phoenix.annotate.resampling import Score, scores

# Tables of distances grow with the square of it.
VALUES_MAX = 256
# Of more pairs, those with the most questions in common are shown.
PAIRS_MAX = 200
# Numbers in memory for the mean of the pairs' kappas: 160 MB.
_PAIR_SUMS_MAX = 2e7

_TEXT = "free text has no measure of agreement."
_NOBODY = "no question has answers of two people yet."
_ONE_VALUE = "everybody always said the same, so what chance would give cannot be told."
_NO_KAPPA = "no two people have both used more than one choice on questions they share."
_ONE_CHOICE = "the label has one choice only."
_NOT_CHOICES = "it is for labels of which one choice is taken."
_TOO_MANY = f"there are more than {VALUES_MAX} different values."
_TOO_MANY_PAIRS = "too many pairs of people for a mean; see each pair."


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
    level = level_of(label)
    ratings = ratings_of(label, answers if level != "text" else ())
    codes, people = ratings.codes, ratings.people
    items = int(((codes != MISSING).sum(axis=1) > 1).sum())
    why = None
    if level == "text":
        why = _TEXT
    elif not items:
        why = _NOBODY
    elif level != "interval" and len(ratings.values) > VALUES_MAX:
        why = _TOO_MANY
    if why is not None:
        missing = {name: Score(None, why=why) for name in _names(level)}
        return LabelAgreement(label.name, label.kind, level, items, len(people), missing, [])
    measure = measure_of(level, ratings.values)
    shared = _shared(codes)
    kept = sorted(shared, key=lambda pair: -shared[pair])[:PAIRS_MAX]
    pairs = [
        PairAgreement(
            (people[pair[0]], people[pair[1]]),
            shared[pair],
            _scores(measure, _both(codes, pair), [(0, 1)], share_of_time / (len(kept) + 1)),
        )
        for pair in sorted(kept)
    ]
    overall = (
        dict(pairs[0].scores)
        if len(people) == 2
        else _scores(measure, codes, list(shared), share_of_time)
    )
    return LabelAgreement(label.name, label.kind, level, items, len(people), overall, pairs)


def _names(level: Level) -> tuple[str, ...]:
    names = (PERCENT, KAPPA, ALPHA, AC1)
    return (*names, AC2) if level == "ordinal" else names


def _shared(codes: Codes) -> dict[Pair, int]:
    """Count the items that each two people share."""
    said = (codes != MISSING).astype(np.float64)
    shared = (said.T @ said).astype(int)
    columns = itertools.combinations(range(codes.shape[1]), 2)
    return {pair: int(shared[pair]) for pair in columns if shared[pair]}


def _both(codes: Codes, pair: Pair) -> Codes:
    columns = codes[:, list(pair)]
    both: Codes = columns[(columns != MISSING).all(axis=1)]
    return both


def _scores(
    measure: Measure, codes: Codes, pairs: Sequence[Pair], share_of_time: float
) -> dict[str, Score]:
    """Compare all columns of *codes*; kappa, which is for two, is the mean of *pairs*."""
    kinds, repeats = np.unique(codes, axis=0, return_counts=True)
    has_kappa = len(kinds) * len(pairs) * (measure.size + 1) * 2 <= _PAIR_SUMS_MAX
    comparison = Comparison(measure, kinds, pairs if has_kappa else [])
    items = int(repeats[(kinds != MISSING).sum(axis=1) > 1].sum())
    found = scores(
        comparison.sums,
        repeats.astype(np.float64),
        comparison.figures,
        items=items,
        share_of_time=share_of_time,
    )
    return {
        name: _explained(found.get(name), name, measure, has_kappa)
        for name in _names(measure.level)
    }


def _explained(score: Score | None, name: str, measure: Measure, has_kappa: bool) -> Score:
    """Say why a figure is missing."""
    if score is None:
        return Score(None, why=_NOT_CHOICES)
    if score.value is not None:
        return score
    if name in (AC1, AC2):
        return Score(None, why=_ONE_CHOICE)
    if name == KAPPA:
        return Score(None, why=_NO_KAPPA if has_kappa else _TOO_MANY_PAIRS)
    assert name == ALPHA, name  # two answers on one item are enough for percent
    return Score(None, why=_ONE_VALUE)
