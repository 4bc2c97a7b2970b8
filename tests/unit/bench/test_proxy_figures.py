"""From measurements of proxies to figures and tables."""

from __future__ import annotations

from typing import Any

import pytest
from bench.ingest.meter import Usage
from bench.proxy import figures
from bench.proxy.outage import Outage
from bench.proxy.recording import Drained, Paced
from bench.proxy.streaming import Climb, Streamed, holds
from bench.proxy.streams import Report
from bench.proxy.table import render
from bench.proxy.throughput import Round
from bench.proxy.wrk import Seen

MACHINE = {
    "cores": 2,
    "processor": "AMD EPYC",
    "memory_gib": 23.5,
    "disk": "ext4",
    "fdatasync_ms_p50": 0.2,
    "system": "Linux 6.1",
    "python": "3.11.7",
}


def usage(name: str, cpu_seconds: float, **more: float) -> Usage:
    cpu = {name: cpu_seconds, **more}
    return Usage(wall_seconds=2.0, cpu_seconds=cpu, max_memory_mib=dict.fromkeys(cpu, 50.0))


def seen(requests: int, p99_ms: float, failed: int = 0) -> Seen:
    return Seen(requests, 2.0, failed, 0, p99_ms / 2, p99_ms, p99_ms * 2)


def streamed(streams: int, p99_ms: float, failed: int = 0, *, late_ms: float = 1.0) -> Streamed:
    ranks = {"p50": p99_ms / 2, "p99": p99_ms, "max": p99_ms * 2}
    report = Report(
        whole_streams=streams,
        failed_streams=failed,
        failures={"closed": failed} if failed else {},
        transit_ms=ranks,
        first_ms=ranks,
        late_ms={"p50": 0.5, "p99": late_ms, "max": late_ms * 2},
    )
    return Streamed(streams, report, usage("tracequill", 1.0))


def rounds() -> Any:
    return {
        32: {
            "direct": [Round(seen(50_000, 1.0), Usage(wall_seconds=2.0), True)] * 3,
            "tracequill": [
                Round(seen(count, p99_ms), usage("tracequill", 1.0, recorder=2.0), True)
                for count, p99_ms in ((8_000, 9.0), (10_000, 11.0), (9_000, 5.0))
            ],
        }
    }


def test_rates_are_medians_and_refused_calls_are_no_answers() -> None:
    [load] = figures.of_throughput(rounds()).values()

    ours = load["tracequill"]
    assert (ours["requests_per_second"], ours["lowest"], ours["highest"]) == (4500, 4000, 5000)
    assert seen(100, 1.0, failed=40).requests_per_second == 30


def test_what_is_added_is_the_difference_to_the_same_round_without_a_gateway() -> None:
    [load] = figures.of_throughput(rounds()).values()

    assert load["tracequill"]["added_p99_ms"] == 8.0
    assert load["direct"]["added_p99_ms"] == 0.0


def test_requests_of_a_core_are_told_with_the_recorder_and_without() -> None:
    [load] = figures.of_throughput(rounds()).values()

    ours = load["tracequill"]
    assert ours["processes"]["tracequill"]["cpu_us"] == pytest.approx(111.1)
    assert ours["per_core"] == 9001
    assert ours["per_core_of_all"] == 3000


@pytest.mark.parametrize(
    ("one", "is_held"),
    [
        pytest.param(streamed(8, 11.9), True, id="in time"),
        pytest.param(streamed(8, 12.1), False, id="too late"),
        pytest.param(streamed(8, 3.0, failed=1), False, id="one was cut"),
        pytest.param(streamed(0, 3.0), False, id="none came"),
        pytest.param(streamed(8, 3.0, late_ms=11.0), False, id="the upstream was the limit"),
    ],
)
def test_streams_are_held_when_all_come_whole_and_in_time(one: Streamed, is_held: bool) -> None:
    assert holds(one, direct_p99_ms=2.0) is is_held


def test_a_climb_ends_at_the_largest_number_that_was_held() -> None:
    climb = Climb([(streamed(8, 3.0), 1.0), (streamed(64, 5.0), 1.0), (streamed(128, 50.0), 2.0)])

    assert climb.held == 64
    assert figures.of_held({"tracequill": climb})["gateways"]["tracequill"]["held"] == 64
    assert Climb().held == 0


def found() -> dict[str, Any]:
    light = {"direct": [streamed(8, 1.0)], "tracequill": [streamed(8, 2.0)]}
    failing = Streamed(8, Report(failed_streams=8, failures={"500": 8}), usage("portkey", 0.1))
    paced = Paced(900.0, 2.0, [3, 5, 4, 6, 5, 7], usage("recorder", 1.0))
    whole: dict[str, Any] = {
        "mode": "full",
        "seconds": 600,
        "machine": MACHINE,
        "call": {"request_bytes": 800, "answer_bytes": 900},
        "throughput": figures.of_throughput(rounds()),
        "light": figures.of_light(light | {"portkey": [failing]}),
        "held": figures.of_held({"tracequill": Climb([(streamed(8, 30.0, failed=2), 1.0)])}),
        "outage": figures.of_outage(
            {"tracequill": Outage(seen(9_000, 9.0), usage("tracequill", 1.0), 9_010, 4.0)}, 2
        ),
        "recorder": figures.of_recorder(
            [Drained(1_000, 1.0, usage("recorder", 0.8))], paced, 16_000
        ),
    }
    figures.add_memory(whole, rounds())
    whole["targets"] = figures.reached(whole)
    return whole


def test_the_tables_tell_what_was_measured_and_what_failed() -> None:
    text = render(found())

    assert "| **Tracequill** | 4,500 | 4,000 to 5,000 | 50% | 111 µs and 222 µs |" in text
    assert "8 of 8 (500: 8)" in text
    assert "2 of 10 (closed: 2) failed" in text
    assert "9,000 of 9,000, after 4 s" in text
    assert "| exchanges a second and core | 1,250 |" in text
    assert "| **Tracequill** | 50 MiB, recorder 50 MiB |" in text


def test_what_falls_short_of_a_target_is_said() -> None:
    targets = found()["targets"]

    assert targets["streams_held"] == {"target": 500, "measured": 0, "reached": False}
    assert targets["exchanges_per_core"]["reached"] is True
    assert "**NOT reached**" in render(found())


@pytest.mark.parametrize("part", ["throughput", "light", "held", "outage", "recorder"])
def test_a_run_of_some_parts_has_tables_of_these(part: str) -> None:
    some = {
        name: value
        for name, value in found().items()
        if name in ("mode", "seconds", "machine", "call", part)
    }
    some["targets"] = figures.reached(some)

    assert render(some).count("###") == 1


def test_what_waits_is_told_for_the_first_and_the_last_third() -> None:
    paced = Paced(900.0, 2.0, [1, 3, 50, 60, 8, 10], Usage())

    assert (paced.first, paced.last) == (2, 9)
