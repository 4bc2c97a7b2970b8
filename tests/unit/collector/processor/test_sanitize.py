"""What Postgres or JSON cannot hold becomes the nearest that they can."""

from __future__ import annotations

import itertools
import json
from typing import Any

import orjson
import pytest

from tracequill_collector.processor.sanitize import storable, storable_text


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        pytest.param("a\0b", "a\ufffdb", id="NUL"),
        pytest.param("a\ud800b\udfff", "a\ufffdb\ufffd", id="lone surrogates"),
        pytest.param(b"\0\xff", "AP8=", id="bytes are kept as base64"),
        pytest.param(2**64, str(2**64), id="an integer past 64 bits is kept as its digits"),
        pytest.param(-(2**63), -(2**63), id="the smallest integer"),
        pytest.param(True, True, id="a boolean"),
        pytest.param([b"\0", ("\0",)], ["AA==", ["\ufffd"]], id="inside of lists"),
        pytest.param({"k\0": b""}, {"k\ufffd": ""}, id="in keys and below them"),
        pytest.param(
            {"k\0": 1, "k\ufffd": 2}, {"k\ufffd\ufffd": 1, "k\ufffd": 2}, id="no collision"
        ),
        pytest.param("\\u0000", "\\u0000", id="a NUL that is only written out"),
    ],
)
def test_bad_values_are_repaired(value: Any, stored: Any) -> None:
    assert storable({"v": value}) == {"v": stored}


def test_a_good_value_is_not_copied() -> None:
    value = {"a": [1, "ü", None, {"b": 2.5}]}

    assert storable(value) is value


def test_nan_and_infinity_are_stored_as_null() -> None:
    value = {"a": float("nan"), "b": [float("-inf")]}

    assert orjson.dumps(storable(value)) == b'{"a":null,"b":[null]}'


def test_what_is_nested_too_deep_becomes_its_json() -> None:
    deep: Any = "bottom\0"
    for _ in range(400):
        deep = [deep]

    stored = storable({"deep": deep})

    text = orjson.dumps(stored).decode()
    assert "bottom" in text
    inner = stored["deep"]
    while isinstance(inner, list):
        inner = inner[0]
    assert json.loads(inner)


def test_text_is_repaired() -> None:
    assert storable_text("plain") == "plain"
    assert storable_text("\0\udc80") == "\ufffd\ufffd"


def test_thousands_of_keys_that_are_repaired_to_one_name_stay_apart() -> None:
    keys = ["".join(pair) for pair in itertools.product(map(chr, range(0xD800, 0xD864)), repeat=2)]

    repaired = storable(dict.fromkeys(keys, 1))

    assert len(repaired) == len(keys) == 10_000
    assert max(map(len, repaired)) < 12
