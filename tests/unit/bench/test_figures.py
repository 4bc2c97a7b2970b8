"""From measurements to figures."""

from __future__ import annotations

from typing import Any

import pytest
from bench.ingest.figures import add_ratios, percentile
from bench.ingest.progress import Progress
from bench.ingest.servers import BenchError


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0)]
)
def test_a_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    values = [float(value) for value in range(100, 0, -1)]

    assert percentile(values, share) == expected


def test_the_percentile_of_one_value_is_the_value() -> None:
    assert percentile([4.0], 0.5) == percentile([4.0], 0.99) == 4.0


def test_rates_are_of_the_straight_line_between_two_looks() -> None:
    progress = Progress([(0.0, 0), (1.0, 0), (2.0, 100), (3.0, 300)])

    assert progress.rate(1.0, 3.0) == 150.0
    assert progress.stored_at(2.5) == 200.0
    assert progress.moment_of(50) == 1.5


def test_a_number_that_was_never_reached_is_an_error() -> None:
    with pytest.raises(BenchError, match="301 spans"):
        Progress([(0.0, 0), (1.0, 300)]).moment_of(301)


def test_ours_is_compared_with_phoenix_and_with_the_faster_copy() -> None:
    found = {
        "phoenix": {"spans_per_second": 100.0},
        "drained": {"spans_per_second": 5_000.0},
        "copy": {"spans_per_second": 8_000.0},
        "copy_by_two": {"spans_per_second": 10_000.0},
    }

    add_ratios(found)

    assert found["ratios"] == {"drained_to_phoenix": 50.0, "drained_to_copy": 0.5}


def test_the_limit_is_the_process_nearest_to_a_core_and_what_others_take_is_told() -> None:
    found: dict[str, Any] = {
        "machine": {"cores": 2},
        "sustained": {
            "spans_per_second": 5_000.0,
            "processes": {
                "receiver": {"core_share": 0.1},
                "exporter": {"core_share": 0.9},
                "Postgres": {"core_share": 0.7},
            },
            "machine": {"busy_share": 0.95, "disk_wait_share": 0.01},
        },
    }

    add_ratios(found)

    limit = found["limit"]
    assert (limit["process"], limit["all_cores_busy"]) == ("exporter", True)
    assert limit["other_programs_cores"] == 0.2


def test_the_cpu_of_a_span_is_that_of_all_but_the_sender_and_counts_backends_once() -> None:
    machine = {"busy_share": 0.5, "disk_wait_share": 0.0}
    costs = {"receiver": 10.0, "exporter": 90.0, "Postgres backends": 80.0, "Postgres": 100.0}
    found: dict[str, Any] = {
        "machine": {"cores": 2},
        "phoenix": {
            "spans_per_second": 100.0,
            "processes": {
                "Phoenix": {"cpu_us_a_span": 5_000.0},
                "Postgres": {"cpu_us_a_span": 1_000.0},
                "sender": {"cpu_us_a_span": 50.0},
            },
        },
        "sustained": {
            "spans_per_second": 5_000.0,
            "processes": {
                name: {"cpu_us_a_span": cost, "core_share": 0.1}
                for name, cost in {**costs, "sender": 7.0}.items()
            },
            "machine": machine,
        },
    }

    add_ratios(found)

    assert found["cpu_us_a_span"] == {"phoenix": 6_000, "sustained": 200}
    assert found["ratios"]["cpu_to_phoenix"] == 30.0
