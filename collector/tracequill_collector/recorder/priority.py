"""Two threads for work that can wait: one gives way to everybody, one takes its share.

While the recorder keeps up, nothing on the machine should wait for it, least of all a call that is
being forwarded on the same core: the system runs the first thread only where nothing else wants to
run. On a machine that is never idle this is next to never, so what has waited too long goes to the
second one. There are two because a thread that has given up its priority cannot take it back
without rights that nobody should give it. What the work is, and when it has waited too long, is not
known here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

_T = TypeVar("_T")


class Threads:
    """Both of them; each does one thing at a time."""

    def __init__(self) -> None:
        self._yielding = ThreadPoolExecutor(1, "recorder-yielding", initializer=give_way)
        self._sharing = ThreadPoolExecutor(1, "recorder-sharing")

    async def run(self, work: Callable[[], _T], *, gives_way: bool) -> _T:
        """Give what *work* gives, done in the first thread or in the second."""
        thread = self._yielding if gives_way else self._sharing
        return await asyncio.get_running_loop().run_in_executor(thread, work)

    def close(self) -> None:
        """Begin nothing more; what runs is finished, and not waited for."""
        self._yielding.shutdown(wait=False, cancel_futures=True)
        self._sharing.shutdown(wait=False, cancel_futures=True)


def give_way() -> None:
    """Let this thread run only where nothing else wants to; for good.

    Where the system has no such thing (it is Linux's) or refuses it, the thread keeps its share.
    """
    with suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
