"""Which calls fail, and how: by a counter, never by chance, so that a run can be repeated."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

Fault = Literal["none", "500", "429", "503", "broken_off"]
_CYCLE: tuple[Fault, ...] = ("500", "429", "503", "broken_off")


class ErrorShare:
    """Spread errors evenly: of the first n calls, exactly ``floor(n · share)`` fail.

    They take turns: 500, 429, 503, and a stream that breaks off in the middle (which a plain
    answer cannot, so that it is a 500).
    """

    def __init__(self, share: float) -> None:
        self._share = Fraction(share).limit_denominator(1_000_000)
        self._calls = 0
        self._failed = 0

    def next_fault(self) -> Fault:
        """Count one call and say how it fails."""
        self._calls += 1
        if math.floor(self._calls * self._share) <= self._failed:
            return "none"
        fault = _CYCLE[self._failed % len(_CYCLE)]
        self._failed += 1
        return fault


class RateLimit:
    """Let ``requests_per_second`` calls through each second, a second's worth of them at once."""

    def __init__(self, requests_per_second: float) -> None:
        self._rate = requests_per_second
        self._most = max(1.0, requests_per_second)
        self._saved = self._most
        self._time_seconds: float | None = None

    def delay_seconds(self, now_seconds: float) -> float:
        """Take one call: 0 lets it through, else it is refused and may come after that time."""
        if self._rate <= 0:
            return 0.0
        if self._time_seconds is not None:
            passed = max(0.0, now_seconds - self._time_seconds)
            self._saved = min(self._most, self._saved + passed * self._rate)
        self._time_seconds = now_seconds
        if self._saved >= 1 - 1e-9:
            self._saved -= 1
            return 0.0
        return (1 - self._saved) / self._rate
