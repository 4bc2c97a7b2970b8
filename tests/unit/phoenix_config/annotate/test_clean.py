"""What Postgres refuses does not stop an answer."""

from __future__ import annotations

from datetime import datetime

import pytest

from tracequill_phoenix.annotate.clean import clean_json, clean_text, clean_time


def test_only_what_cannot_be_stored_is_replaced() -> None:
    assert clean_text("a\x00b\ud800c\x1b\u202e😀") == "a�b�c\x1b\u202e😀"
    assert clean_json({"k\x00": ["\x00", 1, None, {"x": True}]}) == {
        "k�": ["�", 1, None, {"x": True}]
    }


def test_a_body_nested_without_end_is_refused() -> None:
    deep: object = "x"
    for _ in range(100):
        deep = [deep]

    with pytest.raises(ValueError, match="64 levels"):
        clean_json(deep)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e19, -(10**30), 10**400])
def test_a_number_that_cannot_be_kept_and_sent_again_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="a number"):
        clean_json({"a": [number]})


def test_other_numbers_are_kept() -> None:
    assert clean_json([0, -1.5, 2**63 - 1, True]) == [0, -1.5, 2**63 - 1, True]


def test_a_time_is_utc_or_none() -> None:
    assert clean_time(datetime.fromisoformat("2026-01-01T12:00:00+02:00")).isoformat() == (
        "2026-01-01T10:00:00+00:00"
    )
    assert clean_time(datetime(2026, 1, 1)).isoformat() == "2026-01-01T00:00:00+00:00"
    with pytest.raises(ValueError, match="year 1"):
        clean_time(datetime.fromisoformat("0001-01-01T00:00:00+23:59"))
