"""Processes of the bench: each on its cores, with a log of its own, ended with the bench."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import psutil

from bench.ingest.servers import BenchError, clean_environment
from bench.proxy.cores import Role, on_cores

ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".peers"
_START_SECONDS = 120.0
_POLL_SECONDS = 0.05

Process = asyncio.subprocess.Process


async def launch(
    command: Sequence[str],
    log: Path,
    *,
    role: Role,
    variables: Mapping[str, str] | None = None,
    pipes: bool = False,
) -> Process:
    """Start *command* with a clean environment; what it says goes to *log*, or to a pipe."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *command,
            env=_without_proxies(clean_environment()) | dict(variables or {}),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else output,
            stderr=output,
            limit=1 << 26,
            preexec_fn=on_cores(role),
        )


async def ready(process: Process, log: Path, is_ready: Callable[[], Awaitable[bool]]) -> None:
    """Wait until *is_ready*; BenchError with the end of its log when *process* ends before."""
    try:
        async with asyncio.timeout(_START_SECONDS):
            while not await is_ready():
                if process.returncode is not None:
                    raise BenchError(f"{log.stem} ended at its start: {last_lines(log)}")
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise BenchError(f"{log.stem} did not start: {last_lines(log)}") from None


def last_lines(log: Path) -> str:
    """Give the end of *log*."""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(lines[-15:]) or "it said nothing"


def family(pid: int) -> list[int]:
    """Give *pid* and its descendants."""
    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def cpu_seconds(pids: Sequence[int]) -> float:
    """Give the CPU time that *pids* have used so far, user and system."""
    total = 0.0
    for pid in pids:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def _without_proxies(environment: dict[str, str]) -> dict[str, str]:
    """Leave out what would send loopback traffic elsewhere."""
    return {
        name: value
        for name, value in environment.items()
        if not name.lower().endswith("_proxy") and name != "PYTHONPATH"
    } | {"NO_PROXY": "*", "PATH": os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"}
