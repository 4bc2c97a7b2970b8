"""Name patterns are scored by Phoenix's weights."""

from __future__ import annotations

import pytest

from tracequill_collector.exporter.specificity import specificity


@pytest.mark.parametrize(
    ("pattern", "score"),
    [
        pytest.param("", 1, id="nothing scores 1"),
        pytest.param("abc", 3006, id="plain characters"),
        pytest.param("^abc$", 13010, id="both anchors"),
        pytest.param("^abc", 8008, id="one anchor"),
        pytest.param("(?i)^abc$", 13018, id="leading flags are no content"),
        pytest.param("abc\\$", 3960, id="an escaped dollar is no anchor"),
        pytest.param(".*", 1, id="anything at all"),
        pytest.param("[a-z]+", 362, id="a set, repeated"),
        pytest.param("[^a]", 308, id="all but a set"),
        pytest.param("\\d{3}", 360, id="a class, counted"),
        pytest.param("\\D{2,3}", 164, id="a negated class, between"),
        pytest.param("(?:a|b)?", 1000 + 1000 - 300 - 100 + 16, id="a group with alternatives"),
        pytest.param("{x}", 3006, id="braces that count nothing"),
        pytest.param("[a", 2004, id="a set that never ends"),
    ],
)
def test_a_pattern_scores(pattern: str, score: int) -> None:
    assert specificity(pattern) == score
