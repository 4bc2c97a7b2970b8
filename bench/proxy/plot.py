"""Figures become one picture: the JSON object of a run enters, an SVG file leaves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import pyplot, rc_context
from matplotlib.axes import Axes

_COLOURS = {
    "nginx": "#d97706",
    "tracequill": "#2563eb",
    "tracequill_alone": "#60a5fa",
    "litellm": "#9ca3af",
    "portkey": "#6b7280",
}
_NAMES = {
    "nginx": "nginx,\nnot recording",
    "tracequill": "Tracequill",
    "tracequill_alone": "recorder\nidle",
    "litellm": "LiteLLM",
    "portkey": "Portkey",
}


def plot(found: Mapping[str, Any], path: Path) -> None:
    """Draw what *found* holds into *path*."""
    pyplot.switch_backend("Agg")
    # Without a date and with ids of its own the same figures give the same file.
    with rc_context({"svg.hashsalt": "proxy"}):
        figure, (rates, added, held) = pyplot.subplots(1, 3, figsize=(13, 4))
        loads = found.get("throughput", {})
        _bars(rates, "requests/s of one core, logarithmic", loads.get("32", {}), _rate)
        _bars(added, "added latency p50, ms, logarithmic", loads.get("1", {}), _added)
        _bars(held, "streams held", found.get("held", {}).get("gateways", {}), _held)
        # None is a number of streams, too, and has no place on a logarithmic scale.
        held.set_yscale("linear")
        held.set_ylim(0)
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)


def _rate(one: Mapping[str, Any]) -> float:
    return float(one["requests_per_second"])


def _added(one: Mapping[str, Any]) -> float:
    return float(one["added_p50_ms"])


def _held(one: Mapping[str, Any]) -> float:
    return float(one["held"])


def _bars(axes: Axes, title: str, found: Mapping[str, Any], value_of: Any) -> None:
    names = [name for name in _NAMES if name in found]
    values = [value_of(found[name]) for name in names]
    places = range(len(names))
    axes.bar(places, values, color=[_COLOURS[n] for n in names])
    axes.set_xticks(list(places), [_NAMES[name] for name in names], fontsize=8)
    for place, value in zip(places, values, strict=True):
        text = f"{value:,.2f}" if value < 10 and value % 1 else f"{value:,.0f}"
        axes.annotate(text, (place, value), xytext=(0, 3), textcoords="offset points", ha="center")
    if values:
        axes.set_yscale("log")
        axes.margins(y=0.2)
    axes.set_title(title)
