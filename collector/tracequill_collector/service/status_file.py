"""What a process without a socket says of itself, once a second, for others to publish."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

_STATUS_SECONDS = 1.0

_log = logging.getLogger(__name__)


async def say_until(stop: asyncio.Event, say: Callable[[], None]) -> None:
    """Call *say* now and once a second until *stop* is set."""
    while not stop.is_set():
        say_once(say)
        with suppress(TimeoutError):
            async with asyncio.timeout(_STATUS_SECONDS):
                await stop.wait()


def say_once(say: Callable[[], None]) -> None:
    """Call *say*, which writes a file; a disk that fails is no reason to stop."""
    try:
        say()
    except OSError as error:
        # A full disk: the work of the process is what makes room again.
        _log.warning("the status file cannot be written", extra={"error": error.strerror})
