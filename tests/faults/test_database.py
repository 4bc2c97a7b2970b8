"""Postgres away, restarting, read-only, full, locked, and cutting off what it was told to do."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest

from tests.faults.rig import Rig, chosen_seed

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

OUTAGE_SECONDS = 60.0
LOCK_SECONDS = 70.0

_APPLICATION = """
CREATE ROLE application LOGIN;
GRANT ALL ON SCHEMA public TO application;
GRANT ALL ON ALL TABLES IN SCHEMA public TO application;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO application;
"""


async def test_a_long_outage_costs_nothing(cluster: Path, tmp_path: Path) -> None:
    async with Rig(tmp_path, cluster) as rig:
        await rig.accepted(20)
        await rig.postgres.stop(signal.SIGQUIT)
        assert "no connection" in await rig.exporter_waits()
        before = len(rig.load.ledger.obligations)
        await asyncio.sleep(OUTAGE_SECONDS)
        assert len(rig.load.ledger.obligations) > before + OUTAGE_SECONDS
        await rig.settle()


async def test_restarts_cut_transactions_off_anywhere(cluster: Path, tmp_path: Path) -> None:
    seed = chosen_seed()
    choose = random.Random(seed)
    async with Rig(tmp_path, cluster, seed=seed) as rig:
        for number in range(20):
            await asyncio.sleep(choose.uniform(0, 0.5))
            await rig.postgres.stop(choose.choice([signal.SIGINT, signal.SIGQUIT, signal.SIGKILL]))
            rig.postgres.start()
            if number % 5 == 4:
                await rig.stored()
        await rig.settle()


async def test_a_database_that_became_read_only_is_waited_for(
    cluster: Path, tmp_path: Path
) -> None:
    async with Rig(tmp_path, cluster) as rig:
        await rig.postgres.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await rig.postgres.execute("SELECT pg_reload_conf()")
        assert "25006" in await rig.exporter_waits()
        await rig.accepted(100)
        await rig.postgres.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await rig.postgres.execute("SELECT pg_reload_conf()")
        await rig.settle()


async def test_a_reached_connection_limit_is_waited_for(cluster: Path, tmp_path: Path) -> None:
    async with Rig(tmp_path, cluster, user="application", database_setup=_APPLICATION) as rig:
        await rig.accepted(20)
        await rig.postgres.execute("ALTER ROLE application CONNECTION LIMIT 0")
        await rig.postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'application'"
        )
        assert "too many connections" in await rig.exporter_waits()
        await rig.accepted(100)
        await rig.postgres.execute("ALTER ROLE application CONNECTION LIMIT -1")
        await rig.settle()


@pytest.mark.parametrize("function", ["pg_terminate_backend", "pg_cancel_backend"])
async def test_backends_ended_and_statements_cancelled_at_random_moments(
    cluster: Path, tmp_path: Path, function: str
) -> None:
    seed = chosen_seed()
    choose = random.Random(seed)
    async with Rig(tmp_path, cluster, seed=seed) as rig:
        connection = await rig.postgres.connect()
        for _ in range(200):
            await asyncio.sleep(choose.uniform(0, 0.15))
            await connection.execute(
                f"SELECT {function}(pid) FROM pg_stat_activity WHERE state <> 'idle' "
                "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
        await connection.close()
        await rig.settle()


async def test_a_table_that_somebody_holds_locked_is_waited_for(
    cluster: Path, tmp_path: Path
) -> None:
    async with Rig(tmp_path, cluster) as rig:
        await rig.accepted(20)
        connection = await rig.postgres.connect()
        async with connection.transaction():
            await connection.execute("LOCK TABLE spans IN ACCESS EXCLUSIVE MODE")
            await asyncio.sleep(LOCK_SECONDS)
            await rig.accepted(20)
        await connection.close()
        await rig.settle()
