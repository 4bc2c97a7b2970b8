"""Runs the stack in the terminal: the first Ctrl-C or SIGTERM asks, the second insists."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

from tracequill.errors import CommandError


def run_in_foreground(main: Callable[[asyncio.Event], Awaitable[int | None]]) -> int:
    """Run *main*, which ends in order when its event is set; give its exit code.

    SIGKILL to us, or a second signal, is safe at any moment: children die with their parent and
    nothing accepted is lost.
    """
    # What is written holds prompts and answers: for this user's eyes only.
    os.umask(0o077)
    try:
        return asyncio.run(_run(main)) or 0
    except BaseExceptionGroup as group:
        expected = group.subgroup(CommandError)
        if expected is None:
            raise
        error: BaseException = expected
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


async def _run(main: Callable[[asyncio.Event], Awaitable[int | None]]) -> int | None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    return await main(stop)
