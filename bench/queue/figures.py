"""Measurements become figures: plain numbers, rounded, as they stand in the JSON file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.ingest.figures import percentile
from bench.queue.crowding import Worked
from bench.queue.selecting import Selected, seconds_of

SUBMIT_TARGET_MS = 200.0
IN_PHOENIX_TARGET_MS = 1000.0
PAINTED_TARGET_MS = 100.0

Figures = dict[str, Any]


def of_worked(worked: Worked) -> Figures:
    """Give what one crowd did, how long each of them waited, and what was wrong."""
    order, report, usage = worked.order, worked.report, worked.usage
    submit_ms = [(answered - sent) * 1000 for sent, answered in worked.counted]
    return {
        "people": len(order.cookies),
        "overlap": order.overlap,
        "pace_seconds": list(order.pace_seconds),
        "seconds": order.seconds,
        "answers": len(submit_ms),
        "answers_per_second": round(len(submit_ms) / order.seconds, 1),
        "submit": _times(submit_ms),
        "lease": _times(report.lease_ms),
        "heartbeat": _times(report.heartbeat_ms),
        "in_phoenix": _times(report.in_phoenix_ms),
        "checked": asdict(worked.checked),
        "good": worked.checked.is_good and not report.refused,
        "refused": report.refused,
        "lost_leases": report.lost_leases,
        "late": report.late,
        "cores": {name: round(usage.core_share(name), 2) for name in usage.cpu_seconds},
        "machine_busy_share": round(usage.machine_busy_share, 2),
    }


def _times(values: Sequence[float]) -> Figures:
    found: Figures = {"times": len(values)}
    if values:
        for share in (50, 95, 99):
            found[f"p{share}_ms"] = round(percentile(values, share / 100), 1)
        found["max_ms"] = round(max(values), 1)
    return found


def of_selected(selected: Selected) -> Figures:
    """Give how long a manager waited."""
    return {
        "previews": {name: seconds_of(one) for name, one in selected.previews.items()},
        "made": seconds_of(selected.made),
        "added": seconds_of(selected.added),
        "agreement": seconds_of(selected.agreement),
        "downloads": {name: seconds_of(one) for name, one in selected.downloads.items()},
    }


def reached(found: Mapping[str, Any]) -> Figures:
    """Hold the targets of the design against what was measured."""
    figures: Figures = {}
    crowds = found.get("crowds", {})
    if paced := [one for one in crowds.values() if one["pace_seconds"][1]]:
        worst = max(one["submit"].get("p95_ms", float("inf")) for one in paced)
        figures["submit_p95_ms"] = _verdict(worst, SUBMIT_TARGET_MS)
        slowest = max(one["in_phoenix"].get("max_ms", float("inf")) for one in paced)
        figures["in_phoenix_ms"] = _verdict(slowest, IN_PHOENIX_TARGET_MS)
    if crowds:
        wrong = sum(not one["good"] for one in crowds.values())
        figures["crowds_with_faults"] = _verdict(wrong, 0)
    if page := found.get("page"):
        p95 = page["pace"]["painted_ms_p95"]
        figures["painted_p95_ms"] = _verdict(p95, PAINTED_TARGET_MS)
    return figures


def _verdict(measured: float, target: float) -> Figures:
    return {"target": target, "measured": measured, "reached": measured <= target}
