"""Figures and tables of ``make bench-queue``."""

from __future__ import annotations

from typing import Any

import pytest
from bench.ingest.meter import Usage
from bench.queue import __main__ as command
from bench.queue.crowd import Order, Report
from bench.queue.crowding import Checked, Worked
from bench.queue.figures import of_worked, reached
from bench.queue.pages import BEGIN, END, with_figures
from bench.queue.table import render

GOOD = Checked(3, 0, 0, 0, 0, 0, 0)


def crowd(checked: Checked = GOOD, pace: tuple[float, float] = (2.0, 4.0)) -> dict[str, Any]:
    """Three answers, the first of them before anything counts."""
    order = Order("http://x", 1, "bench", 1, ["a", "b"], 10.0, 5.0, 30.0, pace)
    rows = [("a", 0, 1, "good", 101.0, 103.0), ("b", 1, 2, "bad", 106.0, 106.05)]
    rows.append(("c", 0, 3, "bad", 107.0, 107.15))
    report = Report(began=100.0, acknowledged=rows, in_phoenix_ms=[60.0], lease_ms=[20.0])
    usage = Usage(wall_seconds=10.0, cpu_seconds={"server": 4.0, "Postgres": 1.0})
    return of_worked(Worked(order, report, checked, usage))


def test_what_was_answered_while_it_was_warming_up_is_no_figure() -> None:
    found = crowd()

    assert found["answers"] == 2 and found["answers_per_second"] == 0.2
    assert found["submit"] == {
        "times": 2,
        "p50_ms": 50.0,
        "p95_ms": 150.0,
        "p99_ms": 150.0,
        "max_ms": 150.0,
    }
    assert found["cores"] == {"server": 0.4, "Postgres": 0.1}
    assert found["good"]


@pytest.mark.parametrize("place", range(1, 7))
def test_whatever_is_wrong_is_no_good(place: int) -> None:
    counts = [3, 0, 0, 0, 0, 0, 0]
    counts[place] = 1

    assert not Checked(*counts).is_good
    assert not crowd(Checked(*counts))["good"]


def test_a_crowd_that_did_nothing_has_shown_nothing() -> None:
    assert not Checked(0, 0, 0, 0, 0, 0, 0).is_good


def test_targets_are_held_against_the_slowest_paced_crowd_and_every_fault() -> None:
    slow = crowd()
    slow["submit"]["p95_ms"] = 250.0
    no_pause = crowd(Checked(3, 1, 0, 0, 0, 0, 0), (0.0, 0.0))
    no_pause["submit"]["p95_ms"] = 2000.0
    targets = reached({"crowds": {"one_person": crowd(), "signed_in": slow, "no_pause": no_pause}})

    assert targets["submit_p95_ms"] == {"target": 200.0, "measured": 250.0, "reached": False}
    assert targets["in_phoenix_ms"]["reached"]
    assert targets["crowds_with_faults"] == {"target": 0, "measured": 1, "reached": False}


def found() -> dict[str, Any]:
    """A run of one crowd and a selection."""
    one = {"one_person": crowd()}
    waited = {"seconds": 1.5, "count": 10_000}
    return {
        "mode": "full",
        "seconds": 60,
        "spans": 1_000_000,
        "items": 10_000,
        "machine": dict.fromkeys(
            (
                "cores",
                "processor",
                "memory_gib",
                "disk",
                "fdatasync_ms_p50",
                "system",
                "python",
                "postgres",
                "phoenix",
            ),
            2,
        ),
        "crowds": one,
        "selection": {
            "previews": {"everything": waited, "a text": waited | {"refused": "too long"}},
            "made": waited,
            "added": waited,
            "agreement": waited,
            "downloads": {"csv": {"seconds": 2.0, "count": 5_000_000}},
        },
        "targets": reached({"crowds": one}),
    }


def test_the_tables_say_what_was_reached_and_what_was_refused() -> None:
    text = render(found())

    assert "| an answer acknowledged, p95" in text and "| reached |" in text
    assert "### 2 people at once" in text
    assert "| one person a question | 2 to 4 s | 0.2 | 50 ms | 150 ms" in text
    assert "| preview and count: a text | 1.50 s | too long |" in text
    assert "| download, csv | 2.00 s | 5.0 MB |" in text


def test_the_page_quotes_them_between_its_markers() -> None:
    page = with_figures(f"before\n{BEGIN}\nold\n{END}\nafter\n", found())

    assert page == f"before\n{BEGIN}\n{render(found())}{END}\nafter\n"
    with pytest.raises(ValueError, match="needs the lines"):
        with_figures("# Performance\n", found())


def test_parts_of_two_runs_are_put_together() -> None:
    later = found() | {"crowds": {"no_pause": crowd(pace=(0.0, 0.0))}, "seconds": 30}
    del later["selection"]
    both = command._together(found(), later)

    assert set(both["crowds"]) == {"one_person", "no_pause"}
    assert both["seconds"] == 90 and "selection" in both
    with pytest.raises(SystemExit, match="not to be mixed"):
        command._together(found() | {"mode": "quick"}, later)
