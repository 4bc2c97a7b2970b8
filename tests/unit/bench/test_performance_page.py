"""docs/performance.md quotes the last run, figure by figure."""

from __future__ import annotations

import pytest
from bench.ingest.pages import PAGE, RESULTS, read_results, with_figures
from bench.ingest.sender import TEMPLATES
from bench.ingest.storing import MAX_BEHIND_SPANS, PHOENIX_MAX_BEHIND_SPANS, TRACES
from bench.ingest.table import render


def test_the_page_holds_the_figures_of_the_results() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == with_figures(page, read_results(RESULTS))


def test_the_tables_beside_the_results_are_made_from_them() -> None:
    tables = (RESULTS / "ingest.md").read_text(encoding="utf-8")

    assert tables == render(read_results(RESULTS))
    assert (RESULTS / "ingest.svg").exists()


def test_the_run_was_whole() -> None:
    found = read_results(RESULTS)

    assert found["mode"] == "full"
    parts = {"phoenix", "sustained", "drained", "copy", "half_load", "quiet", "growth", "overload"}
    assert parts <= found.keys()


@pytest.mark.parametrize(
    "number", [MAX_BEHIND_SPANS, PHOENIX_MAX_BEHIND_SPANS, TEMPLATES * TRACES * 3]
)
def test_the_page_names_the_numbers_of_the_code(number: int) -> None:
    assert f"{number:,}" in PAGE.read_text(encoding="utf-8")


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        with_figures("# Performance\n", read_results(RESULTS))
