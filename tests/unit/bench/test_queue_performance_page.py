"""docs/performance.md quotes the last run on the annotation queue, figure by figure."""

from __future__ import annotations

from bench.ingest.pages import PAGE, RESULTS
from bench.queue.crowding import LEASE_SECONDS
from bench.queue.data import BASE_SPANS, DAYS
from bench.queue.pages import read_results, with_figures
from bench.queue.run import PACE_SECONDS, PEOPLE
from bench.queue.table import render


def test_the_page_holds_the_figures_of_the_results() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == with_figures(page, read_results())


def test_the_tables_beside_the_results_are_made_from_them() -> None:
    tables = (RESULTS / "queue.md").read_text(encoding="utf-8")

    assert tables == render(read_results())


def test_the_run_was_full_and_nothing_was_lost_or_given_twice() -> None:
    found = read_results()

    assert found["mode"] == "full" and found["spans"] >= 1_000_000
    assert {"one_person", "two_people", "no_pause", "signed_in"} == found["crowds"].keys()
    assert all(one["good"] and one["people"] == PEOPLE for one in found["crowds"].values())
    assert "selection" in found


def test_the_page_names_the_numbers_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    low, high = PACE_SECONDS

    assert f"{BASE_SPANS:,} spans" in page and f"over {DAYS} days" in page
    assert f"{low:g} to {high:g} seconds after the one before" in page
    assert f"Leases last {LEASE_SECONDS} s" in page
