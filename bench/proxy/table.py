"""Figures become Markdown: the JSON object of a run enters, its tables leave. No I/O.

The same text stands in ``bench/results/proxy.md`` and between the markers of
``docs/performance.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TITLES = {
    "direct": "direct",
    "nginx": "nginx, not recording",
    "tracequill": "**Tracequill**",
    "tracequill_alone": "**Tracequill**, recorder idle",
    "litellm": "LiteLLM",
    "portkey": "Portkey",
}
_TARGETS = {
    "requests_per_core": ("requests/s on one core, bodies recorded, 32 connections", ""),
    "added_p50_ms": ("added latency, 1 connection, recorder idle, p50", " ms"),
    "added_p99_ms": ("the same, p99", " ms"),
    "streams_held": ("streams held, events at most 10 ms later at p99", ""),
    "exchanges_per_core": ("exchanges that the recorder handles, a second and core", ""),
}


def render(found: Mapping[str, Any]) -> str:
    """Give the tables of one run."""
    return "\n".join(_lines(found)).rstrip() + "\n"


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield from _facts(found)
    if found["targets"]:
        yield from _targets(found["targets"])
    loads = found.get("throughput", {})
    for connections in sorted(loads, key=int):
        yield from _throughput(int(connections), loads[connections])
    if "light" in found:
        yield from _light(found["light"])
    if "held" in found:
        yield from _held(found["held"])
    if found.get("memory_mib"):
        yield from _memory(found["memory_mib"])
    if "outage" in found:
        yield from _outage(found["outage"], found.get("throughput", {}))
    if "recorder" in found:
        yield from _recorder(found["recorder"])


def _in_order(by_name: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Give the gateways in the order of the titles; a file has them in another."""
    return [(name, by_name[name]) for name in _TITLES if name in by_name]


def _facts(found: Mapping[str, Any]) -> Iterator[str]:
    machine, call = found["machine"], found["call"]
    beside = ", ".join(
        f"{title} {machine[name]}"
        for name, title in (
            ("nginx", "nginx"),
            ("litellm", "LiteLLM"),
            ("portkey", "Portkey"),
            ("node", "Node"),
            ("wrk", "wrk"),
            ("aiohttp", "aiohttp"),
            ("uvloop", "uvloop"),
        )
        if name in machine
    )
    yield (
        f"One run ({found['mode']}) of {found['seconds']} s on {machine['cores']} cores "
        f"({machine['processor']}), {machine['memory_gib']} GiB, {machine['disk']} "
        f"(128 KiB appended durably: {machine['fdatasync_ms_p50']} ms), {machine['system']}, "
        f"Python {machine['python']}, {beside}. Requests of {call['request_bytes']:,} bytes, "
        f"answers of {call['answer_bytes']:,}."
    )
    yield ""


def _targets(targets: Mapping[str, Any]) -> Iterator[str]:
    yield "| Target | at least, at most | measured | |"
    yield "|---|---:|---:|---|"
    for name, (title, unit) in _TARGETS.items():
        if (one := targets.get(name)) is not None:
            verdict = "reached" if one["reached"] else "**NOT reached**"
            yield f"| {title} | {one['target']:,}{unit} | {one['measured']:,}{unit} | {verdict} |"
    yield ""


def _throughput(connections: int, loads: Mapping[str, Any]) -> Iterator[str]:
    many = f"{connections} connections" if connections > 1 else "1 connection"
    yield f"### Whole answers, {many}"
    yield ""
    yield (
        "| | requests/s | lowest to highest | of one core | CPU a request | p50 | p99 "
        "| added p50 | added p99 | failed |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    for name, one in _in_order(loads):
        processes = one["processes"]
        own = next((one for process, one in processes.items() if process != "recorder"), None)
        recorder = processes.get("recorder", {}).get("cpu_us", 0)
        cpu = f"{own['cpu_us']:,.0f} µs" if own else ""
        if recorder:
            cpu += f" and {recorder:,.0f} µs"
        share = f"{own['core_share']:.0%}" if own else ""
        added = (
            ("", "")
            if name == "direct"
            else (f"{one['added_p50_ms']:.2f} ms", f"{one['added_p99_ms']:.2f} ms")
        )
        yield (
            f"| {_TITLES[name]} | {one['requests_per_second']:,.0f} "
            f"| {one['lowest']:,.0f} to {one['highest']:,.0f} | {share} | {cpu} "
            f"| {one['p50_ms']:.2f} ms | {one['p99_ms']:.2f} ms | {added[0]} | {added[1]} "
            f"| {one['failed']:,} |"
        )
    yield ""


def _light(light: Mapping[str, Any]) -> Iterator[str]:
    yield f"### Streams: the first event and the others, {light['streams']} at a time"
    yield ""
    yield "| | first event | added p50 | added p99 | later events, added p50 | added p99 | failed |"
    yield "|---|---:|---:|---:|---:|---:|---|"
    for name, one in _in_order(light["gateways"]):
        keys = (
            "first_p50_ms",
            "added_first_p50_ms",
            "added_first_p99_ms",
            "added_transit_p50_ms",
            "added_transit_p99_ms",
        )
        cells = [f"{one[key]:.2f} ms" if key in one else "" for key in keys]
        if name == "direct":
            cells[1:] = [""] * 4
        yield f"| {_TITLES[name]} | {' | '.join(cells)} | {_failures(one)} |"
    yield ""


def _failures(one: Mapping[str, Any]) -> str:
    if not one["failed_streams"]:
        return "0"
    reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(one["failures"].items()))
    whole = one["failed_streams"] + one["whole_streams"]
    return f"{one['failed_streams']} of {whole} ({reasons})"


def _held(held: Mapping[str, Any]) -> Iterator[str]:
    yield f"### Streams held, events at most {held['limit_ms']:.0f} ms later at p99"
    yield ""
    yield "| | held | added p99 | of one core | not held | added p99, or what was seen |"
    yield "|---|---:|---:|---:|---:|---|"
    for name, one in _in_order(held["gateways"]):
        best = next((step for step in reversed(one["steps"]) if step["held"]), None)
        beyond = one["steps"][-1] if one["steps"] and not one["steps"][-1]["held"] else None
        cells = ["", ""]
        if best:
            cells = [f"{best['added_p99_ms']:.1f} ms", f"{best['core_share']:.0%}"]
        further = ["", "none was tried"]
        if beyond:
            seen = f"{beyond['added_p99_ms']:.0f} ms" if "added_p99_ms" in beyond else ""
            if beyond["failed_streams"]:
                seen = f"{seen} {_failures(beyond)} failed".strip()
            if (late_ms := beyond.get("upstream_late_p99_ms", 0)) > held["limit_ms"]:
                seen += f"; the upstream itself was {late_ms:.0f} ms late"
            further = [f"{beyond['streams']:,}", seen]
        yield f"| {_TITLES[name]} | {one['held']:,} | {' | '.join(cells + further)} |"
    yield ""


def _memory(memory: Mapping[str, Any]) -> Iterator[str]:
    yield "### Memory, highest"
    yield ""
    yield "| | |"
    yield "|---|---:|"
    for name, sizes in _in_order(memory):
        text = ", ".join(
            f"{size:,} MiB" if process == name else f"{process} {size:,} MiB"
            for process, size in sorted(sizes.items(), key=lambda item: item[0] == "recorder")
        )
        if name != "tracequill_alone":
            yield f"| {_TITLES[name]} | {text} |"
    yield ""


def _outage(outage: Mapping[str, Any], throughput: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"### Without a collector for the whole run, {outage['connections']} connections, "
        f"{outage['seconds']:g} s"
    )
    yield ""
    yield "| | requests/s | with a collector | p99 | with | failed | recorded when it came back |"
    yield "|---|---:|---:|---:|---:|---:|---|"
    with_collector = throughput.get(str(outage["connections"]), {})
    for name, one in _in_order(outage["gateways"]):
        before = with_collector.get(name)
        rate = f"{before['requests_per_second']:,.0f}" if before else ""
        p99 = f"{before['p99_ms']:.1f} ms" if before else ""
        answered = one["requests"] - one["failed"]
        recorded = f"{min(one['recorded'], answered):,} of {answered:,}"
        if name == "portkey":
            recorded = "it keeps nothing"
        elif one["recorded"]:
            recorded += f", after {one['until_recorded_seconds']:.0f} s"
        yield (
            f"| {_TITLES[name]} | {one['requests_per_second']:,.0f} | {rate} "
            f"| {one['p99_ms']:.1f} ms | {p99} | {one['failed']:,} | {recorded} |"
        )
    yield ""


def _recorder(recorder: Mapping[str, Any]) -> Iterator[str]:
    paced = recorder["paced"]
    kinds = sorted(recorder["mix"].items(), key=lambda item: (-item[1], item[0]))
    mix = ", ".join(f"{share:.0%} {kind}" for kind, share in kinds)
    yield "### The recorder"
    yield ""
    yield "| | |"
    yield "|---|---:|"
    rate, lowest, highest = (
        recorder[name] for name in ("exchanges_per_second", "lowest", "highest")
    )
    yield f"| exchanges/s from a full queue, on one core | {rate:,.0f} |"
    yield f"| lowest to highest | {lowest:,.0f} to {highest:,.0f} |"
    yield f"| CPU an exchange | {recorder['cpu_us']:,.0f} µs |"
    yield f"| exchanges a second and core | {recorder['per_core']:,.0f} |"
    yield f"| memory, highest | {recorder['max_memory_mib']:,} MiB |"
    offered = f"{paced['per_second']:,.0f} exchanges/s for {paced['seconds']:.0f} s"
    yield f"| waiting at {offered}, in the first third | {paced['waiting_first']:,} |"
    yield f"| in the last third | {paced['waiting_last']:,} |"
    yield f"| at most | {paced['waiting_most']:,} |"
    yield ""
    yield f"Exchanges of {recorder['bytes_an_exchange']:,} bytes on average: {mix}."
    yield ""
