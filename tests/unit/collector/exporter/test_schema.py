"""Only a schema that is known is written to."""

from __future__ import annotations

import pytest

from tracequill_collector.exporter.schema import KNOWN_REVISIONS, schema_problem

_KNOWN = next(iter(KNOWN_REVISIONS))


def test_a_known_revision_with_prices_is_written_to() -> None:
    assert schema_problem([_KNOWN], has_prices=True) == ""


@pytest.mark.parametrize(
    ("revisions", "has_prices", "told"),
    [
        pytest.param([], True, "no revision yet", id="none yet"),
        pytest.param(["abc"], True, "schema revision abc", id="unknown"),
        pytest.param([_KNOWN, "abc"], True, "schema revision abc", id="a second head"),
        pytest.param([_KNOWN], False, "prices are not there yet", id="no prices"),
    ],
)
def test_anything_else_is_waited_for(revisions: list[str], has_prices: bool, told: str) -> None:
    assert told in schema_problem(revisions, has_prices=has_prices)
