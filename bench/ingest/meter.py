"""What processes cost while something runs: CPU seconds, and the most memory they held.

Groups of processes enter by name, figures leave. Postgres' server knows the CPU of those of its
processes that have ended. Memory is what a process has resident; of Postgres, whose processes share
most of theirs, it is each one's own and its part of what is shared.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

_SAMPLE_SECONDS = 0.25
_MIB = 1024 * 1024
# Asking the kernel for shared memory takes it some milliseconds.
_SHARED_SAMPLES = 8
POSTGRES, BACKENDS = "Postgres", "Postgres backends"

Groups = Mapping[str, Sequence[int]]
FindGroups = Callable[[], Awaitable[Groups]]
"""Gives the processes as they are now: connections come and go."""


@dataclass(slots=True)
class Usage:
    """What was used between the beginning and the end of a measurement."""

    wall_seconds: float = 0.0
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    max_memory_mib: dict[str, float] = field(default_factory=dict)
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
async def metered(find: FindGroups) -> AsyncIterator[Usage]:
    """Measure what *find* finds from now until the block ends; the answer is filled in then."""
    usage = Usage()
    before = {name: _cpu_seconds(name, pids) for name, pids in (await find()).items()}
    began, machine, written = time.monotonic(), psutil.cpu_times(), _written_bytes()
    async with asyncio.TaskGroup() as tasks:
        sampling = tasks.create_task(_sample(find, usage))
        try:
            yield usage
        finally:
            sampling.cancel()
    usage.wall_seconds = time.monotonic() - began
    usage.disk_written_mib = (_written_bytes() - written) / _MIB
    _machine(usage, machine, psutil.cpu_times())
    for name, pids in (await find()).items():
        of_each = _cpu_seconds(name, pids)
        # Who has come since began at nothing.
        usage.cpu_seconds[name] = sum(
            seconds - before.get(name, {}).get(pid, 0.0) for pid, seconds in of_each.items()
        )


def fixed(groups: Mapping[str, int]) -> FindGroups:
    """Give a way to find processes that stay the same, one a group."""

    async def find() -> Groups:
        return {name: [pid] for name, pid in groups.items()}

    return find


def _machine(usage: Usage, before: Any, after: Any) -> None:
    spent = {name: getattr(after, name) - getattr(before, name) for name in before._fields}
    # Guests' time is part of user time already.
    total = sum(value for name, value in spent.items() if not name.startswith("guest")) or 1.0
    idle = spent["idle"] + spent.get("iowait", 0.0) + spent.get("steal", 0.0)
    usage.machine_busy_share = (total - idle) / total
    usage.machine_disk_wait_share = spent.get("iowait", 0.0) / total
    usage.machine_stolen_share = spent.get("steal", 0.0) / total


async def _sample(find: FindGroups, usage: Usage) -> None:
    turn = 0
    groups: Groups = {}
    while True:
        is_shared_turn = turn % _SHARED_SAMPLES == 0
        if is_shared_turn:
            groups = await find()
        for name, pids in groups.items():
            is_postgres = name in (POSTGRES, BACKENDS)
            if is_shared_turn or not is_postgres:
                size = _memory_mib(name, pids) if is_postgres else _resident_mib(pids)
                usage.max_memory_mib[name] = max(size, usage.max_memory_mib.get(name, 0.0))
        turn += 1
        await asyncio.sleep(_SAMPLE_SECONDS)


def _resident_mib(pids: Sequence[int]) -> float:
    size = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            size += psutil.Process(pid).memory_info().rss
    return size / _MIB


def _memory_mib(name: str, pids: Sequence[int]) -> float:
    size = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            for one in [process, *(process.children() if name == POSTGRES else [])]:
                with contextlib.suppress(psutil.Error):
                    info = one.memory_full_info()
                    size += getattr(info, "pss", info.uss)
    return size / _MIB


def _cpu_seconds(name: str, pids: Sequence[int]) -> dict[int, float]:
    found: dict[int, float] = {}
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            times = process.cpu_times()
            found[pid] = times.user + times.system
            if name == POSTGRES:
                found[pid] += times.children_user + times.children_system
                for child in process.children():
                    with contextlib.suppress(psutil.Error):
                        of_child = child.cpu_times()
                        found[pid] += of_child.user + of_child.system
    return found


def _written_bytes() -> int:
    counters = psutil.disk_io_counters()
    return int(counters.write_bytes) if counters else 0
