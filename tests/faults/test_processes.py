"""Processes that freeze, that are asked to end under load, and whose clock jumps."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.rig import Rig, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

# More than the patience of the load with one request.
FREEZE_SECONDS = 12.0


@pytest.mark.parametrize("whom", ["receiver", "exporter"])
async def test_a_frozen_process_goes_on_where_it_was(
    cluster: Path, tmp_path: Path, whom: str
) -> None:
    async with Rig(tmp_path, cluster) as rig:
        await rig.accepted(20)
        victim = rig.receiver if whom == "receiver" else rig.exporter
        victim.send(signal.SIGSTOP)
        await asyncio.sleep(FREEZE_SECONDS)
        victim.send(signal.SIGCONT)
        await rig.accepted(20)
        assert victim.starts == 1
        await rig.settle()


async def test_a_frozen_database_is_waited_for(cluster: Path, tmp_path: Path) -> None:
    async with Rig(tmp_path, cluster) as rig:
        await rig.accepted(20)
        backends = await rig.postgres.others()
        for pid in backends:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(FREEZE_SECONDS)
        await rig.accepted(20)
        for pid in backends:
            os.kill(pid, signal.SIGCONT)
        await rig.settle()


async def test_asked_to_end_under_load_they_end_in_order_and_lose_nothing(
    cluster: Path, tmp_path: Path
) -> None:
    async with Rig(tmp_path, cluster) as rig:
        for _ in range(10):
            await rig.accepted(10)
            await rig.receiver.stop()
            await rig.exporter.stop()
            rig.receiver.start()
            rig.exporter.start()
            await until(lambda: rig.exporter_says("waiting") == "")
        codes = rig.receiver.exit_codes + rig.exporter.exit_codes
        await rig.settle()

    assert codes == [0] * 20


async def test_clocks_that_jump_cost_nothing(cluster: Path, tmp_path: Path) -> None:
    offset = tmp_path / "offset"
    offset.write_text("+0")
    variables = {
        "LD_PRELOAD": _faketime_library(),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "TRACEQUILL_QUEUE_KEEP_HOURS": "24",
    }
    async with Rig(tmp_path, cluster, variables=variables) as rig:
        for hours in (1, -1, 10 * 365 * 24, -10 * 365 * 24, 0):
            offset.write_text(f"{hours * 3600:+d}")
            await rig.accepted(50)
            await rig.stored()
            wanted = time.time() + hours * 3600
            await until(lambda wanted=wanted: abs(_clock(rig) - wanted) < 60)  # type: ignore[misc]
        await rig.settle()


def _faketime_library() -> str:
    command = ["faketime", "-f", "+0", "printenv", "LD_PRELOAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _clock(rig: Rig) -> float:
    """The time at which the exporter believes that it stored something."""
    said = rig.exporter_says("last_exported_unix_seconds")
    return said if isinstance(said, float) else 0.0
