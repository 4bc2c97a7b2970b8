"""Statements stand in one file, each with a name and a sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tracequill_collector.exporter.queries import QUERIES

_EXPORTER = Path(__file__).parents[4] / "collector" / "tracequill_collector" / "exporter"


@pytest.mark.parametrize("name", QUERIES)
def test_a_statement_begins_with_a_sentence(name: str) -> None:
    assert re.match(r"-- [A-Z].*\n(-- .*\n)*(?<=\.\n)[A-Z]", QUERIES[name])


def test_each_statement_is_used_and_each_that_is_used_exists() -> None:
    code = "".join(path.read_text() for path in _EXPORTER.glob("*.py"))
    used = set(re.findall(r'QUERIES\["(\w+)"\]|"(find_\w+)"', code))

    assert {name for pair in used for name in pair if name} == set(QUERIES)
