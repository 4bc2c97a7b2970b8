"""Whole answers: how many a second, what each costs, and how much later they come.

Each load is run on one gateway after the other, in rounds, so that what else the machine does in a
minute meets all of them alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.ingest.meter import Usage
from bench.proxy import nginx
from bench.proxy.gateways import OURS, Gateway, Tracequill
from bench.proxy.metering import drained, measured
from bench.proxy.wrk import Seen, run_wrk

ALONE = "tracequill_alone"
"""Ours while the recorder does nothing: what the forwarding process can do by itself."""
_WARM_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Round:
    """What one load on one gateway gave."""

    seen: Seen
    usage: Usage
    is_drained: bool


Rounds = dict[int, dict[str, list[Round]]]
"""By number of connections, then by gateway."""


async def measure_throughput(
    gateways: Mapping[str, Gateway],
    folder: Path,
    *,
    connections: Sequence[int],
    rounds: int,
    seconds: int,
    say: Callable[[str], None],
) -> Rounds:
    """Run every load on every gateway, *rounds* times in turn."""
    body = write_body(folder)
    found: Rounds = {}
    for gateway in gateways.values():
        await run_wrk(gateway.target(stream=False), body, connections=4, seconds=_WARM_SECONDS)
        await drained(gateway)
    for number in range(rounds):
        for count in connections:
            for name, gateway in _contenders(gateways):
                one = await _round(gateway, name == ALONE, body, count, seconds)
                found.setdefault(count, {}).setdefault(name, []).append(one)
                say(
                    f"round {number + 1}, {count} connections, {name}: "
                    f"{one.seen.requests_per_second:,.0f} requests/s, "
                    f"p50 {one.seen.p50_ms:.2f} ms, p99 {one.seen.p99_ms:.2f} ms"
                )
    return found


def write_body(folder: Path) -> Path:
    """Write the body of the call into *folder*, and give its path."""
    path = folder / "call.json"
    path.write_bytes(json.dumps(nginx.request_json(stream=False)).encode())
    return path


def _contenders(gateways: Mapping[str, Gateway]) -> list[tuple[str, Gateway]]:
    found = []
    for name, gateway in gateways.items():
        found.append((name, gateway))
        if name == OURS:
            found.append((ALONE, gateway))
    return found


async def _round(
    gateway: Gateway, is_alone: bool, body: Path, connections: int, seconds: int
) -> Round:
    if is_alone and isinstance(gateway, Tracequill):
        gateway.pause_recorder()
    try:
        async with measured(gateway) as usage:
            seen = await run_wrk(
                gateway.target(stream=False), body, connections=connections, seconds=seconds
            )
    finally:
        if isinstance(gateway, Tracequill):
            gateway.resume_recorder()
    return Round(seen, usage, await drained(gateway))
