"""Figures of the page become Markdown. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

TARGET_MS = 100

_PACES = {
    "pace": "two answers a second",
    "sprint": "as fast as the page takes them ({answers_per_second} a second)",
}
_WAYS = {"ours": "Tracequill", "phoenix": "Phoenix's own page"}


def page_lines(page: Mapping[str, Any]) -> Iterator[str]:
    """Give the tables of one person at the page."""
    yield "### From a key to the next question painted"
    yield ""
    yield (
        f"One person in Chromium {page['browser']}, two keys an answer, in a queue of "
        f"{page['items']:,} questions. By the page itself, and by the browser's compositor, which "
        "shows the text."
    )
    yield ""
    yield "| Pace | answers | p50 | p95 | p99 | longest | shown p50 | shown p95 |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for name, title in _PACES.items():
        one = page[name]
        yield (
            f"| {title.format(**one)} | {one['answers']:,} "
            f"| {one['painted_ms_p50']:.0f} ms | {one['painted_ms_p95']:.0f} ms "
            f"| {one['painted_ms_p99']:.0f} ms | {one['painted_ms_max']:.0f} ms "
            f"| {one['shown_ms_p50']:.0f} ms | {one['shown_ms_p95']:.0f} ms |"
        )
    yield ""
    p95, opening = page["pace"]["painted_ms_p95"], page["opening"]
    verdict = "reached" if p95 < TARGET_MS else "NOT reached"
    yield (
        f"Target at two answers a second: p95 under {TARGET_MS} ms. Measured: {p95:.0f} ms; "
        f"{verdict}. From opening the url in a browser that has nothing of it yet to the first "
        f"question, ready for keys: {opening['ms_p50'] / 1000:.1f} s, at most "
        f"{opening['ms_max'] / 1000:.1f} s of {opening['times']}."
    )
    yield ""
    if "beside" in page:
        yield from _beside(page["beside"])


def _beside(beside: Mapping[str, Any]) -> Iterator[str]:
    yield "### The same labels through Phoenix's own page"
    yield ""
    yield (
        f"| {beside['answers']} answers | keys an answer | until the next one is there, p50 "
        "| seconds an answer |"
    )
    yield "|---|---:|---:|---:|"
    for name, title in _WAYS.items():
        one = beside[name]
        yield (
            f"| {title} | {one['keys_an_item']:.1f} "
            f"| {one['item_ms_p50']:,} ms | {one['seconds_an_item']:.2f} s |"
        )
    yield ""
