"""What Postgres refuses does not stop an answer."""

from __future__ import annotations

import pytest

from tracequill_phoenix.annotate.clean import clean_json, clean_text


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
