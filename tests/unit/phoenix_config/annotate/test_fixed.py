"""Statements built once, and numbers that JSON can hold and we cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import BigInteger, bindparam, select

from tracequill_phoenix.annotate.fixed import fixed, storable
from tracequill_phoenix.annotate.tables import items


def test_what_has_a_value_keeps_it_and_what_has_none_is_asked_for() -> None:
    queue_id = bindparam("queue_id", type_=BigInteger)
    statement = select(items.c.item_id).where(items.c.queue_id == queue_id, items.c.number > 7)

    built = fixed(statement.limit(3)).compile(compile_kwargs={"render_postcompile": True})

    assert (
        str(built).split()
        == (
            "SELECT tracequill.annotation_items.item_id FROM tracequill.annotation_items "
            "WHERE tracequill.annotation_items.queue_id = :queue_id "
            "AND tracequill.annotation_items.number > :number_1 LIMIT :param_1"
        ).split()
    )
    assert built.params == {"queue_id": None, "number_1": 7, "param_1": 3}


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ('{"a": [1, 2.5, "ü", null, true]}', {"a": [1, 2.5, "ü", None, True]}),
        ("18446744073709551615", 18446744073709551615),
        ('{"seed": 123456789012345678901234567890}', {"seed": 1.2345678901234568e29}),
        ("[-123456789012345678901234567890, 1]", [-1.2345678901234568e29, 1]),
        ("[1e400]", [None]),
    ],
)
def test_numbers_beyond_ours_are_the_nearest_that_we_have(text: str, held: Any) -> None:
    assert storable(json.loads(text)) == held


def test_a_whole_number_without_end_is_none() -> None:
    assert storable([10**400]) == [None]
