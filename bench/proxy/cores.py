"""Which cores a process may use: what is measured has one of its own, what makes the load the rest.

So nothing that the bench does takes from what it measures, and a rate is a rate of one core. Where
the machine has one core, or the system cannot say, nothing is bound.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Literal

from tracequill_collector.stack.child import die_with_parent

Role = Literal["gateway", "load"]


def cores_of(role: Role) -> set[int]:
    """Give the cores for *role*; none: any of them."""
    if not hasattr(os, "sched_getaffinity"):
        return set()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return set()
    return {cores[-1]} if role == "gateway" else set(cores[:-1])


def on_cores(role: Role) -> Callable[[], None]:
    """Give what a child does before it runs: take its cores, and die with the bench."""
    cores = cores_of(role)
    die = die_with_parent(signal.SIGKILL)

    def prepare() -> None:
        if die is not None:
            die()
        if cores:
            os.sched_setaffinity(0, cores)

    return prepare
