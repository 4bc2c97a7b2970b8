"""The fault runs of ``make test-faults``, shortened: kills and an outage of the database."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.faults.fixtures import cluster
from tests.faults.rig import Rig, chosen_seed, kill_at_random

__all__ = ["cluster"]

pytestmark = pytest.mark.acceptance

ROUNDS = 20
OUTAGE_SECONDS = 5.0


async def test_after_kills_and_an_outage_every_obligation_is_stored_once(
    cluster: Path, tmp_path: Path
) -> None:
    seed = chosen_seed()
    async with Rig(tmp_path, cluster, seed=seed) as rig:
        await kill_at_random(rig, ROUNDS, seed, drain_every=10)
        await rig.postgres.stop(signal.SIGQUIT)
        assert "no connection" in await rig.exporter_waits()
        # The outage lasts: spans are taken all the time.
        await asyncio.sleep(OUTAGE_SECONDS)
        await rig.accepted(1)
        await rig.settle()
