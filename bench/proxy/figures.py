"""Measurements become figures: plain numbers, rounded, as they stand in the JSON file."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.ingest.meter import Usage
from bench.proxy.exchanges import MIX
from bench.proxy.gateways import DIRECT, OURS
from bench.proxy.outage import CONNECTIONS, Outage
from bench.proxy.recording import RECORDER, Drained, Paced
from bench.proxy.streaming import LIGHT_STREAMS, MAX_ADDED_MS, Climb, Streamed, holds
from bench.proxy.throughput import Round, Rounds
from bench.proxy.upstreams import CHUNKS, INTERVAL_MS

Figures = dict[str, Any]


def of_throughput(rounds: Rounds) -> Figures:
    """Give each load's figures by gateway: medians of the rounds."""
    return {
        str(connections): {
            name: _throughput(found, by_name.get(DIRECT, found)) for name, found in by_name.items()
        }
        for connections, by_name in rounds.items()
    }


def _throughput(found: Sequence[Round], direct: Sequence[Round]) -> Figures:
    rates = [one.seen.requests_per_second for one in found]
    figures: Figures = {
        "requests": sum(one.seen.requests for one in found),
        "failed": sum(one.seen.failed + one.seen.timeouts for one in found),
        "requests_per_second": round(statistics.median(rates), 1),
        "lowest": round(min(rates), 1),
        "highest": round(max(rates), 1),
        "drained": all(one.is_drained for one in found),
    }
    for rank in ("p50_ms", "p99_ms"):
        figures[rank] = _median(getattr(one.seen, rank) for one in found)
        figures[f"added_{rank}"] = _median(
            getattr(one.seen, rank) - getattr(without.seen, rank)
            for one, without in zip(found, direct, strict=True)
        )
    figures["added_p99_ms_lowest"] = round(
        min(a.seen.p99_ms - b.seen.p99_ms for a, b in zip(found, direct, strict=True)), 3
    )
    figures["added_p99_ms_highest"] = round(
        max(a.seen.p99_ms - b.seen.p99_ms for a, b in zip(found, direct, strict=True)), 3
    )
    figures["processes"] = _processes([(one.usage, one.seen.requests) for one in found])
    if figures["processes"]:
        own = next(one for name, one in figures["processes"].items() if name != RECORDER)
        figures["per_core"] = round(1e6 / own["cpu_us"], 0) if own["cpu_us"] else None
        total = sum(one["cpu_us"] for one in figures["processes"].values())
        figures["per_core_of_all"] = round(1e6 / total, 0) if total else None
    return figures


def of_light(found: Mapping[str, Sequence[Streamed]]) -> Figures:
    """Give first events and others through each gateway, and what is added to both."""
    direct = found[DIRECT]
    figures: Figures = {"streams": LIGHT_STREAMS, "chunks": CHUNKS, "interval_ms": INTERVAL_MS}
    figures["gateways"] = {}
    for name, runs in found.items():
        failed = sum(one.report.failed_streams for one in runs)
        one: Figures = {
            "failed_streams": failed,
            "whole_streams": sum(one.report.whole_streams for one in runs),
            "failures": _failures(runs),
        }
        for what in ("first_ms", "transit_ms"):
            for rank in ("p50", "p99"):
                pairs = [
                    (getattr(a.report, what)[rank], getattr(b.report, what)[rank])
                    for a, b in zip(runs, direct, strict=True)
                    if getattr(a.report, what) and getattr(b.report, what)
                ]
                if pairs:
                    one[f"{what[:-3]}_{rank}_ms"] = _median(value for value, _ in pairs)
                    one[f"added_{what[:-3]}_{rank}_ms"] = _median(a - b for a, b in pairs)
        figures["gateways"][name] = one
    return figures


def of_held(climbs: Mapping[str, Climb]) -> Figures:
    """Give how many streams each gateway held, and every step of its way."""
    return {
        "limit_ms": MAX_ADDED_MS,
        "gateways": {
            name: {
                "held": climb.held,
                "steps": [_step(name, one, direct) for one, direct in climb.steps],
            }
            for name, climb in climbs.items()
        },
    }


def _step(name: str, one: Streamed, direct_p99_ms: float) -> Figures:
    report = one.report
    figures: Figures = {
        "streams": one.streams,
        "held": holds(one, direct_p99_ms),
        "whole_streams": report.whole_streams,
        "failed_streams": report.failed_streams,
        "failures": report.failures,
        "direct_p99_ms": round(direct_p99_ms, 3),
        "core_share": round(one.usage.core_share(name), 2),
        "max_memory_mib": round(one.usage.max_memory_mib.get(name, 0.0)),
    }
    if report.transit_ms:
        figures |= {
            "p50_ms": round(report.transit_ms["p50"], 3),
            "p99_ms": round(report.transit_ms["p99"], 3),
            "added_p99_ms": round(report.transit_ms["p99"] - direct_p99_ms, 3),
            "upstream_late_p99_ms": round(report.late_ms["p99"], 3),
        }
    return figures


def of_outage(found: Mapping[str, Outage], seconds: float) -> Figures:
    """Give what each gateway did without a collector."""
    return {
        "connections": CONNECTIONS,
        "seconds": seconds,
        "gateways": {
            name: {
                "requests": one.seen.requests,
                "failed": one.seen.failed + one.seen.timeouts,
                "requests_per_second": round(one.seen.requests_per_second, 1),
                "p50_ms": round(one.seen.p50_ms, 3),
                "p99_ms": round(one.seen.p99_ms, 3),
                "recorded": one.recorded,
                "until_recorded_seconds": round(one.until_recorded_seconds, 1),
                "max_memory_mib": _max_memory([one.usage]),
            }
            for name, one in found.items()
        },
    }


def of_recorder(drained: Sequence[Drained], paced: Paced, template_bytes: float) -> Figures:
    """Give how fast the recorder is, and whether it keeps up."""
    rates = [one.exchanges / one.seconds for one in drained]
    cpu_us = _median(one.usage.cpu_seconds[RECORDER] / one.exchanges * 1e6 for one in drained)
    return {
        "mix": MIX,
        "bytes_an_exchange": round(template_bytes),
        "exchanges": sum(one.exchanges for one in drained),
        "exchanges_per_second": round(statistics.median(rates), 1),
        "lowest": round(min(rates), 1),
        "highest": round(max(rates), 1),
        "cpu_us": round(cpu_us, 1),
        "per_core": round(1e6 / cpu_us, 0),
        "max_memory_mib": _max_memory([one.usage for one in drained])[RECORDER],
        "paced": {
            "per_second": paced.per_second,
            "seconds": paced.seconds,
            "waiting_first": round(paced.first),
            "waiting_last": round(paced.last),
            "waiting_most": max(paced.waiting),
            "core_share": round(paced.usage.core_share(RECORDER), 2),
        },
    }


def add_memory(found: Figures, throughput: Rounds) -> None:
    """Add the most that each gateway held in memory in all of the loads."""
    by_name: dict[str, list[Usage]] = {}
    for loads in throughput.values():
        for name, rounds in loads.items():
            by_name.setdefault(name, []).extend(one.usage for one in rounds)
    found["memory_mib"] = {
        name: _max_memory(usages) for name, usages in by_name.items() if _max_memory(usages)
    }
    for name, one in found.get("held", {}).get("gateways", {}).items():
        if name in found["memory_mib"]:
            own = found["memory_mib"][name]
            highest = max((step["max_memory_mib"] for step in one["steps"]), default=0)
            own[name] = max(own.get(name, 0), highest)


def reached(found: Mapping[str, Any]) -> Figures:
    """Hold the targets of the design against what was measured."""
    figures: Figures = {}
    loads = found.get("throughput", {})
    if alone := loads.get("32", {}).get("tracequill_alone"):
        figures["requests_per_core"] = _verdict(alone["requests_per_second"], 3000, at_least=True)
    if alone := loads.get("1", {}).get("tracequill_alone"):
        figures["added_p50_ms"] = _verdict(alone["added_p50_ms"], 0.5, at_least=False)
        figures["added_p99_ms"] = _verdict(alone["added_p99_ms"], 3.0, at_least=False)
    if held := found.get("held", {}).get("gateways", {}).get(OURS):
        figures["streams_held"] = _verdict(held["held"], 500, at_least=True)
    if recorder := found.get("recorder"):
        figures["exchanges_per_core"] = _verdict(recorder["per_core"], 1000, at_least=True)
    return figures


def _verdict(measured: float, target: float, *, at_least: bool) -> Figures:
    is_reached = measured >= target if at_least else measured <= target
    return {"target": target, "measured": measured, "reached": is_reached}


def _failures(runs: Sequence[Streamed]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in runs:
        for reason, count in one.report.failures.items():
            total[reason] = total.get(reason, 0) + count
    return dict(sorted(total.items()))


def _processes(runs: Sequence[tuple[Usage, int]]) -> Figures:
    return {
        name: {
            "cpu_us": round(
                statistics.median(
                    usage.cpu_seconds.get(name, 0.0) / max(1, count) * 1e6 for usage, count in runs
                ),
                1,
            ),
            "core_share": round(statistics.median(usage.core_share(name) for usage, _ in runs), 2),
        }
        for name in runs[0][0].cpu_seconds
        if any(usage.cpu_seconds.get(name) or usage.max_memory_mib.get(name) for usage, _ in runs)
    }


def _max_memory(runs: Sequence[Usage]) -> dict[str, int]:
    names = sorted({name for one in runs for name in one.max_memory_mib})
    sizes = {name: round(max(one.max_memory_mib.get(name, 0.0) for one in runs)) for name in names}
    return {name: size for name, size in sizes.items() if size}


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(list(values)), 3)
