"""kill -9 of any process at any moment, hundreds of times: nothing promised is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.rig import Rig, chosen_seed, kill_at_random

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

ROUNDS = int(os.environ.get("TRACEQUILL_TEST_KILL_ROUNDS") or 300)


async def test_after_hundreds_of_kills_every_obligation_is_stored_once(
    cluster: Path, tmp_path: Path
) -> None:
    seed = chosen_seed()
    async with Rig(tmp_path, cluster, seed=seed) as rig:
        await kill_at_random(rig, ROUNDS, seed)
        await rig.settle()
