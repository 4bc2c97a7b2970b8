"""wrk from the outside: a Load goes in, what its connections saw comes out.

wrk is a program of its own, so that making the load costs as little as it can and holds up nobody.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.ingest.servers import BenchError
from bench.proxy.cores import on_cores
from bench.proxy.gateways import Target

_SCRIPT = Path(__file__).with_name("post.lua")
# A gateway that answers a few requests a second makes hundreds of connections wait long.
_TIMEOUT_SECONDS = 30
_GRACE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What one run of wrk saw."""

    requests: int
    seconds: float
    failed: int
    """Answers other than 2xx and 3xx, and connections that broke."""
    timeouts: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def requests_per_second(self) -> float:
        """Give how many were answered in a second; refusals are no answers."""
        return max(0, self.requests - self.failed) / self.seconds if self.seconds else 0.0


def find_wrk() -> str:
    """Give the path of wrk; BenchError when it is not installed."""
    if (found := shutil.which("wrk")) is None:
        raise BenchError("wrk is not installed. Run: sh bench/proxy/peers/tools.sh")
    return found


async def run_wrk(target: Target, body: Path, *, connections: int, seconds: int) -> Seen:
    """Send the request of *target* over *connections* for *seconds*."""
    arguments = [
        *("--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"),
        *("--timeout", f"{_TIMEOUT_SECONDS}s", "--script", str(_SCRIPT)),
        f"http://{target.host}:{target.port}{target.path}",
        *("--", str(body), *(f"{name}={value}" for name, value in target.headers.items())),
    ]
    process = await asyncio.create_subprocess_exec(
        find_wrk(),
        *arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=on_cores("load"),
    )
    try:
        async with asyncio.timeout(seconds + _GRACE_SECONDS):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = output.decode().splitlines()
    if process.returncode or not lines or not lines[-1].startswith("{"):
        said = (output + errors).decode(errors="replace").strip()
        raise BenchError(f"wrk failed on {target.name}: {said[-500:]}")
    found = json.loads(lines[-1])
    return Seen(
        requests=found["requests"],
        seconds=found["seconds"],
        failed=found["status"] + found["connect"] + found["read"] + found["write"],
        timeouts=found["timeout"],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        max_ms=found["max_ms"],
    )
