"""Agreement against published worked examples, and against the definitions written out plainly."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.phoenix_config.annotate.answer_tables import (
    NUMBER,
    TAGS,
    TEXT,
    Rows,
    choices,
    figure,
    number,
    ordered,
    said,
    table,
)
from tracequill_phoenix.annotate.agreement import PAIRS_MAX, VALUES_MAX, agreement_of
from tracequill_phoenix.annotate.coefficients import (
    masi_distances,
    ordinal_weights,
    quadratic_weights,
    weighted_kappa,
)
from tracequill_phoenix.annotate.labels import Choice, Label
from tracequill_phoenix.annotate.ratings import Said, Value, level_of, value_in
from tracequill_phoenix.annotate.resampling import Score

# Krippendorff (2011), example of four observers, twelve units and missing values; Gwet's package
# irrCAC holds the same as cac.raw4raters, with his coefficients of it.
FOUR_OBSERVERS: Rows = [
    [1, 1, None, 1],
    [2, 2, 3, 2],
    [3, 3, 3, 3],
    [3, 3, 3, 3],
    [2, 2, 2, 2],
    [1, 2, 3, 4],
    [4, 4, 4, 4],
    [1, 1, 2, 1],
    [2, 2, 2, 2],
    [None, 5, 5, 5],
    [None, None, 1, 1],
    [None, None, 3, None],
]


# --- published examples --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "read", "alpha"),
    [
        (choices(1, 2, 3, 4, 5), str, 0.743),
        (ordered(1, 2, 3, 4, 5), str, 0.815),
        (NUMBER, number, 0.849),
    ],
    ids=["nominal", "ordinal", "interval"],
)
def test_alpha_is_that_of_krippendorff_2011(
    label: Label, read: Callable[[object], Value], alpha: float
) -> None:
    scores = agreement_of(label, said(FOUR_OBSERVERS, read)).scores

    assert figure(scores["krippendorff_alpha"]) == pytest.approx(alpha, abs=5e-4)


def test_alpha_of_two_observers_is_that_of_krippendorff_2011() -> None:
    # His examples of two observers: one with two values, one with five.
    binary = [list(pair) for pair in zip("0100000000", "1110010100", strict=True)]
    many = [list(pair) for pair in zip("aabbdcccedda", "babbbccceddd", strict=True)]

    two = agreement_of(choices(0, 1), said(binary)).scores
    several = agreement_of(choices(*"abcde"), said(many)).scores

    assert figure(two["krippendorff_alpha"]) == pytest.approx(0.095, abs=5e-4)
    assert figure(several["krippendorff_alpha"]) == pytest.approx(0.692, abs=5e-4)


def test_percent_and_ac1_are_those_of_gwet_2014_with_answers_missing() -> None:
    found = agreement_of(choices(1, 2, 3, 4, 5), said(FOUR_OBSERVERS))

    assert (found.items, found.people) == (11, 4)
    assert figure(found.scores["percent"]) == pytest.approx(0.8181818)
    assert figure(found.scores["gwet_ac1"]) == pytest.approx(0.77544, abs=5e-6)


def test_ac2_with_ordinal_weights_is_that_of_gwet_2014() -> None:
    found = agreement_of(ordered(1, 2, 3, 4, 5), said(FOUR_OBSERVERS))

    assert figure(found.scores["gwet_ac2"]) == pytest.approx(0.899, abs=5e-4)
    assert figure(found.scores["gwet_ac1"]) == pytest.approx(0.77544, abs=5e-6)
    assert ordinal_weights(3)[0].tolist() == pytest.approx([1, 2 / 3, 0])


def test_all_coefficients_of_two_abstractors_are_those_of_gwet_2014() -> None:
    # His table of two people who put 100 cases into three classes.
    cells = table([[13, 0, 0], [0, 20, 7], [0, 4, 56]])

    nominal = agreement_of(choices(0, 1, 2), cells).scores
    ordinal = agreement_of(ordered(0, 1, 2), cells).scores

    assert figure(nominal["percent"]) == pytest.approx(0.89)
    assert figure(nominal["cohen_kappa"]) == pytest.approx(0.7964094)
    assert figure(nominal["krippendorff_alpha"]) == pytest.approx(0.7972585)
    assert figure(nominal["gwet_ac1"]) == pytest.approx(0.8493305)
    assert figure(ordinal["gwet_ac2"]) == pytest.approx(0.925, abs=5e-4)


def test_the_interval_of_two_abstractors_is_near_the_one_that_gwet_2014_calculates() -> None:
    scores = agreement_of(choices(0, 1, 2), table([[13, 0, 0], [0, 20, 7], [0, 4, 56]])).scores

    for name, low, high in (
        ("percent", 0.828, 0.952),
        ("cohen_kappa", 0.68, 0.913),
        ("krippendorff_alpha", 0.68, 0.914),
        ("gwet_ac1", 0.764, 0.935),
    ):
        assert (scores[name].low, scores[name].high) == pytest.approx((low, high), abs=0.02), name


def test_coefficients_of_six_people_are_those_of_fleiss_1971_and_gwet() -> None:
    # Fifteen patients, six psychiatrists, five diagnoses; who said what is not known.
    distribution = [
        [0, 0, 0, 6, 0], [0, 3, 0, 0, 3], [0, 1, 4, 0, 1], [0, 0, 0, 0, 6], [0, 3, 0, 3, 0],
        [2, 0, 4, 0, 0], [0, 0, 4, 0, 2], [2, 0, 3, 1, 0], [2, 0, 0, 4, 0], [0, 0, 0, 0, 6],
        [1, 0, 0, 5, 0], [1, 1, 0, 4, 0], [0, 3, 3, 0, 0], [1, 0, 0, 5, 0], [0, 2, 0, 3, 1],
    ]  # fmt: skip
    rows = [[k for k, count in enumerate(row) for _ in range(count)] for row in distribution]

    scores = agreement_of(choices(0, 1, 2, 3, 4), said(rows)).scores

    assert figure(scores["percent"]) == pytest.approx(0.5511111)
    assert figure(scores["gwet_ac1"]) == pytest.approx(0.4448007)
    assert figure(scores["krippendorff_alpha"]) == pytest.approx(0.4204384)


def test_kappa_is_that_of_cohen_1960() -> None:
    # His table of 200 cases and three categories; 0.70 are agreed, 0.41 are expected.
    cells = table([[88, 14, 18], [10, 40, 10], [2, 6, 12]])

    scores = agreement_of(choices(0, 1, 2), cells).scores

    assert figure(scores["percent"]) == pytest.approx(0.70)
    assert figure(scores["cohen_kappa"]) == pytest.approx(0.492, abs=5e-4)


def test_weighted_kappa_is_that_of_cohen_1968() -> None:
    # The same table, with the disagreements that he weighs by 1, 3 and 6; he gives 0.348.
    shares = np.array([[88, 14, 18], [10, 40, 10], [2, 6, 12]]) / 200
    weights = 1 - np.array([[0, 1, 3], [1, 0, 6], [3, 6, 0]]) / 6
    observed = np.array([(shares * weights).sum()])

    kappa = weighted_kappa(observed, shares.sum(axis=1)[None], shares.sum(axis=0)[None], weights)

    assert kappa[0] == pytest.approx(0.348, abs=5e-4)


def test_weighted_kappa_takes_the_square_of_the_steps_between_two_choices() -> None:
    cells = [[13, 0, 0], [0, 20, 7], [0, 4, 56]]
    shares = np.array(cells) / 100
    steps = np.array([[0, 1, 4], [1, 0, 1], [4, 1, 0]])
    chance = np.outer(shares.sum(axis=1), shares.sum(axis=0))

    scores = agreement_of(ordered(0, 1, 2), table(cells)).scores

    by_hand = 1 - (shares * steps).sum() / (chance * steps).sum()
    assert figure(scores["weighted_kappa"]) == pytest.approx(by_hand)
    assert figure(scores["cohen_kappa"]) < figure(scores["weighted_kappa"])
    assert quadratic_weights(3)[0].tolist() == pytest.approx([1, 3 / 4, 0])
    assert "weighted_kappa" not in agreement_of(choices(0, 1, 2), table(cells)).scores


def test_where_nearly_all_is_alike_kappa_falls_and_ac1_does_not_as_gwet_2008_shows() -> None:
    # 125 cases, 118 of them positive for both.
    scores = agreement_of(choices(0, 1), table([[118, 5], [2, 0]])).scores

    assert figure(scores["percent"]) == pytest.approx(0.944)
    assert figure(scores["cohen_kappa"]) == pytest.approx(-0.0234, abs=5e-4)
    assert figure(scores["gwet_ac1"]) == pytest.approx(0.9408, abs=5e-4)


def test_the_distance_of_sets_is_passonneaus() -> None:
    sets = [frozenset(tags) for tags in ("a", "ab", "bc", "c")]

    distances = masi_distances(sets)

    assert distances[0].tolist() == pytest.approx([0, 1 - 1 / 2 * 2 / 3, 1, 1])
    assert distances[1].tolist() == pytest.approx([2 / 3, 0, 1 - 1 / 3 * 1 / 3, 1])


# --- definitions written out ------------------------------------------------------------------


def pairs_of(rows: Rows) -> list[list[tuple[object, object]]]:
    """All ordered pairs of answers, item by item."""
    said_of = [[value for value in row if value is not None] for row in rows]
    return [list(itertools.permutations(row, 2)) for row in said_of if len(row) > 1]


def plain_percent(rows: Rows) -> float:
    pairs = pairs_of(rows)
    return sum(sum(a == b for a, b in item) / len(item) for item in pairs) / len(pairs)


def plain_alpha(rows: Rows, distance: Callable[[object, object], float]) -> float | None:
    said_of = [[value for value in row if value is not None] for row in rows]
    compared = [row for row in said_of if len(row) > 1]
    every = [value for row in compared for value in row]
    observed = sum(
        sum(distance(a, b) for a, b in itertools.permutations(row, 2)) / (len(row) - 1)
        for row in compared
    ) / len(every)
    expected = sum(distance(a, b) for a, b in itertools.permutations(every, 2)) / (
        len(every) * (len(every) - 1)
    )
    return 1 - observed / expected if expected > 1e-12 else None


def plain_kappa(first: Sequence[object], second: Sequence[object]) -> float | None:
    size = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / size
    one, other = Counter(first), Counter(second)
    expected = sum(one[value] * other[value] for value in one) / size**2
    return (observed - expected) / (1 - expected) if expected < 1 else None


def plain_ac1(rows: Rows, values: Sequence[object]) -> float:
    said_of = [[value for value in row if value is not None] for row in rows]
    answered = [row for row in said_of if row]
    shares = [sum(row.count(value) / len(row) for row in answered) / len(answered)
              for value in values]  # fmt: skip
    expected = sum(share * (1 - share) for share in shares) / (len(values) - 1)
    return (plain_percent(rows) - expected) / (1 - expected)


def ordinal_distance(rows: Rows) -> Callable[[object, object], float]:
    every = sorted(number(v) for row in rows if sum(x is not None for x in row) > 1
                   for v in row if v is not None)  # fmt: skip
    count = Counter(every)

    def distance(a: object, b: object) -> float:
        low, high = sorted((number(a), number(b)))
        between = sum(count[value] for value in count if low <= value <= high)
        return (between - (count[low] + count[high]) / 2) ** 2

    return distance


@st.composite
def tables(draw: st.DrawFn, values: st.SearchStrategy[object], people_max: int = 4) -> Rows:
    people = draw(st.integers(2, people_max))
    row = st.lists(st.none() | values, min_size=people, max_size=people)
    rows = draw(st.lists(row, min_size=1, max_size=12))
    return [*rows, [draw(values) for _ in range(people)]]


def same(score: Score, expected: float | None) -> bool:
    if expected is None or score.value is None:
        return expected is None and score.value is None and bool(score.why)
    return math.isclose(score.value, expected, rel_tol=1e-9, abs_tol=1e-9)


@settings(max_examples=60, deadline=None)
@given(tables(st.integers(1, 4)))
def test_the_fast_calculation_of_choices_gives_what_the_definitions_give(rows: Rows) -> None:
    nominal = agreement_of(choices(1, 2, 3, 4), said(rows))
    ordinal = agreement_of(ordered(1, 2, 3, 4), said(rows))
    both = {
        tuple(f"person {column}" for column in columns): [
            (row[columns[0]], row[columns[1]]) for row in rows
            if row[columns[0]] is not None and row[columns[1]] is not None
        ]
        for columns in itertools.combinations(range(len(rows[0])), 2)
    }  # fmt: skip

    assert same(nominal.scores["percent"], plain_percent(rows))
    assert same(nominal.scores["krippendorff_alpha"], plain_alpha(rows, lambda a, b: a != b))
    assert same(ordinal.scores["krippendorff_alpha"], plain_alpha(rows, ordinal_distance(rows)))
    if len(rows[0]) > 2:
        assert same(nominal.scores["gwet_ac1"], plain_ac1(rows, [1, 2, 3, 4]))
    kappas = [plain_kappa(*zip(*pair, strict=True)) for pair in both.values()]
    defined = [kappa for kappa in kappas if kappa is not None]
    mean = sum(defined) / len(defined) if defined else None
    assert same(nominal.scores["cohen_kappa"], mean)
    for pair in nominal.pairs:
        shared = both[pair.people]
        assert pair.items == len(shared)
        assert same(pair.scores["percent"], plain_percent(shared))
        assert same(pair.scores["cohen_kappa"], plain_kappa(*zip(*shared, strict=True)))
        assert same(pair.scores["krippendorff_alpha"], plain_alpha(shared, lambda a, b: a != b))
        assert same(pair.scores["gwet_ac1"], plain_ac1(shared, [1, 2, 3, 4]))


@settings(max_examples=60, deadline=None)
@given(tables(st.sampled_from([0.0, 0.1, 0.5, -3.25, 7.0, 1e6])))
def test_the_fast_calculation_of_numbers_gives_what_the_definitions_give(rows: Rows) -> None:
    scores = agreement_of(NUMBER, said(rows, number)).scores

    squares = plain_alpha(rows, lambda a, b: (number(a) - number(b)) ** 2)
    assert same(scores["percent"], plain_percent(rows))
    found = scores["krippendorff_alpha"].value
    assert (found is None) == (squares is None)
    if found is not None and squares is not None:
        assert found == pytest.approx(squares, rel=1e-6, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(tables(st.sets(st.sampled_from("abc"), min_size=1)))
def test_the_fast_calculation_of_sets_gives_what_the_definitions_give(rows: Rows) -> None:
    def distance(a: object, b: object) -> float:
        assert isinstance(a, set)
        assert isinstance(b, set)
        monotonicity = 1 if a == b else 2 / 3 if a <= b or b <= a else 1 / 3 if a & b else 0
        return 1 - len(a & b) / len(a | b) * monotonicity

    def frozen(value: object) -> Value:
        assert isinstance(value, set)
        return frozenset(value)

    scores = agreement_of(TAGS, said(rows, frozen)).scores

    assert same(scores["percent"], plain_percent(rows))
    assert same(scores["krippendorff_alpha"], plain_alpha(rows, distance))
    assert scores["gwet_ac1"].value is None
    assert scores["gwet_ac1"].why


@settings(max_examples=30, deadline=None)
@given(tables(st.integers(1, 3)), st.randoms(use_true_random=False))
def test_the_order_of_answers_changes_nothing_and_names_of_people_change_no_value(
    rows: Rows, chance: random.Random
) -> None:
    label = ordered(1, 2, 3)
    answers = said(rows)
    shuffled = list(answers)
    chance.shuffle(shuffled)
    columns = list(range(len(rows[0])))
    chance.shuffle(columns)
    renamed = [[row[column] for column in columns] for row in rows]

    found = agreement_of(label, answers)

    assert agreement_of(label, shuffled) == found
    for name, score in agreement_of(label, said(renamed)).scores.items():
        assert same(found.scores[name], score.value)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=2, max_size=20), st.integers(2, 5))
def test_perfect_agreement_is_one(values: list[int], people: int) -> None:
    rows = [[value] * people for value in values]

    for label, read in ((choices(1, 2, 3), str), (ordered(1, 2, 3), str), (NUMBER, number)):
        scores = agreement_of(label, said(rows, read)).scores
        for name, score in scores.items():
            if score.value is None:
                assert name != "percent"
                assert score.why
            else:
                assert score.value == pytest.approx(1), (label.kind, name)
                assert score.low in (None, pytest.approx(1))


# --- what has no value -----------------------------------------------------------------------


def test_one_value_alone_has_no_kappa_and_no_alpha_but_ac1() -> None:
    scores = agreement_of(choices("good", "bad"), said([["good", "good"]] * 9)).scores

    assert (scores["percent"].value, scores["gwet_ac1"].value) == (1, 1)
    for name in ("cohen_kappa", "krippendorff_alpha"):
        assert scores[name].value is None
        assert scores[name].why


@pytest.mark.parametrize("label", [choices("good", "bad"), NUMBER, TAGS, TEXT])
def test_without_two_answers_on_one_item_nothing_has_a_value(label: Label) -> None:
    values = {"CONTINUOUS": 1.0, "CATEGORICAL": frozenset({"a"}) if label.multiple else "good"}
    alone = [Said(item, f"person {item}", values.get(label.kind, "x")) for item in range(3)]

    for answers in ([], alone):
        found = agreement_of(label, answers)
        assert found.items == 0
        assert found.pairs == []
        assert all(score.value is None and score.why for score in found.scores.values())


def test_free_text_has_no_agreement_even_where_it_is_the_same() -> None:
    found = agreement_of(TEXT, said([["x", "x"]] * 9))

    assert found.scores["percent"] == Score(None, why="free text has no measure of agreement.")


def test_few_items_give_a_value_without_an_interval() -> None:
    score = agreement_of(choices("a", "b"), said([["a", "a"], ["b", "a"]])).scores["percent"]

    assert (score.value, score.low, score.high) == (0.5, None, None)
    assert score.why


def test_too_many_different_sets_are_not_compared() -> None:
    tags = [f"t{place}" for place in range(VALUES_MAX + 1)]
    label = Label("q", "CATEGORICAL", multiple=True, values=tuple(map(Choice, tags)))
    answers = [Said(item, person, frozenset({tag}))
               for item, tag in enumerate(tags) for person in "ab"]  # fmt: skip

    scores = agreement_of(label, answers).scores

    assert scores["percent"].value is None
    assert str(VALUES_MAX) in str(scores["percent"].why)


def test_with_very_many_people_the_pairs_that_share_most_are_shown() -> None:
    people = 22
    rows = [["a" if column % 3 else "b" for column in range(people)] for _ in range(5)]
    rows.append(["a", "a"] + [None] * (people - 2))  # type: ignore[list-item]

    found = agreement_of(choices("a", "b"), said(rows))

    assert len(found.pairs) == PAIRS_MAX < people * (people - 1) / 2
    assert max(pair.items for pair in found.pairs) == 6
    assert found.scores["krippendorff_alpha"].value is not None


# --- what labels say ---------------------------------------------------------------------------


def test_choices_with_scores_of_their_own_stand_in_order() -> None:
    assert level_of(ordered("bad", "fair", "good")) == "ordinal"
    assert level_of(choices("bad", "fair", "good")) == "nominal"
    assert level_of(ordered("bad", "good")) == "nominal"
    assert level_of(ordered(*range(13))) == "nominal"
    equal = tuple(Choice(label, 1.0) for label in "abc")
    assert level_of(Label("q", "CATEGORICAL", values=equal)) == "nominal"


def test_values_are_read_as_they_are_kept() -> None:
    assert value_in(choices("a"), "a") == "a"
    assert value_in(TAGS, ["b", "a"]) == frozenset("ab")
    assert value_in(NUMBER, 4) == 4.0


def test_a_choice_that_the_label_no_longer_has_still_counts() -> None:
    rows = [["a", "gone"], ["gone", "gone"], ["b", "b"]]

    found = agreement_of(choices("a", "b"), said(rows))

    assert figure(found.scores["percent"]) == pytest.approx(2 / 3)


def test_a_choice_that_the_label_no_longer_has_stands_in_no_order() -> None:
    rows = [["bad", "gone"], ["fair", "gone"], ["good", "good"], ["bad", "bad"]]

    found = agreement_of(ordered("bad", "fair", "good"), said(rows))

    assert found.level == "nominal"
    assert "gwet_ac2" not in found.scores
    assert agreement_of(ordered("bad", "fair", "good"), said(rows[2:])).level == "ordinal"


@pytest.mark.parametrize("numbers", [[1e308, -1e308, 5.0], [0.1 + 0.2, 0.3, 0.3], [1e-300, 0.0]])
def test_numbers_of_any_size_give_a_value_that_is_one(numbers: list[float]) -> None:
    rows = [[value, value] for value in numbers]

    alpha = agreement_of(NUMBER, said(rows, number)).scores["krippendorff_alpha"].value

    assert alpha is None or alpha == pytest.approx(1)
