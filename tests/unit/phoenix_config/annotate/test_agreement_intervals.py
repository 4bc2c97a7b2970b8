"""The intervals of agreement: what they hold, and where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.unit.phoenix_config.annotate.answer_tables import choices, figure, said
from tracequill_phoenix.annotate.agreement import agreement_of
from tracequill_phoenix.annotate.resampling import GROUPS_MAX


def test_more_items_make_the_interval_narrower_and_it_holds_the_value() -> None:
    chance = np.random.default_rng(1)

    def width(items: int) -> float:
        rows = [[int(value) for value in chance.integers(0, 3, 2)] for _ in range(items)]
        rows = [[first, first if chance.random() < 0.6 else second] for first, second in rows]
        score = agreement_of(choices(0, 1, 2), said(rows)).scores["krippendorff_alpha"]
        assert score.low is not None
        assert score.high is not None
        assert score.low < figure(score) < score.high
        return score.high - score.low

    assert width(2000) < width(50) / 3


def test_of_very_many_items_groups_are_drawn_and_the_interval_is_that_of_single_ones() -> None:
    chance = np.random.default_rng(3)
    items, share = 6000, 0.8
    rows = [[0, int(chance.random() > share)] for _ in range(items)]

    score = agreement_of(choices(0, 1), said(rows)).scores["percent"]

    half = 1.96 * math.sqrt(share * (1 - share) / items)
    assert items > 5 * GROUPS_MAX
    assert score.low is not None
    assert score.high is not None
    assert figure(score) - score.low == pytest.approx(half, rel=0.15)
    assert score.high - figure(score) == pytest.approx(half, rel=0.15)


def test_where_all_draws_are_alike_there_is_no_interval_that_would_promise_certainty() -> None:
    scores = agreement_of(choices("a", "b"), said([["a", "a"], ["b", "b"]] * 10)).scores

    for name in ("percent", "gwet_ac1"):
        assert figure(scores[name]) == pytest.approx(1)
        assert scores[name].low is None
        assert "same in all samples" in str(scores[name].why)


def test_an_interval_from_few_items_is_called_rough() -> None:
    rows = [["a", "a"], ["b", "b"], ["a", "b"]] * 10

    few = agreement_of(choices("a", "b"), said(rows[:29])).scores["percent"]
    enough = agreement_of(choices("a", "b"), said(rows)).scores["percent"]

    assert few.low is not None
    assert "rough" in str(few.why)
    assert enough.why is None
