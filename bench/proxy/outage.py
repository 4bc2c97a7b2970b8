"""The collector is away while calls cross, for the whole run; then it comes and says what it got.

Started for this alone, so that no gateway has ever seen a collector before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.ingest.meter import Usage
from bench.ingest.servers import free_ports
from bench.proxy.gateways import Gateway, Upstreams, running
from bench.proxy.metering import measured
from bench.proxy.throughput import write_body
from bench.proxy.upstreams import counts, running_collector
from bench.proxy.wrk import Seen, run_wrk

CONNECTIONS = 32
_LOOK_SECONDS = 0.5
_STILL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Outage:
    """What one gateway did without a collector, and what came when there was one again."""

    seen: Seen
    usage: Usage
    recorded: int
    """Calls that the collector got in the end."""
    until_recorded_seconds: float


async def measure_outage(
    names: Sequence[str],
    folder: Path,
    upstreams: Upstreams,
    *,
    seconds: int,
    patience_seconds: float,
    say: Callable[[str], None],
) -> dict[str, Outage]:
    """Run each of *names* by itself without a collector, then give it one."""
    body = write_body(folder)
    found = {}
    for name in names:
        [port] = free_ports(1)
        without = Upstreams(upstreams.mock_port, upstreams.paced_port, port)
        async with running([name], folder / "outage", without) as gateways:
            found[name] = one = await _one(
                gateways[name], folder, body, port, seconds, patience_seconds
            )
        say(
            f"no collector, {name}: {one.seen.requests_per_second:,.0f} requests/s, "
            f"p99 {one.seen.p99_ms:.1f} ms, {one.recorded:,} of {one.seen.requests:,} recorded"
        )
    return found


async def _one(
    gateway: Gateway,
    folder: Path,
    body: Path,
    port: int,
    seconds: int,
    patience_seconds: float,
) -> Outage:
    async with measured(gateway) as usage:
        seen = await run_wrk(
            gateway.target(stream=False), body, connections=CONNECTIONS, seconds=seconds
        )
    if not gateway.records:
        return Outage(seen, usage, 0, 0.0)
    began = time.monotonic()
    recorded, changed = 0, began
    async with running_collector(folder / "outage", port):
        while time.monotonic() - began < patience_seconds:
            now = (await counts(port)).get("traces", 0)
            if now != recorded:
                recorded, changed = now, time.monotonic()
            elif recorded >= seen.requests or (
                recorded and time.monotonic() - changed > _STILL_SECONDS
            ):
                break
            await asyncio.sleep(_LOOK_SECONDS)
    return Outage(seen, usage, recorded, changed - began)
