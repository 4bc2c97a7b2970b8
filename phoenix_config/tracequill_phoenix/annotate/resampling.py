"""How sure a figure is: the data is drawn anew from itself, item by item, many times.

In come one row of sums for each item and a function of their totals; out come the figures and
95 % intervals of percentiles (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter
13). The seed is fixed: the same data gives the same interval. Time is bounded: the more there is to
add up, the fewer draws are made, never fewer than DRAWS_MIN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tracequill_phoenix.annotate.coefficients import Array

DRAWS_MAX = 1000
DRAWS_MIN = 200
# Below it, too few different draws exist for their percentiles to say anything.
ITEMS_MIN = 5

_SEED = 20_240_229
# Multiplications over all draws, about one second; numbers drawn; numbers in memory at once.
_WORK_MAX = 5e9
_DRAWN_MAX = 2e7
_BLOCK = 2_000_000
# With fewer kinds of items it is faster to draw how often each kind comes.
_FEW_KINDS = 500
_ENDS = (2.5, 97.5)

TOO_FEW = f"fewer than {ITEMS_MIN} questions are too few for an interval."
NO_INTERVAL = "in too many of the samples drawn it has no value, so there is no interval."


@dataclass(frozen=True, slots=True)
class Score:
    """A figure with its 95 % interval; *why* says in a sentence why one of them is missing."""

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str | None = None

    def to_json(self) -> dict[str, float | str | None]:
        """Give the figure as the API shows it."""
        return {"value": self.value, "low": self.low, "high": self.high, "why": self.why}


Figures = Callable[[Array], dict[str, Array]]


def scores(
    sums: Array, repeats: Array, figures: Figures, *, items: int, share_of_time: float = 1.0
) -> dict[str, Score]:
    """Give each figure of the totals of *sums*, whose rows stand for *repeats* items each.

    *items* is the number of items that can say something about agreement.
    """
    whole = {name: float(value[0]) for name, value in figures((repeats @ sums)[None, :]).items()}
    if items < ITEMS_MIN:
        return {name: Score(_or_none(value), why=TOO_FEW) for name, value in whole.items()}
    drawn: dict[str, list[Array]] = {name: [] for name in whole}
    for weights in _draws(repeats, sums.shape[1], share_of_time):
        for name, values in figures(weights @ sums).items():
            drawn[name].append(values)
    return {name: _score(value, np.concatenate(drawn[name])) for name, value in whole.items()}


def _score(value: float, drawn: Array) -> Score:
    defined = drawn[~np.isnan(drawn)]
    if np.isnan(value):
        return Score(None)
    if len(defined) * 2 < len(drawn):
        return Score(value, why=NO_INTERVAL)
    low, high = (float(end) for end in np.percentile(defined, _ENDS))
    return Score(value, min(low, value), max(high, value))


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _draws(repeats: Array, width: int, share_of_time: float) -> Iterator[Array]:
    """Give how often each row comes in each draw, some draws at a time."""
    kinds, items = len(repeats), int(repeats.sum())
    affordable = min(_WORK_MAX / (kinds * width), _DRAWN_MAX / min(items, 10 * kinds))
    draws = int(np.clip(affordable * share_of_time, DRAWS_MIN, DRAWS_MAX))
    chance = np.random.default_rng(_SEED)
    at_once = max(1, _BLOCK // max(items if kinds > _FEW_KINDS else kinds, width))
    kind_of = np.repeat(np.arange(kinds), repeats.astype(np.int64))
    for start in range(0, draws, at_once):
        size = min(at_once, draws - start)
        if kinds <= _FEW_KINDS:
            yield chance.multinomial(items, repeats / items, size=size).astype(np.float64)
        else:
            chosen = kind_of[chance.integers(0, items, size=(size, items))]
            chosen += np.arange(size)[:, None] * kinds
            counts = np.bincount(chosen.ravel(), minlength=size * kinds)
            yield counts.reshape(size, kinds).astype(np.float64)
