"""What a process has freed goes back to the system, so that an overload is over when it is over.

glibc gives every thread that allocates a heap of its own, and keeps what is freed in each: after
large requests were read in threads, the receiver held several times what it used, for ever. So few
heaps are allowed, and when nothing is in flight, what they keep is given back. Where the C library
is another, nothing is done. It knows no requests: the caller says how much is held.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# mallopt(3): M_ARENA_MAX. Threads take turns at Python's lock, so two heaps are seldom contended.
_M_ARENA_MAX = -8
_ARENAS_MAX = 2

# New objects until the young ones are looked at, and how often that is until older ones are.
_COLLECT_AFTER = (10_000, 20, 50)

_LOOK_SECONDS = 1.0
# Giving back takes some milliseconds, and what was given back is soon wanted again.
_WORTH_BYTES = 32 * 1024 * 1024


def limit_heaps() -> None:
    """Let this process have few heaps; to be called before it starts threads."""
    if limit := _function("mallopt"):
        limit(_M_ARENA_MAX, _ARENAS_MAX)


def settle() -> None:
    """Let the collector of cycles look seldom, and never at what was made until now.

    To be called once, before work is taken. Modules and what they hold stay anyhow, and what calls
    leave behind has next to no cycles; looking at all of it again and again makes everything wait,
    for some tens of milliseconds at a time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


async def give_back_until(stop: asyncio.Event, held_bytes: Callable[[], int]) -> None:
    """Wait for *stop*; when *held_bytes* is 0 and the process has grown, give memory back."""
    give_back = _function("malloc_trim")
    least = _resident_bytes()
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOOK_SECONDS)
            return
        if give_back and not held_bytes() and _resident_bytes() > least + _WORTH_BYTES:
            await asyncio.to_thread(give_back, 0)
            least = _resident_bytes()


def _function(name: str) -> Callable[..., int] | None:
    """Give a function of glibc; None where it is not the C library."""
    return getattr(ctypes.CDLL(None), name, None)


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux, where there is nothing to give back with
        return 0
