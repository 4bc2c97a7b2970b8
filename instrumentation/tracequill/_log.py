"""How Tracequill speaks inside an application: rarely, and never in prompts, answers or keys."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger("tracequill")

# An endpoint that is down fails twice a second; a person needs to read it once a minute.
INTERVAL_SECONDS = 60.0


class SeldomLog:
    """A log that writes each kind of line at most once an interval and counts the others."""

    def __init__(
        self,
        interval_seconds: float = INTERVAL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval_seconds = interval_seconds
        self._clock = clock
        # Reentrant: a log line may run the garbage collector, and that may end a span.
        self._lock = threading.RLock()
        self._next: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def write(self, level: int, kind: str, message: str, *arguments: object) -> None:
        """Log *message* unless a line of the same *kind* was logged within the interval."""
        with self._lock:
            now = self._clock()
            if now < self._next.get(kind, 0.0):
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
                return
            self._next[kind] = now + self._interval_seconds
            left_out = self._left_out.pop(kind, 0)
        if left_out:
            message += f" ({left_out} more like this since the last line)"
        logger.log(level, message, *arguments)
