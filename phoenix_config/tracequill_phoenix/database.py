"""Connections of our own to Phoenix's database, made the way Phoenix makes its own: the same URL
forms, TLS options and cloud identities.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from phoenix.db.engines import create_engine

from tracequill_phoenix.migrations import START_LOCK_KEY

_LOCK_POLL_SECONDS = 0.5

_log = logging.getLogger(__name__)


@asynccontextmanager
async def direct_connection(url: str, purpose: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Give a connection that is nobody else's and outside of every pool.

    In ``pg_stat_activity`` it is named for its *purpose*.
    """
    engine = create_engine(url, migrate=False)
    try:
        async with engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert isinstance(driver, asyncpg.Connection)
            try:
                await driver.execute(
                    "SELECT set_config('application_name', $1, false)", f"tracequill {purpose}"
                )
                yield driver
            finally:
                driver.terminate()  # a polite close would wait for a server that may be gone
                await connection.invalidate()
    finally:
        await engine.dispose()


@asynccontextmanager
async def start_lock(url: str) -> AsyncIterator[None]:
    """Hold the lock under which one server at a time prepares the database."""
    async with direct_connection(url, "start") as connection:
        waiting = False
        # Asked for again and again: a statement that waits would hold a snapshot, for which
        # CREATE INDEX CONCURRENTLY in the other server's migration would wait in turn.
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", START_LOCK_KEY):
            if not waiting:
                _log.info("another server prepares the database; waiting for it")
                waiting = True
            await asyncio.sleep(_LOCK_POLL_SECONDS)
        try:
            yield
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", START_LOCK_KEY)
