"""One run: each measurement after the other, and their figures in one JSON object.

What takes short is repeated in turn by all gateways, so that what else the machine does in a minute
meets all of them alike.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.ingest.machine import hardware_facts
from bench.proxy import figures, nginx
from bench.proxy.exchanges import make_templates
from bench.proxy.gateways import DIRECT, LITELLM, NAMES, NGINX, OURS, PORTKEY, Upstreams, running
from bench.proxy.outage import measure_outage
from bench.proxy.processes import PEERS
from bench.proxy.recording import measure_drained, measure_paced
from bench.proxy.streaming import measure_held, measure_light
from bench.proxy.throughput import Rounds, measure_throughput
from bench.proxy.upstreams import running_upstreams
from bench.proxy.wrk import find_wrk

PARTS = ("throughput", "light", "held", "outage", "recorder")
_NEED_WRK = frozenset({"throughput", "outage"})
# Of the rate that the recorder must reach.
PACED_PER_SECOND = 900.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How long and how often."""

    name: str
    connections: tuple[int, ...]
    rounds: int
    seconds: int
    stream_rounds: int
    stream_seconds: float
    ladder: tuple[int, ...]
    outage_seconds: int
    outage_patience_seconds: float
    exchanges: int
    exchange_rounds: int
    paced_seconds: float


FULL = Scale(
    name="full",
    connections=(1, 32, 256),
    rounds=3,
    seconds=4,
    stream_rounds=3,
    stream_seconds=2.6,
    ladder=(1, 8, 32, 64, 128, 256, 384, 500, 600, 700, 800, 1000),
    outage_seconds=6,
    outage_patience_seconds=60,
    exchanges=8_000,
    exchange_rounds=3,
    paced_seconds=20,
)
QUICK = Scale(
    name="quick",
    connections=(1, 32),
    rounds=1,
    seconds=1,
    stream_rounds=1,
    stream_seconds=1.0,
    ladder=(8,),
    outage_seconds=1,
    outage_patience_seconds=15,
    exchanges=1_000,
    exchange_rounds=1,
    paced_seconds=2,
)


class Run:
    """A run; what was found is in ``found``."""

    def __init__(
        self, scale: Scale, names: Sequence[str], folder: Path, say: Callable[[str], None]
    ) -> None:
        self.found: dict[str, Any] = {"mode": scale.name}
        self._scale = scale
        self._names = [name for name in NAMES if name in names]
        self._folder = folder
        self._say = say
        self._rounds: Rounds = {}

    async def beside_each_other(self, upstreams: Upstreams, parts: Sequence[str]) -> None:
        """Whole answers and streams: all gateways run at the same time, one is asked at a time."""
        if not {"throughput", "light", "held"} & set(parts):
            return
        self._say(f"starting {', '.join(self._names)}")
        async with running(self._names, self._folder, upstreams) as gateways:
            scale = self._scale
            if "throughput" in parts:
                self._rounds = await measure_throughput(
                    gateways,
                    self._folder,
                    connections=scale.connections,
                    rounds=scale.rounds,
                    seconds=scale.seconds,
                    say=self._say,
                )
                self.found["throughput"] = figures.of_throughput(self._rounds)
            if "light" in parts:
                light = await measure_light(
                    gateways,
                    self._folder,
                    rounds=scale.stream_rounds,
                    seconds=scale.stream_seconds,
                    say=self._say,
                )
                self.found["light"] = figures.of_light(light)
            if "held" in parts:
                climbs = await measure_held(
                    gateways,
                    self._folder,
                    ladder=scale.ladder,
                    seconds=scale.stream_seconds,
                    say=self._say,
                )
                self.found["held"] = figures.of_held(climbs)
        figures.add_memory(self.found, self._rounds)

    async def outage(self, upstreams: Upstreams) -> None:
        """The collector is away."""
        names = [name for name in (OURS, LITELLM, PORTKEY) if name in self._names]
        found = await measure_outage(
            names,
            self._folder,
            upstreams,
            seconds=self._scale.outage_seconds,
            patience_seconds=self._scale.outage_patience_seconds,
            say=self._say,
        )
        self.found["outage"] = figures.of_outage(found, self._scale.outage_seconds)

    async def recorder(self) -> None:
        """The recorder by itself."""
        scale = self._scale
        drained = await measure_drained(
            self._folder,
            exchanges=scale.exchanges,
            rounds=scale.exchange_rounds,
            say=self._say,
        )
        paced = await measure_paced(
            self._folder,
            per_second=PACED_PER_SECOND,
            seconds=scale.paced_seconds,
            say=self._say,
        )
        templates = await make_templates()
        size = sum(one.request_body_bytes + one.response_body_bytes for one in templates)
        self.found["recorder"] = figures.of_recorder(drained, paced, size / len(templates))


async def run(
    scale: Scale,
    parts: Sequence[str],
    names: Sequence[str],
    data_dir: Path | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Run *parts* with the gateways *names*, and give their figures."""
    began = time.monotonic()
    needs_wrk = bool(_NEED_WRK & set(parts))
    with tempfile.TemporaryDirectory(dir=data_dir, prefix="bench-proxy-") as name:
        folder = Path(name)
        current = Run(scale, [DIRECT, *names], folder, say)
        current.found["machine"] = hardware_facts(folder) | _versions(names, needs_wrk)
        current.found["call"] = _call()
        async with contextlib.AsyncExitStack() as stack:
            if set(parts) - {"recorder"}:
                is_fast = needs_wrk or NGINX in names
                upstreams = await stack.enter_async_context(
                    running_upstreams(folder, is_fast=is_fast)
                )
                await current.beside_each_other(upstreams, parts)
                if "outage" in parts:
                    await current.outage(upstreams)
        if "recorder" in parts:
            await current.recorder()
    current.found["targets"] = figures.reached(current.found)
    current.found["seconds"] = round(time.monotonic() - began)
    return current.found


def _versions(names: Sequence[str], needs_wrk: bool) -> dict[str, str]:
    """Give the versions of what is beside us, as each of them says it."""
    found = {}
    if needs_wrk or NGINX in names:
        found["nginx"] = _says([nginx.find_nginx(), "-v"]).rpartition("/")[2]
    if needs_wrk:
        found["wrk"] = _says([find_wrk(), "-v"]).split()[1]
    if LITELLM in names:
        python = str(PEERS / "litellm" / "bin" / "python")
        code = "import importlib.metadata as m; print(m.version('litellm'))"
        found["litellm"] = _says([python, "-c", code])
    if PORTKEY in names:
        package = PEERS / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "package.json"
        if package.exists():
            found["portkey"] = json.loads(package.read_bytes())["version"]
        found["node"] = _says(["node", "--version"]).removeprefix("v")
    return found | {name: importlib.metadata.version(name) for name in ("aiohttp", "uvloop")}


def _says(command: Sequence[str]) -> str:
    """Give the first line that *command* prints."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except OSError:
        return "not installed"
    return (result.stdout + result.stderr).strip().partition("\n")[0]


def _call() -> dict[str, int]:
    return {
        "request_bytes": len(json.dumps(nginx.request_json(stream=False))),
        "answer_bytes": len(json.dumps(nginx.answer_json(), separators=(",", ":"))),
    }
