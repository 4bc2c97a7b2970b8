"""How sure a figure is: the data is drawn anew from itself, item by item, many times.

In come sums for each item; out come their totals in the data and in every draw, and 95 % intervals
of percentiles (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13). The seed
is fixed: the same data gives the same interval. Time is bounded: the more there is to add up, the
fewer draws are made, never fewer than DRAWS_MIN; and of more than GROUPS_MAX items, groups put
together by chance are drawn instead of single ones. Sums over such groups vary as those over single
items do, and GROUPS_MAX of them tell how much they vary to within some 2 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracequill_phoenix.annotate.coefficients import Array

Places = npt.NDArray[np.int64]

DRAWS_MAX = 1000
DRAWS_MIN = 200
GROUPS_MAX = 1000
# Below it, too few different draws exist for their percentiles to say anything.
ITEMS_MIN = 5
# Below it, intervals of percentiles are known to be too narrow (Efron and Tibshirani, chapter 14).
ITEMS_FEW = 30

_SEED = 20_240_229
# Multiplications over all draws, about half a second.
_WORK_MAX = 3e9
_ENDS = (2.5, 97.5)
# Draws that differ by less differ by rounding.
_SAME = 1e-12

TOO_FEW = f"fewer than {ITEMS_MIN} questions are too few for an interval."
NO_INTERVAL = "in too many of the samples drawn it has no value, so there is no interval."
ROUGH = f"fewer than {ITEMS_FEW} questions: the interval is rough, and rather too narrow."
ALL_ALIKE = "it is the same in all samples drawn, so they do not say how sure it is."


@dataclass(frozen=True, slots=True)
class Score:
    """A figure with its 95 % interval; *why* says what is missing or doubtful, and why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str | None = None

    def to_json(self) -> dict[str, float | str | None]:
        """Give the figure as the API shows it."""
        return {"value": self.value, "low": self.low, "high": self.high, "why": self.why}


class Draws:
    """How often each group of items comes in each draw; the first draw is the data itself."""

    def __init__(self, items: int, width: int, share_of_time: float = 1.0) -> None:
        """Draw for *items* items, of which *width* numbers are to be added up."""
        chance = np.random.default_rng(_SEED)
        self.size = max(min(items, GROUPS_MAX), 1)
        self.group_of: Places = chance.permutation(items) % self.size
        affordable = _WORK_MAX * share_of_time / (self.size * max(width, 1))
        draws = int(np.clip(affordable, DRAWS_MIN, DRAWS_MAX))
        chosen = chance.integers(0, self.size, size=(draws, self.size))
        chosen += np.arange(draws)[:, None] * self.size
        drawn = np.bincount(chosen.ravel(), minlength=draws * self.size)
        self._weights = np.ones((draws + 1, self.size))
        self._weights[1:] = drawn.reshape(draws, self.size)

    def totals(self, sums: Array, groups: Places | None = None) -> Array:
        """Give for each draw the totals of *sums*, one row for each group or for these *groups*."""
        totals: Array = (self._weights if groups is None else self._weights[:, groups]) @ sums
        return totals


def score(drawn: Array, items: int) -> Score:
    """Give the figure of the data, which is the first of *drawn*, with its interval.

    *items* is the number of items that can say something about agreement.
    """
    value, resampled = float(drawn[0]), drawn[1:]
    if np.isnan(value):
        return Score(None)
    if items < ITEMS_MIN:
        return Score(value, why=TOO_FEW)
    defined = resampled[~np.isnan(resampled)]
    if len(defined) * 2 < len(resampled):
        return Score(value, why=NO_INTERVAL)
    low, high = (float(end) for end in np.percentile(defined, _ENDS))
    if high - low < _SAME:
        return Score(value, why=ALL_ALIKE)
    rough = ROUGH if items < ITEMS_FEW else None
    return Score(value, min(low, value), max(high, value), rough)
