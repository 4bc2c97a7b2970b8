"""The way between the exporter and Postgres, cut, slow and silent."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.faults.rig import Rig, chosen_seed, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

# The exporter gives a statement one minute.
SILENCE_SECONDS = 75.0


async def test_connections_reset_at_any_byte_of_a_transaction(
    cluster: Path, tmp_path: Path
) -> None:
    seed = chosen_seed()
    choose = random.Random(seed)
    async with Rig(tmp_path, cluster, seed=seed, through_link=True) as rig:
        for number in range(20):
            opened = rig.link.opened
            # From the first greeting to the midst of a COPY.
            rig.link.reset_after(int(10 ** choose.uniform(0, 4.5)))
            await until(lambda before=opened: rig.link.opened > before)  # type: ignore[misc]
            if number % 10 == 9:
                await rig.stored()
        await rig.settle()


async def test_all_connections_reset_at_random_moments(cluster: Path, tmp_path: Path) -> None:
    seed = chosen_seed()
    choose = random.Random(seed)
    async with Rig(tmp_path, cluster, seed=seed, through_link=True) as rig:
        for _ in range(40):
            await asyncio.sleep(choose.uniform(0, 0.5))
            rig.link.reset()
        await rig.settle()


async def test_a_connection_whose_other_side_has_vanished_is_given_up(
    cluster: Path, tmp_path: Path
) -> None:
    async with Rig(tmp_path, cluster, through_link=True) as rig:
        await rig.accepted(20)
        rig.link.strand()
        await rig.accepted(20)
        await rig.stored(SILENCE_SECONDS + 30)
        await rig.settle()


@pytest.mark.parametrize("mode", ["black hole", "half open"])
async def test_a_silent_network_is_waited_for(cluster: Path, tmp_path: Path, mode: str) -> None:
    async with Rig(tmp_path, cluster, through_link=True) as rig:
        await rig.accepted(20)
        rig.link.become("black hole" if mode == "black hole" else "half open")
        assert await rig.exporter_waits(SILENCE_SECONDS + 30)
        await rig.accepted(20)
        rig.link.become("pass")
        rig.link.reset()
        await rig.settle()


async def test_a_short_silence_is_no_failure(cluster: Path, tmp_path: Path) -> None:
    async with Rig(tmp_path, cluster, through_link=True) as rig:
        await rig.accepted(20)
        rig.link.become("black hole")
        await asyncio.sleep(5)
        rig.link.become("pass")
        await rig.settle()


async def test_a_slow_network_is_slow_and_no_more(cluster: Path, tmp_path: Path) -> None:
    async with Rig(tmp_path, cluster, through_link=True) as rig:
        rig.link.become("slow")
        await asyncio.sleep(15)
        rig.link.become("pass")
        await rig.settle()


async def test_a_port_that_closes_every_connection(cluster: Path, tmp_path: Path) -> None:
    async with Rig(tmp_path, cluster, through_link=True) as rig:
        rig.link.become("refuse")
        rig.link.reset()
        await rig.exporter_waits()
        await rig.accepted(100)
        rig.link.become("pass")
        await rig.settle()
