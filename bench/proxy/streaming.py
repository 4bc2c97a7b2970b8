"""Streams: how much later the first event and every other one come, and how many can be held.

A gateway holds so many streams when every one of them came whole, and their events came no more
than ten milliseconds later, at the 99th percentile, than without a gateway.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.ingest.meter import Usage
from bench.ingest.servers import BenchError
from bench.proxy import nginx
from bench.proxy.gateways import DIRECT, Gateway
from bench.proxy.metering import drained, measured
from bench.proxy.processes import last_lines, launch
from bench.proxy.streams import Order, Report
from bench.proxy.upstreams import CHUNKS, INTERVAL_MS

LIGHT_STREAMS = 8
"""So many streams are light work for every gateway; the times are measured with them."""
MAX_ADDED_MS = 10.0
_PATIENCE_SECONDS = 60.0
# A program that ran by chance must not end the climb.
_TRIES = 2


@dataclass(frozen=True, slots=True)
class Streamed:
    """What one number of streams through one gateway gave."""

    streams: int
    report: Report
    usage: Usage


@dataclass(slots=True)
class Climb:
    """One gateway's way up to the number of streams that it holds no more."""

    steps: list[tuple[Streamed, float]] = field(default_factory=list)
    """Each with the p99 that the same number has without a gateway."""

    @property
    def held(self) -> int:
        """The largest number held."""
        return max((one.streams for one, direct in self.steps if holds(one, direct)), default=0)


def holds(one: Streamed, direct_p99_ms: float) -> bool:
    """Whether every stream came whole and in time."""
    report = one.report
    if report.failed_streams or not report.whole_streams:
        return False
    if not is_load(report):
        return False
    return report.transit_ms["p99"] - direct_p99_ms < MAX_ADDED_MS


def is_load(report: Report) -> bool:
    """Whether the upstream sent by the clock; else it is the limit, and nothing was tried."""
    return bool(report.late_ms) and report.late_ms["p99"] < MAX_ADDED_MS


async def measure_light(
    gateways: Mapping[str, Gateway],
    folder: Path,
    *,
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
) -> dict[str, list[Streamed]]:
    """Read a few streams through every gateway, *rounds* times in turn."""
    found: dict[str, list[Streamed]] = {name: [] for name in gateways}
    for _ in range(rounds):
        for name, gateway in gateways.items():
            one = await read_streams(gateway, folder, LIGHT_STREAMS, seconds)
            found[name].append(one)
            say(f"{LIGHT_STREAMS} streams, {name}: {_summary(one.report)}")
    return found


async def measure_held(
    gateways: Mapping[str, Gateway],
    folder: Path,
    *,
    ladder: Sequence[int],
    seconds: float,
    say: Callable[[str], None],
) -> dict[str, Climb]:
    """Climb *ladder* with every gateway until it holds no more."""
    direct = gateways[DIRECT]
    climbs = {name: Climb() for name in gateways if name != DIRECT}
    direct_p99: dict[int, float] = {}
    climbing = list(climbs)
    for streams in ladder:
        if not climbing:
            break
        for _ in range(_TRIES):
            without = await read_streams(direct, folder, streams, seconds)
            say(f"{streams} streams, {DIRECT}: {_summary(without.report)}")
            direct_p99_ms = without.report.transit_ms.get("p99", math.inf)
            if is_load(without.report) and direct_p99_ms < MAX_ADDED_MS:
                break
        else:
            say(f"{streams} streams are more than the upstream and the reader can do")
            break
        direct_p99[streams] = direct_p99_ms
        for name in list(climbing):
            for _ in range(_TRIES):
                one = await read_streams(gateways[name], folder, streams, seconds)
                climbs[name].steps.append((one, direct_p99[streams]))
                is_held = holds(one, direct_p99[streams])
                say(
                    f"{streams} streams, {name}: {_summary(one.report)}"
                    f"{'' if is_held else ', NOT held'}"
                )
                if is_held:
                    break
            else:
                climbing.remove(name)
    return climbs


async def read_streams(gateway: Gateway, folder: Path, streams: int, seconds: float) -> Streamed:
    """Read *streams* at the same time through *gateway*, and wait until it is at rest."""
    target = gateway.target(stream=True)
    order = Order(
        host=target.host,
        port=target.port,
        path=target.path,
        headers=target.headers | {"Content-Type": "application/json"},
        body=json.dumps(nginx.request_json(stream=True)),
        streams=streams,
        chunks=CHUNKS,
        interval_ms=INTERVAL_MS,
        warm_seconds=CHUNKS * INTERVAL_MS / 1000,
        seconds=seconds,
    )
    log = folder / "streams.log"
    async with measured(gateway) as usage:
        command = [sys.executable, "-m", "bench.proxy.streams", json.dumps(asdict(order))]
        process = await launch(command, log, role="load", pipes=True)
        try:
            async with asyncio.timeout(seconds + _PATIENCE_SECONDS):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode or not output:
        raise BenchError(f"the reader of streams failed: {last_lines(log)}")
    await drained(gateway)
    return Streamed(streams, Report(**json.loads(output)), usage)


def _summary(report: Report) -> str:
    if not report.whole_streams:
        return f"none of {report.failed_streams} came whole: {report.failures}"
    text = (
        f"first after {report.first_ms['p50']:.1f} ms, events under way "
        f"p50 {report.transit_ms['p50']:.2f} ms, p99 {report.transit_ms['p99']:.2f} ms"
    )
    return f"{text}, failed {report.failures}" if report.failed_streams else text
