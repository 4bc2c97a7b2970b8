"""kill -9 at chosen instructions: before a write, a sync, a rename, an answer of Postgres.

One kind of system call is made slow, so that a kill at a random moment almost always finds the
process just before one of them; an answer that was given too early has reached its sender by then.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.rig import Rig, chosen_seed, until
from tests.faults.strace import Strace
from tests.faults.test_system_calls import writer_thread

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

KILLS = 4
DELAY_MICROSECONDS = 150_000


def slow(call: str) -> str:
    return f"{call}:delay_enter={DELAY_MICROSECONDS}"


@pytest.mark.parametrize("call", ["openat", "writev", "fdatasync", "fsync"])
async def test_the_receiver_killed_on_its_way_to_the_disk(
    cluster: Path, tmp_path: Path, call: str
) -> None:
    seed = chosen_seed()
    choose = random.Random(seed)
    # A small cap, so that segments are opened all the time.
    variables = {"TRACEQUILL_QUEUE_MAX_BYTES": str(1024 * 1024)}
    async with Rig(
        tmp_path, cluster, seed=seed, variables=variables, requests_per_second=40
    ) as rig:
        for _ in range(KILLS):
            starts = rig.receiver.starts
            threads = [await writer_thread(rig)]
            pid, output = rig.receiver.pid, tmp_path / "calls"
            async with Strace(pid, output, call, slow(call), threads=threads) as trace:
                await until(lambda seen=trace: bool(seen.made))  # type: ignore[misc]
                await asyncio.sleep(choose.uniform(0, 0.5))
                rig.receiver.send(signal.SIGKILL)
                await trace.ended()
            await until(lambda before=starts: rig.receiver.starts > before)  # type: ignore[misc]
            await rig.accepted(1)
        await rig.settle()


@pytest.mark.parametrize("call", ["fdatasync", "rename", "fsync", "write,writev,sendto,sendmsg"])
async def test_the_exporter_killed_between_the_database_and_its_checkpoint(
    cluster: Path, tmp_path: Path, call: str
) -> None:
    seed = chosen_seed()
    choose = random.Random(seed)
    async with Rig(tmp_path, cluster, seed=seed) as rig:
        for _ in range(KILLS):
            await until(lambda: rig.exporter_says("waiting") == "")
            pid, starts = rig.exporter.pid, rig.exporter.starts
            async with Strace(pid, tmp_path / "calls", call, slow(call)) as trace:
                await until(lambda seen=trace: bool(seen.made))  # type: ignore[misc]
                await asyncio.sleep(choose.uniform(0, 0.5))
                rig.exporter.send(signal.SIGKILL)
                await trace.ended()
            await until(lambda before=starts: rig.exporter.starts > before)  # type: ignore[misc]
        await rig.settle()


@pytest.mark.parametrize("call", ["fdatasync", "pwrite64,pwritev", "sendto"])
async def test_postgres_killed_around_a_commit(cluster: Path, tmp_path: Path, call: str) -> None:
    seed = chosen_seed()
    choose = random.Random(seed)
    async with Rig(tmp_path, cluster, seed=seed) as rig:
        for _ in range(KILLS):
            await rig.stored()
            pid = (await rig.postgres.others())[0]
            async with Strace(pid, tmp_path / "calls", call, slow(call)) as trace:
                await until(lambda seen=trace: bool(seen.made))  # type: ignore[misc]
                await asyncio.sleep(choose.uniform(0, 0.5))
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                await trace.ended()
        await rig.settle()
