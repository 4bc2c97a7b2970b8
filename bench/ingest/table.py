"""Figures become Markdown: the JSON object of a run enters, its tables leave. No I/O.

The same text stands in ``bench/results/ingest.md`` and between the markers of
``docs/performance.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

TARGET_TIMES_PHOENIX = 40

_STORED = {
    "phoenix": "stock Phoenix",
    "sustained": "Tracequill, senders going on",
    "drained": "Tracequill, from a backlog",
    "growth": "Tracequill, from an empty database to {spans:,} spans",
    "copy": "bare COPY of the same rows",
    "copy_by_two": "the same by two connections side by side",
}


def render(found: Mapping[str, Any]) -> str:
    """Give the tables of one run."""
    return "\n".join(_lines(found)).rstrip() + "\n"


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield from _facts(found)
    if any(name in found for name in _STORED):
        yield from _stored(found)
    if "sustained" in found:
        yield from _costs(found)
    if "half_load" in found:
        yield from _answers(found)
    if "growth" in found:
        yield from _growth(found["growth"])
    if "overload" in found:
        yield from _overload(found["overload"], found["sustained"]["spans_per_second"])


def _facts(found: Mapping[str, Any]) -> Iterator[str]:
    machine, spans = found["machine"], found["spans"]
    yield (
        f"One run ({found['mode']}) of {found['seconds']} s on {machine['cores']} cores "
        f"({machine['processor']}), {machine['memory_gib']} GiB, {machine['disk']} "
        f"(128 KiB appended durably: {machine['fdatasync_ms_p50']} ms), {machine['system']}, "
        f"Python {machine['python']}, PostgreSQL {machine['postgres']}, "
        f"Phoenix {machine['phoenix']}. "
        f"Spans of {spans['bytes_a_span']:,} bytes, {spans['spans_a_request']} a request, "
        "OTLP/gRPC."
    )
    yield ""


def _stored(found: Mapping[str, Any]) -> Iterator[str]:
    ratios = found["ratios"]
    yield "### Stored spans per second"
    yield ""
    yield "| | median | lowest to highest | times Phoenix | of the faster COPY |"
    yield "|---|---:|---:|---:|---:|"
    for name, title in _STORED.items():
        if (one := found.get(name)) is None:
            continue
        times = f"{ratios[key]:.1f}" if (key := f"{name}_to_phoenix") in ratios else ""
        share = f"{ratios[key]:.0%}" if (key := f"{name}_to_copy") in ratios else ""
        yield (
            f"| {title.format(**one)} | {one['spans_per_second']:,.0f} "
            f"| {one['lowest']:,.0f} to {one['highest']:,.0f} | {times} | {share} |"
        )
    yield ""
    if "sustained_to_phoenix" in ratios:
        times = ratios["sustained_to_phoenix"]
        verdict = "reached" if times >= TARGET_TIMES_PHOENIX else "NOT reached"
        yield (
            f"Target: at least {TARGET_TIMES_PHOENIX} times Phoenix while senders go on. "
            f"Measured: {times:.1f} times; {verdict}."
        )
        yield ""


def _costs(found: Mapping[str, Any]) -> Iterator[str]:
    yield "### What a stored span costs, and what is the limit"
    yield ""
    yield "| Process | CPU a span | of one core | memory, highest |"
    yield "|---|---:|---:|---:|"
    rows = [("Phoenix", "phoenix", "Phoenix, stock")]
    rows += [("Postgres", "phoenix", "Postgres, under stock Phoenix")]
    rows += [("receiver", "sustained", "receiver"), ("exporter", "sustained", "exporter")]
    rows += [("Postgres backends", "sustained", "Postgres, the exporter's backends")]
    rows += [("Postgres", "sustained", "Postgres, all of it")]
    rows += [("sender", "sustained", "sender (the bench)")]
    rows += [("Postgres backends", "copy", "bare COPY: the backend")]
    rows += [("Postgres backends", "copy_by_two", "bare COPY by two: the backends")]
    for name, part, title in rows:
        if one := found.get(part, {}).get("processes", {}).get(name):
            yield (
                f"| {title} | {one['cpu_us_a_span']:,.0f} µs | {one['core_share']:.0%} "
                f"| {one['max_memory_mib']:,} MiB |"
            )
    yield ""
    if "cpu_us_a_span" in found:
        cpu = found["cpu_us_a_span"]
        yield (
            f"All together a span costs {cpu['phoenix']:,} µs of CPU with stock Phoenix and "
            f"{cpu['sustained']:,} µs here: {found['ratios']['cpu_to_phoenix']:.0f} times less."
        )
        yield ""
    yield from _limit(found)


def _limit(found: Mapping[str, Any]) -> Iterator[str]:
    limit, machine = found["limit"], found["sustained"]["machine"]
    if limit["all_cores_busy"]:
        sentence = (
            f"The limit is the CPU: all cores together are {limit['busy_share']:.0%} busy, the "
            f"{limit['process']} most of all ({limit['core_share']:.0%} of a core)."
        )
    else:
        sentence = (
            f"The limit is the {limit['process']}, which takes {limit['core_share']:.0%} of a "
            f"core; all cores together are {limit['busy_share']:.0%} busy."
        )
    yield (
        f"{sentence} Cores that waited for the disk and had nothing else to do: "
        f"{limit['disk_wait_share']:.1%}; taken by the hypervisor: {machine['stolen_share']:.1%}. "
        f"Other programs took {limit['other_programs_cores']:.2f} cores meanwhile."
    )
    if "drained_to_copy" in found["ratios"]:
        share = found["ratios"]["drained_to_copy"]
        yield (
            f"From a backlog the exporter stores {share:.0%} of what Postgres takes when the rows "
            "are ready and nothing but COPY is asked of it."
        )
    yield ""


def _answers(found: Mapping[str, Any]) -> Iterator[str]:
    yield "### Answers"
    yield ""
    yield (
        "| Load | requests | answered p50 | answered p99 | stored after the answer, p50 | p95 "
        "| refused |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, title in (
        ("half_load", "half of what can be stored, {spans_per_second:,} spans/s"),
        ("half_load_unsynced", "the same without fsync in the queue"),
        ("quiet", "{spans_per_second} spans/s"),
    ):
        one = found[name]
        yield (
            f"| {title.format(**one)}, {one['spans_a_request']} a request | {one['requests']:,} "
            f"| {one['acknowledged_ms_p50']:.1f} ms | {one['acknowledged_ms_p99']:.1f} ms "
            f"| {one['visible_ms_p50']:,.0f} ms | {one['visible_ms_p95']:,.0f} ms "
            f"| {one['refused_requests'] + one['held_back_requests']} |"
        )
    synced, unsynced = found["half_load"], found["half_load_unsynced"]
    p50 = synced["acknowledged_ms_p50"] - unsynced["acknowledged_ms_p50"]
    p99 = synced["acknowledged_ms_p99"] - unsynced["acknowledged_ms_p99"]
    yield ""
    yield (
        f"fsync costs {p50:+.1f} ms at p50 and {p99:+.1f} ms at p99. p99 between runs: "
        f"{synced['acknowledged_ms_p99_lowest']:.1f} to "
        f"{synced['acknowledged_ms_p99_highest']:.1f} ms with it, "
        f"{unsynced['acknowledged_ms_p99_lowest']:.1f} to "
        f"{unsynced['acknowledged_ms_p99_highest']:.1f} ms without."
    )
    yield ""


def _growth(growth: Mapping[str, Any]) -> Iterator[str]:
    yield f"### From an empty database to {growth['spans']:,} spans"
    yield ""
    yield "| Spans stored | spans/s |"
    yield "|---:|---:|"
    for place, rate in enumerate(growth["buckets"], start=1):
        yield f"| {place * growth['bucket_spans']:,} | {rate:,} |"
    yield ""
    memory = {name: one["max_memory_mib"] for name, one in growth["processes"].items()}
    yield f"Highest memory: {_memory(memory)}."
    yield ""


def _overload(overload: Mapping[str, Any], capacity: float) -> Iterator[str]:
    answers = ", ".join(f"{name} {count:,}" for name, count in sorted(overload["answers"].items()))
    yield f"### {overload['times']} times too much"
    yield ""
    yield "| | |"
    yield "|---|---:|"
    wanted = overload["times"] * capacity
    yield (
        f"| offered, of {overload['times']} times what can be stored | "
        f"{overload['offered_spans_per_second']:,} of {wanted:,.0f} spans/s |"
    )
    yield f"| sent | {overload['sent_spans']:,} spans |"
    yield (
        f"| not sent, because {overload['in_flight_requests']} requests waited for an answer | "
        f"{overload['held_back_requests']:,} requests |"
    )
    yield f"| stored meanwhile | {overload['stored_per_second_meanwhile']:,} spans/s |"
    yield f"| answers | {answers} |"
    yield f"| answers that make a client give up | {overload['permanent_answers']:,} |"
    yield f"| acknowledged | {overload['acknowledged_spans']:,} spans |"
    yield f"| of these lost | {overload['lost_spans']:,} |"
    yield f"| stored twice | {overload['twice_stored_spans']:,} |"
    yield (
        f"| queue on disk, highest, of its cap | {overload['queue_highest_mib']:,.0f} of "
        f"{overload['queue_max_mib']:,.0f} MiB |"
    )
    yield f"| until the queue was empty again | {overload['drain_seconds']:.0f} s |"
    yield f"| highest memory | {_memory(overload['max_memory_mib'])} |"


def _memory(sizes: Mapping[str, int]) -> str:
    shown = {name: size for name, size in sorted(sizes.items()) if name != "Postgres backends"}
    return ", ".join(f"{name} {size:,} MiB" for name, size in shown.items())
