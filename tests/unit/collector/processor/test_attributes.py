"""Dotted keys become nested attributes by Phoenix's rules."""

from __future__ import annotations

from typing import Any

import pytest

from tracequill_collector.pipeline import nested_value
from tracequill_collector.processor import attributes
from tracequill_collector.processor.attributes import MAX_SEGMENTS, unflatten


@pytest.mark.parametrize(
    ("pairs", "nested"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"a.b.c": 1, "a.d": 2}, {"a": {"b": {"c": 1}, "d": 2}}, id="dots nest"),
        pytest.param({"a": None, "b.c": None}, {}, id="None says nothing"),
        pytest.param(
            {"docs.1.text": "B", "docs.0.text": "A"},
            {"docs": [{"text": "A"}, {"text": "B"}]},
            id="a number between dots is a place, in the order of the numbers",
        ),
        pytest.param(
            {"docs.7.text": "A"}, {"docs": [{"text": "A"}]}, id="places that nobody names close up"
        ),
        pytest.param({"tags.0": "x"}, {"tags": {"0": "x"}}, id="a number at the end is a key"),
        pytest.param(
            {"a.0": 1, "a.0.b": 2}, {"a": {"0": 1, "0.b": 2}}, id="a place with a value is a key"
        ),
        pytest.param({"a.0.b": 1, "a.c": 2}, {"a": [{"b": 1}], "a.c": 2}, id="names beside places"),
        pytest.param({"a": 1, "a.b": 2}, {"a": 1, "a.b": 2}, id="a value closes its key"),
        pytest.param({"a.b": 2, "a": 1}, {"a": 1, "a.b": 2}, id="in either order"),
        pytest.param(
            {"a": {"b": 1}, "a.c": 2}, {"a": {"b": 1}, "a.c": 2}, id="an object is a value too"
        ),
        pytest.param(
            {"a": 1, "a.0.b": 2}, {"a": 1, "a.0": {"b": 2}}, id="no places beside a value"
        ),
        pytest.param({"0.a": 1}, {"0": {"a": 1}}, id="a number at the top is a name"),
        pytest.param({"a..b": 1, ".c": 2}, {"a": {"b": 1}, "c": 2}, id="empty segments disappear"),
        pytest.param({"a.": 1}, {"a": 1}, id="so does a last dot"),
        pytest.param({"": 1}, {"": 1}, id="the empty key is a key"),
        pytest.param({" a . b ": 1}, {"a": {"b": 1}}, id="white space is dropped"),
        pytest.param({"x.01.a": 1, "x.1.b": 2}, {"x": [{"a": 1, "b": 2}]}, id="leading zeros"),
        pytest.param({"x.-1.a": 1}, {"x": {"-1": {"a": 1}}}, id="a negative number is a name"),
        pytest.param({"x.².a": 1}, {"x": {"²": {"a": 1}}}, id="a digit that is no number"),
        pytest.param({"a.b.": 1, "a.b..": 2}, {"a": {"b": 1, "b.": 2}}, id="dots and a value"),
    ],
)
def test_keys_nest(pairs: dict[str, Any], nested: dict[str, Any]) -> None:
    assert unflatten(pairs.items()) == nested


def test_a_key_too_deep_stays_one_key() -> None:
    key = ".".join("a" * (MAX_SEGMENTS + 1))

    assert unflatten([(key, 1), ("b.c", 2)]) == {key: 1, "b": {"c": 2}}


def test_keys_that_never_repeat_are_not_remembered_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attributes, "_MAX_CACHED_KEYS", 10)

    for number in range(100):
        unflatten([(f"key.{number}", 1)])

    assert len(attributes._keys) <= 10


def test_a_nested_value_is_found_by_its_path() -> None:
    nested = {"a": {"b": 0}, "c": "text"}

    assert nested_value(nested, "a", "b") == 0
    assert nested_value(nested, "a") == {"b": 0}
    assert nested_value(nested, "c", "b") is None
    assert nested_value(nested, "x", "y") is None


@pytest.mark.parametrize("dots", [200, 399, 400, 3_000_000])
def test_a_key_of_very_many_dots_stays_one_key_and_is_not_remembered(dots: int) -> None:
    name = "a." * dots + "b"

    assert unflatten([(name, 1)]) == {name: 1}
    assert dots < 300 or name not in attributes._keys
