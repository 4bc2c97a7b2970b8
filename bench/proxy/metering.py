"""One measurement of one gateway: a load runs, and what its processes used meanwhile is known.

Before the next one begins everything must have come to rest: what a gateway still does for the
calls of one measurement is no cost of another.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from bench.ingest.meter import Groups, Usage, metered
from bench.proxy.gateways import Gateway
from bench.proxy.processes import cpu_seconds

_REST_SECONDS = 0.3
_REST_SHARE = 0.05
_PATIENCE_SECONDS = 40.0


@contextlib.asynccontextmanager
async def measured(gateway: Gateway) -> AsyncIterator[Usage]:
    """Give what the processes of *gateway* use in the block."""

    async def find() -> Groups:
        return gateway.pids

    async with metered(find) as usage:
        yield usage


async def drained(gateway: Gateway) -> bool:
    """Wait until *gateway* is at rest; False when it is not after a long time."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        pids = [pid for group in gateway.pids.values() for pid in group]
        before = cpu_seconds(pids)
        await asyncio.sleep(_REST_SECONDS)
        used = cpu_seconds(pids) - before
        if used < _REST_SHARE * _REST_SECONDS and await gateway.is_drained():
            return True
    return False
