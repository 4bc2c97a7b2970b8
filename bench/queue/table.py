"""Figures become Markdown: the JSON object of a run enters, its tables leave. No I/O.

The same text stands in ``bench/results/queue.md`` and between the markers of
``docs/performance.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.queue.page_table import page_lines

_TARGETS = {
    "submit_p95_ms": ("an answer acknowledged, p95, the slowest of the paced crowds", " ms"),
    "in_phoenix_ms": ("an answer given by Phoenix's own API, the longest of them", " ms"),
    "crowds_with_faults": ("crowds with an answer lost, given twice or refused", ""),
    "painted_p95_ms": ("from a key to the next question painted, p95", " ms"),
}
_CROWDS = {
    "one_person": "one person a question",
    "two_people": "two people a question",
    "signed_in": "one person a question, signed in",
    "no_pause": "two people a question, no pause",
}
_FAULTS = {
    "not_in_our_table": "acknowledged, not in our table",
    "not_in_phoenix": "acknowledged, no annotation in Phoenix",
    "unasked": "kept, never acknowledged",
    "items_answered_too_often": "questions answered by too many",
    "answered_twice_by_one": "answered twice by one person",
    "held_twice": "held by too many at a time",
}


def render(found: Mapping[str, Any]) -> str:
    """Give the tables of one run."""
    return "\n".join(_lines(found)).rstrip() + "\n"


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield from _facts(found)
    if found["targets"]:
        yield from _targets(found["targets"])
    if "page" in found:
        yield from page_lines(found["page"])
    if "crowds" in found:
        yield from _crowds(found["crowds"])
    if "selection" in found:
        yield from _selection(found["selection"], found["spans"])


def _facts(found: Mapping[str, Any]) -> Iterator[str]:
    machine = found["machine"]
    yield (
        f"Measured ({found['mode']}) in {found['seconds']} s on {machine['cores']} cores "
        f"({machine['processor']}), {machine['memory_gib']} GiB, {machine['disk']} "
        f"(128 KiB appended durably: {machine['fdatasync_ms_p50']} ms), {machine['system']}, "
        f"Python {machine['python']}, PostgreSQL {machine['postgres']}, Phoenix "
        f"{machine['phoenix']}. {found['spans']:,} spans, queues of {found['items']:,} questions."
    )
    yield ""


def _targets(targets: Mapping[str, Any]) -> Iterator[str]:
    yield "| Target | at most | measured | |"
    yield "|---|---:|---:|---|"
    for name, (title, unit) in _TARGETS.items():
        if one := targets.get(name):
            verdict = "reached" if one["reached"] else "**not reached**"
            yield f"| {title} | {one['target']:g}{unit} | {one['measured']:g}{unit} | {verdict} |"
    yield ""


def _crowds(crowds: Mapping[str, Any]) -> Iterator[str]:
    shown = [(title, crowds[name]) for name, title in _CROWDS.items() if name in crowds]
    people = shown[0][1]["people"]
    yield f"### {people} people at once"
    yield ""
    yield (
        "| | pause | answers/s | acknowledged p50 | p95 | p99 | longest | next question p95 "
        "| in Phoenix p95 | server | Postgres |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    for title, one in shown:
        low, high = one["pace_seconds"]
        pause = f"{low:g} to {high:g} s" if high else "none"
        submit = " | ".join(_ms(one["submit"], key) for key in ("p50", "p95", "p99", "max"))
        yield (
            f"| {title} | {pause} | {one['answers_per_second']:.1f} | {submit} "
            f"| {_ms(one['lease'], 'p95')} | {_ms(one['in_phoenix'], 'p95')} "
            f"| {one['cores']['server']:.0%} | {one['cores']['Postgres']:.0%} |"
        )
    yield ""
    yield "Server and Postgres: of one core."
    yield ""
    yield f"| What the tables say | {' | '.join(title for title, _ in shown)} |"
    yield "|---" + "|---:" * len(shown) + "|"
    cells = " | ".join(f"{one['checked']['acknowledged']:,}" for _, one in shown)
    yield f"| answers acknowledged | {cells} |"
    for key, title in _FAULTS.items():
        yield f"| {title} | {' | '.join(str(one['checked'][key]) for _, one in shown)} |"
    refused = " | ".join(str(sum(one["refused"].values())) for _, one in shown)
    yield f"| refused or failed | {refused} |"
    yield ""


def _ms(times: Mapping[str, Any], key: str) -> str:
    value = times.get(f"{key}_ms")
    return "" if value is None else f"{value:,.0f} ms"


def _selection(selection: Mapping[str, Any], spans: int) -> Iterator[str]:
    yield f"### What a manager waits for, {spans:,} spans"
    yield ""
    yield "| | | |"
    yield "|---|---:|---:|"
    for name, one in selection["previews"].items():
        said = one.get("refused") or f"{one['count']:,} found"
        yield f"| preview and count: {name} | {one['seconds']:.2f} s | {said} |"
    for key, title in (
        ("made", "a queue made, chosen at random from all"),
        ("added", "added to it, chosen at random from the rest"),
        ("agreement", "agreement of two people"),
    ):
        one = selection[key]
        yield f"| {title} | {one['seconds']:.2f} s | {one['count']:,} questions |"
    for kind, one in selection["downloads"].items():
        yield f"| download, {kind} | {one['seconds']:.2f} s | {one['count'] / 1e6:.1f} MB |"
    yield ""
