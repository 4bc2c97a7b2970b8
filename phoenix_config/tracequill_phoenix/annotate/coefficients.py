"""Coefficients of agreement, each from sums over items; every function takes many sets of sums.

The first axis of every argument is the set of sums: one for the data, one for each resample of
it. A set for which a coefficient has no value gets NaN. Nothing here knows people or labels.

Sources of the definitions:

- Cohen (1960), A coefficient of agreement for nominal scales. Educational and Psychological
  Measurement 20, 37-46: kappa.
- Cohen (1968), Weighted kappa: Nominal scale agreement with provision for scaled disagreement or
  partial credit. Psychological Bulletin 70, 213-220; Fleiss and Cohen (1973), The equivalence of
  weighted kappa and the intraclass correlation coefficient. Educational and Psychological
  Measurement 33, 613-619, for the weights by the square of the distance.
- Krippendorff (2011), Computing Krippendorff's Alpha-Reliability. University of Pennsylvania: alpha
  with its metric differences.
- Gwet (2008), Computing inter-rater reliability and its variance in the presence of high
  agreement. British Journal of Mathematical and Statistical Psychology 61, 29-48: AC1.
- Gwet (2014), Handbook of Inter-Rater Reliability, 4th edition: AC2, its weights, and all of it
  with answers missing.
- Passonneau (2006), Measuring Agreement on Set-valued Items (MASI) for Semantic and Pragmatic
  Annotation. LREC: the distance of two sets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Below it a difference of two sums is rounding, not chance left over.
_NOTHING = 1e-9


def cohen_kappa(observed: Array, firsts: Array, seconds: Array) -> Array:
    """Cohen's kappa of two people.

    *observed* is their agreement, *firsts* and *seconds* say how often each of the two said each
    value, in parts of one.
    """
    return corrected(observed, (firsts * seconds).sum(axis=1))


def weighted_kappa(observed: Array, firsts: Array, seconds: Array, weights: Array) -> Array:
    """Cohen's weighted kappa of two people, where *weights* credit answers that are near."""
    return corrected(observed, ((firsts @ weights) * seconds).sum(axis=1))


def corrected(observed: Array, expected: Array) -> Array:
    """Give the share of the agreement that chance leaves open which was reached."""
    left = 1 - expected
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(left > _NOTHING, (observed - expected) / left, np.nan)


def krippendorff_alpha(disagreement: Array, counts: Array, distances: Array) -> Array:
    """Krippendorff's alpha for a fixed metric.

    *disagreement* sums over items the distances of all ordered pairs of answers, each divided by
    the item's answers less one; *counts* says how often each value was given; only items with two
    answers or more enter both.
    """
    expected = ((counts @ distances) * counts).sum(axis=1)
    return _alpha(disagreement, expected, counts.sum(axis=1))


def krippendorff_alpha_ordinal(coincidences: Array) -> Array:
    """Krippendorff's alpha where values are in order, from the coincidences of values.

    Two values are as far apart as the middles of their ranks, so the metric depends on how often
    each value was given.
    """
    counts = coincidences.sum(axis=2)
    middles = np.cumsum(counts, axis=1) - counts / 2
    distances = (middles[:, :, None] - middles[:, None, :]) ** 2
    disagreement = (coincidences * distances).sum(axis=(1, 2))
    expected = (counts[:, :, None] * counts[:, None, :] * distances).sum(axis=(1, 2))
    return _alpha(disagreement, expected, counts.sum(axis=1))


def krippendorff_alpha_interval(
    disagreement: Array, total: Array, sums: Array, squares: Array
) -> Array:
    """Krippendorff's alpha of numbers: the distance of two is the square of their difference.

    *total* is the number of answers, *sums* and *squares* are the sums of them and their squares.
    """
    expected = 2 * (total * squares - sums**2)
    noise = _NOTHING * total * squares
    return _alpha(disagreement, np.where(expected > noise, expected, 0.0), total)


def _alpha(disagreement: Array, expected: Array, total: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - disagreement * (total - 1) / expected, np.nan)


def gwet_ac(observed: Array, shares: Array, weights: Array) -> Array:
    """Gwet's AC1, or AC2 where *weights* credit answers that are near each other.

    *observed* is the weighted agreement, *shares* is how often each of all possible values was
    given, in parts of one, averaged over the items.
    """
    values = weights.shape[0]
    if values < 2:
        return np.full(observed.shape, np.nan)
    chance = weights.sum() / (values * (values - 1))
    return corrected(observed, chance * (shares * (1 - shares)).sum(axis=1))


def ordinal_weights(values: int) -> Array:
    """Gwet's weights for values in order: 1 for the same, 0 for the two ends."""
    steps = np.abs(np.subtract.outer(np.arange(values), np.arange(values)))
    pairs = steps * (steps + 1) / 2
    weights: Array = 1 - pairs / max(pairs.max(), 1)
    return weights


def quadratic_weights(values: int) -> Array:
    """Fleiss and Cohen's weights for values in order: by the square of the steps between them."""
    steps = np.subtract.outer(np.arange(values), np.arange(values)) / max(values - 1, 1)
    weights: Array = 1.0 - steps**2
    return weights


def masi_distances(sets: Sequence[frozenset[str]]) -> Array:
    """Passonneau's MASI distance of each two sets: 1 - Jaccard's index x monotonicity.

    Monotonicity is 1 for equal sets, 2/3 where one holds the other, 1/3 where they only overlap.
    """
    tags = {tag: place for place, tag in enumerate(sorted(frozenset().union(*sets)))}
    holds = np.zeros((len(sets), len(tags)))
    for row, tags_said in enumerate(sets):
        holds[row, [tags[tag] for tag in tags_said]] = 1
    common = holds @ holds.T
    sizes = holds.sum(axis=1)
    either = sizes[:, None] + sizes[None, :] - common
    is_held = (common == sizes[:, None]) | (common == sizes[None, :])
    monotonicity = np.where(is_held, 2 / 3, 1 / 3)
    np.fill_diagonal(monotonicity, 1)
    index = np.divide(common, either, out=np.ones_like(common), where=either > 0)
    distances: Array = 1 - index * monotonicity
    return distances
