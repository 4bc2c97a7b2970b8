"""What processes cost while something runs: CPU seconds, and the most memory they held.

Process ids enter by name, figures leave. Postgres is all its processes: its server knows the CPU of
those that have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil

_SAMPLE_SECONDS = 0.25
_MIB = 1024 * 1024
POSTGRES = "Postgres"


@dataclass(slots=True)
class Usage:
    """What was used between the beginning and the end of a measurement."""

    wall_seconds: float = 0.0
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    max_rss_mib: dict[str, float] = field(default_factory=dict)
    machine_busy_share: float = 0.0
    """Of all cores, user and system time together."""
    machine_stolen_share: float = 0.0
    """What the hypervisor gave to somebody else."""
    machine_disk_wait_share: float = 0.0
    """Time in which a core had nothing to do but wait for the disk."""
    disk_written_mib: float = 0.0

    def core_share(self, name: str) -> float:
        """Give how much of one core the process *name* used."""
        return self.cpu_seconds.get(name, 0.0) / self.wall_seconds if self.wall_seconds else 0.0


@contextlib.asynccontextmanager
async def metered(pids: Mapping[str, int]) -> AsyncIterator[Usage]:
    """Measure the processes *pids* from now until the block ends; the answer is filled in then."""
    usage = Usage()
    began, before = time.monotonic(), {name: _cpu_seconds(name, pid) for name, pid in pids.items()}
    machine, written = psutil.cpu_times(), _written_bytes()
    async with asyncio.TaskGroup() as tasks:
        sampling = tasks.create_task(_sample(pids, usage))
        try:
            yield usage
        finally:
            sampling.cancel()
    usage.wall_seconds = time.monotonic() - began
    usage.cpu_seconds = {name: _cpu_seconds(name, pid) - before[name] for name, pid in pids.items()}
    usage.disk_written_mib = (_written_bytes() - written) / _MIB
    _machine(usage, machine, psutil.cpu_times())


def _machine(usage: Usage, before: Any, after: Any) -> None:
    spent = {name: getattr(after, name) - getattr(before, name) for name in before._fields}
    # Guests' time is part of user time already.
    total = sum(value for name, value in spent.items() if not name.startswith("guest")) or 1.0
    idle = spent["idle"] + spent.get("iowait", 0.0) + spent.get("steal", 0.0)
    usage.machine_busy_share = (total - idle) / total
    usage.machine_disk_wait_share = spent.get("iowait", 0.0) / total
    usage.machine_stolen_share = spent.get("steal", 0.0) / total


async def _sample(pids: Mapping[str, int], usage: Usage) -> None:
    while True:
        for name, pid in pids.items():
            with contextlib.suppress(psutil.Error):
                size = psutil.Process(pid).memory_info().rss / _MIB
                usage.max_rss_mib[name] = max(size, usage.max_rss_mib.get(name, 0.0))
        await asyncio.sleep(_SAMPLE_SECONDS)


def _cpu_seconds(name: str, pid: int) -> float:
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        seconds = float(times.user + times.system)
        if name == POSTGRES:
            seconds += times.children_user + times.children_system
            for child in process.children():
                with contextlib.suppress(psutil.Error):
                    of_child = child.cpu_times()
                    seconds += of_child.user + of_child.system
    except psutil.NoSuchProcess:
        return 0.0
    return seconds


def _written_bytes() -> int:
    counters = psutil.disk_io_counters()
    return int(counters.write_bytes) if counters else 0
