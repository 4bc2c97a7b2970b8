"""A call of the disk in a thread, with nothing closed under it when its caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


async def in_thread(call: Callable[..., _T], *arguments: object) -> _T:
    """Run *call* in a thread; a cancelled caller still waits until the thread is done."""
    future = asyncio.get_running_loop().run_in_executor(None, call, *arguments)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        # What the thread uses must not be closed under it.
        await asyncio.wait([future])
        future.exception()
        raise
