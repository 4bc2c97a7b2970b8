"""Measurements become figures: plain numbers, rounded, as they stand in the JSON file."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from bench.ingest.answers import Answers
from bench.ingest.copying import Copied
from bench.ingest.meter import BACKENDS, POSTGRES, Usage
from bench.ingest.overload import IN_FLIGHT, Overload
from bench.ingest.sender import SEED, TEMPLATES
from bench.ingest.spans import make_templates
from bench.ingest.storing import SENDER, TRACES, Stored

Figures = dict[str, Any]

_BUSY_SHARE = 0.95
_COPIES = ("copy", "copy_by_two")


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value that *share* of all *values* do not exceed; the nearest rank."""
    if not values:
        return 0.0
    # What is whole must not be rounded up because a float is a little more.
    rank = math.ceil(share * len(values) - 1e-9)
    return sorted(values)[max(rank, 1) - 1]


def of_spans() -> Figures:
    """Describe what is sent."""
    templates = make_templates(SEED, TEMPLATES, TRACES)
    size = sum(one.size_bytes for one in templates) / sum(one.span_count for one in templates)
    return {"bytes_a_span": round(size), "spans_a_request": templates[0].span_count}


def of_stored(runs: Sequence[Stored]) -> Figures:
    """Give the median of the runs, the spread of their windows, and what each process cost."""
    return _of_rates(runs, [rate for one in runs for rate in one.windows])


def of_copied(runs: Sequence[Copied]) -> Figures:
    """Give the median and spread of the runs, and what Postgres' backend cost."""
    return _of_rates(runs, [one.spans_per_second for one in runs])


def _of_rates(runs: Sequence[Stored | Copied], spread: Sequence[float]) -> Figures:
    rates = [one.spans_per_second for one in runs]
    return {
        "spans": sum(one.spans for one in runs),
        "spans_per_second": round(statistics.median(rates), 1),
        "lowest": round(min(spread), 1),
        "highest": round(max(spread), 1),
        "runs": [round(rate, 1) for rate in rates],
        "processes": _processes([(one.usage, one.spans) for one in runs]),
        "machine": _machine([one.usage for one in runs]),
    }


def of_answers(runs: Sequence[Answers]) -> Figures:
    """Give what senders saw: the median of the runs' percentiles, and the spread of p99."""
    first = runs[0]
    p99 = [percentile(one.acknowledged_ms, 0.99) for one in runs]
    return {
        "spans_per_second": first.spans_per_second,
        "spans_a_request": first.spans_a_request,
        "requests": sum(len(one.acknowledged_ms) for one in runs),
        "acknowledged_ms_p50": _median(runs, "acknowledged_ms", 0.5),
        "acknowledged_ms_p99": _median(runs, "acknowledged_ms", 0.99),
        "acknowledged_ms_p99_lowest": round(min(p99), 2),
        "acknowledged_ms_p99_highest": round(max(p99), 2),
        "visible_ms_p50": _median(runs, "visible_ms", 0.5),
        "visible_ms_p95": _median(runs, "visible_ms", 0.95),
        "held_back_requests": sum(one.held_back_requests for one in runs),
        "refused_requests": sum(one.refused_requests for one in runs),
        "max_memory_mib": _max_memory([one.usage for one in runs]),
        "machine": _machine([one.usage for one in runs]),
    }


def of_overload(one: Overload) -> Figures:
    """Give what was offered, what became of it, and how much was held at most."""
    return {
        "offered_spans_per_second": round(one.offered_spans_per_second),
        "sent_spans": one.sent_spans,
        "acknowledged_spans": one.acknowledged_spans,
        "answers": dict(sorted(one.answers.items())),
        "permanent_answers": one.permanent_answers,
        "held_back_requests": one.held_back_requests,
        "in_flight_requests": IN_FLIGHT,
        "lost_spans": one.lost_spans,
        "twice_stored_spans": one.twice_stored_spans,
        "stored_spans": one.stored_spans,
        "stored_per_second_meanwhile": round(one.stored_per_second_meanwhile),
        "drain_seconds": round(one.drain_seconds, 1),
        "queue_max_mib": round(one.queue_max_bytes / 1024**2, 1),
        "queue_highest_mib": round(one.queue_highest_bytes / 1024**2, 1),
        "max_memory_mib": _max_memory([one.usage]),
        "machine": _machine([one.usage]),
    }


def add_ratios(found: Figures) -> None:
    """Add how ours compares, and what limits it, where the parts for that were measured."""
    ratios: Figures = {}
    copied = [found[name]["spans_per_second"] for name in _COPIES if name in found]
    for name in ("sustained", "drained", "growth"):
        if name not in found:
            continue
        ours = found[name]["spans_per_second"]
        if "phoenix" in found:
            ratios[f"{name}_to_phoenix"] = round(ours / found["phoenix"]["spans_per_second"], 1)
        if copied:
            ratios[f"{name}_to_copy"] = round(ours / max(copied), 2)
    if "phoenix" in found and "sustained" in found:
        # What else runs on the machine changes rates, and this little.
        of_phoenix, of_ours = _cpu_us(found["phoenix"]), _cpu_us(found["sustained"])
        found["cpu_us_a_span"] = {"phoenix": round(of_phoenix), "sustained": round(of_ours)}
        ratios["cpu_to_phoenix"] = round(of_phoenix / of_ours, 1)
    found["ratios"] = ratios
    if "sustained" in found:
        found["limit"] = _limit(found["sustained"], found["machine"]["cores"])


def _cpu_us(stored: Figures) -> float:
    """Give the CPU time of a stored span, of all that takes part but the sender."""
    return sum(
        float(one["cpu_us_a_span"])
        for name, one in stored["processes"].items()
        if name not in (BACKENDS, SENDER)
    )


def _limit(stored: Figures, cores: int) -> Figures:
    """Name the process that is nearest to a whole core, and say whether all cores are busy."""
    shares = {
        name: one["core_share"] for name, one in stored["processes"].items() if name != POSTGRES
    }
    name = max(shares, key=lambda name: shares[name])
    own = sum(one["core_share"] for name, one in stored["processes"].items() if name != BACKENDS)
    return {
        "other_programs_cores": round(max(0.0, stored["machine"]["busy_share"] * cores - own), 2),
        "process": name,
        "core_share": shares[name],
        "all_cores_busy": stored["machine"]["busy_share"] >= _BUSY_SHARE,
        "busy_share": stored["machine"]["busy_share"],
        "disk_wait_share": stored["machine"]["disk_wait_share"],
    }


def _processes(runs: Sequence[tuple[Usage, int]]) -> Figures:
    names = list(runs[0][0].cpu_seconds)
    return {
        name: {
            "cpu_us_a_span": round(
                statistics.median(
                    usage.cpu_seconds[name] / max(1, spans) * 1e6 for usage, spans in runs
                ),
                1,
            ),
            "core_share": round(statistics.median(usage.core_share(name) for usage, _ in runs), 2),
            "max_memory_mib": round(max(usage.max_memory_mib.get(name, 0.0) for usage, _ in runs)),
        }
        for name in names
    }


def _machine(runs: Sequence[Usage]) -> Figures:
    return {
        "busy_share": round(statistics.median(one.machine_busy_share for one in runs), 2),
        "stolen_share": round(statistics.median(one.machine_stolen_share for one in runs), 3),
        "disk_wait_share": round(statistics.median(one.machine_disk_wait_share for one in runs), 3),
        "disk_written_mib": round(sum(one.disk_written_mib for one in runs)),
    }


def _max_memory(runs: Sequence[Usage]) -> Figures:
    names = runs[0].max_memory_mib
    return {name: round(max(one.max_memory_mib.get(name, 0.0) for one in runs)) for name in names}


def _median(runs: Sequence[Answers], what: str, share: float) -> float:
    return round(statistics.median(percentile(getattr(one, what), share) for one in runs), 2)
