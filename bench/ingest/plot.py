"""Figures become one picture: the JSON object of a run enters, an SVG file leaves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import pyplot, rc_context
from matplotlib.axes import Axes

_OURS, _OTHERS, _LIMIT = "#2563eb", "#9ca3af", "#d97706"
_BARS = (
    ("phoenix", "Phoenix", _OTHERS),
    ("sustained", "senders\ngoing on", _OURS),
    ("drained", "from a\nbacklog", _OURS),
    ("copy", "bare\nCOPY", _LIMIT),
    ("copy_by_two", "COPY\nby two", _LIMIT),
)


def plot(found: Mapping[str, Any], path: Path) -> None:
    """Draw what *found* holds into *path*."""
    pyplot.switch_backend("Agg")
    # Without a date and with ids of its own the same figures give the same file.
    with rc_context({"svg.hashsalt": "ingest"}):
        figure, (stored, growth, answers) = pyplot.subplots(1, 3, figsize=(13, 4))
        _stored(stored, found)
        _growth(growth, found)
        _answers(answers, found)
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)


def _stored(axes: Axes, found: Mapping[str, Any]) -> None:
    bars = [(found[name], title, colour) for name, title, colour in _BARS if name in found]
    heights = [one["spans_per_second"] for one, _, _ in bars]
    errors = [
        [max(0.0, one["spans_per_second"] - one["lowest"]) for one, _, _ in bars],
        [max(0.0, one["highest"] - one["spans_per_second"]) for one, _, _ in bars],
    ]
    places = range(len(bars))
    axes.bar(places, heights, yerr=errors, capsize=4, color=[colour for _, _, colour in bars])
    axes.set_xticks(list(places), [title for _, title, _ in bars])
    for place, height, above in zip(places, heights, errors[1], strict=True):
        axes.annotate(
            f"{height:,.0f}",
            (place, height + above),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
        )
    axes.margins(y=0.2)
    axes.set_title("stored spans per second")


def _growth(axes: Axes, found: Mapping[str, Any]) -> None:
    axes.set_title("spans per second as the database grows")
    if "growth" not in found:
        return
    growth = found["growth"]
    stored = [place * growth["bucket_spans"] for place in range(1, len(growth["buckets"]) + 1)]
    axes.plot(stored, growth["buckets"], marker="o", color=_OURS)
    axes.set_ylim(0, 1.2 * max(growth["buckets"]))
    axes.set_xlabel("spans stored")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _answers(axes: Axes, found: Mapping[str, Any]) -> None:
    axes.set_title("answer to a request, ms, at half load")
    if "half_load" not in found:
        return
    names = ("half_load", "half_load_unsynced")
    for place, (name, colour) in enumerate(zip(names, (_OURS, _OTHERS), strict=True)):
        values = [found[name][f"acknowledged_ms_{rank}"] for rank in ("p50", "p99")]
        axes.bar(
            [rank + place * 0.4 for rank in range(2)],
            values,
            width=0.38,
            color=colour,
            label=("fsync", "no fsync")[place],
        )
    axes.set_xticks([0.2, 1.2], ["p50", "p99"])
    axes.legend()
