from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tracequill_collector.recorder.pieces import Assembly, Indexed, Kind, Shape

_SHAPE: Shape = {
    "text": Kind.TEXT,
    "exact": Kind.EXACT_TEXT,
    "data": Kind.BASE64,
    "inner": {"text": Kind.TEXT},
    "items": Indexed({"text": Kind.TEXT}),
}


def _whole(*pieces: dict[str, Any]) -> dict[str, Any]:
    assembly = Assembly(_SHAPE)
    for piece in pieces:
        assembly.add(piece)
    return assembly.whole()


def test_texts_are_joined() -> None:
    assert _whole({"text": "a"}, {"text": None}, {"text": "b"}) == {"text": "ab"}


def test_an_empty_text_is_absent_unless_it_counts() -> None:
    assert _whole({"text": "", "exact": ""}) == {"exact": ""}


def test_binary_pieces_are_joined_as_bytes() -> None:
    assert _whole({"data": "YQ=="}, {"data": "Yg=="}) == {"data": "YWI="}


def test_items_come_in_any_order_and_stand_in_theirs() -> None:
    pieces = ({"items": [{"index": 1, "text": "b"}]}, {"items": [{"index": 0, "text": "a"}]})

    assert _whole(*pieces) == {"items": [{"index": 0, "text": "a"}, {"index": 1, "text": "b"}]}


def test_an_item_without_an_index_belongs_nowhere() -> None:
    assert _whole({"items": [{"text": "a"}, 7]}) == {}


def test_inner_objects_are_put_together() -> None:
    assert _whole({"inner": {"text": "a", "x": 1}}, {"inner": {"text": "b"}}) == {
        "inner": {"text": "ab", "x": 1}
    }


def test_fields_without_a_shape_are_merged_continued_or_replaced() -> None:
    first = {"object": {"a": 1, "b": None}, "list": [1], "word": "x"}
    second = {"object": {"b": 2}, "list": [2], "word": "y", "nothing": None}

    assert _whole(first, second) == {"object": {"a": 1, "b": 2}, "list": [1, 2], "word": "y"}


_KEYS = st.sampled_from([*_SHAPE, "index", "other"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(_KEYS, _JSON, max_size=4), max_size=4))
def test_no_pieces_raise(pieces: list[dict[str, Any]]) -> None:
    _whole(*pieces)
