"""The queue over a disk that fails and loses power at any moment, as a state machine.

What was acknowledged is an obligation: it is delivered, however often power, a process or a sync is
lost. TEST_QUEUE_EXAMPLES says how many histories are tried.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.unit.collector.queue.queue_rig import LAGGING, LIVE, MAIN, PASSING, QueueRig
from tracequill_collector.errors import RetryableError, StartError

_LENGTHS = st.sampled_from([1, 600, 2500])
_CONSUMERS = st.sampled_from([MAIN, MAIN, LIVE, LAGGING, PASSING])
_SEEDS = st.integers(0, 2**32)
_ACTIONS = st.sampled_from(
    [
        "consume",
        "append",
        "done before durable",
        "commit",
        "commit-lagging",
        "split",
        "join",
        "pass_by",
        "drain",
    ]
)


class _Queue(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        logging.disable(logging.CRITICAL)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("tracequill_collector.queue.room._LOOK_SECONDS", 0.0)
        self.root = Path(tempfile.mkdtemp(prefix="tracequill-queue-"))
        self.rig: QueueRig | None = None

    @property
    def queue(self) -> QueueRig:
        assert self.rig is not None
        return self.rig

    @initialize(
        max_bytes=st.sampled_from([30_000, 64_000_000]), keep_seconds=st.sampled_from([0.0, 3600.0])
    )
    def begin(self, max_bytes: int, keep_seconds: float) -> None:
        """Open all ends."""
        self.rig = QueueRig(self.root, max_bytes=max_bytes, keep_seconds=keep_seconds)

    # --- work ---------------------------------------------------------------------------

    @rule(count=st.integers(1, 6), length=_LENGTHS)
    def consume(self, count: int, length: int) -> None:
        """Several callers at once; each that returns is an obligation."""
        self.queue.consume(count, length)

    @rule(length=st.sampled_from([1, 600]))
    def append(self, length: int) -> None:
        """Appended records survive the process, not the power."""
        self.queue.append(length)

    @rule(name=_CONSUMERS, count=st.integers(1, 10))
    def read(self, name: str, count: int) -> None:
        """Take some records."""
        if name in self.queue.consumers:
            with suppress(RetryableError):
                self.queue.read(name, count)

    @rule(name=_CONSUMERS, share=st.floats(0, 1))
    def commit(self, name: str, share: float) -> None:
        """Say that some of them are done."""
        if name in self.queue.consumers:
            with suppress(RetryableError):
                self.queue.commit(name, share)

    @rule()
    def split(self) -> None:
        """A live lane begins."""
        with suppress(StartError):
            self.queue.split()

    @rule()
    def join(self) -> None:
        """The live lane ends."""
        with suppress(RetryableError):
            self.queue.join()

    @rule()
    def pass_by(self) -> None:
        """A consumer comes or goes for good."""
        with suppress(RetryableError, StartError):
            self.queue.pass_by()

    @rule()
    def read_history(self) -> None:
        """The past is whole."""
        self.queue.read_history()

    # --- faults -------------------------------------------------------------------------

    @rule(which=st.integers(0, 1000), place=st.integers(0, 5000))
    def damage(self, which: int, place: int) -> None:
        """A bit of a durable record flips."""
        self.queue.damage(which, place)

    @rule(count=st.integers(1, 3))
    def fail_syncs(self, count: int) -> None:
        """The next syncs fail."""
        self.queue.disk.sync_errors = count

    @rule(room=st.integers(0, 5000), hides=st.booleans())
    def fill_disk(self, room: int, hides: bool) -> None:
        """Others take nearly all of the disk, before or after the queue looks."""
        disk = self.queue.disk
        disk.capacity, disk.hides_that_it_is_full = disk.used + room, hides

    @rule()
    def repair(self) -> None:
        """There is room again, and no sync fails."""
        self.queue.repair()

    @rule(which=st.sampled_from(["writer", "consumers", "all"]))
    def kill(self, which: str) -> None:
        """kill -9."""
        self.queue.repair()
        if which != "consumers":
            self.queue.kill_writer()
            if which == "all":
                self.queue.kill_consumers()
            self.queue.open_writer()
        if which != "writer":
            if which == "consumers":
                self.queue.kill_consumers()
            self.queue.open_consumers()

    @rule(seed=_SEEDS)
    def lose_power(self, seed: int) -> None:
        """The power is gone, now."""
        self.queue.kill_all()
        self.queue.repair()
        self.queue.disk.lose_power(random.Random(seed))
        self.queue.open_all()

    @rule(action=_ACTIONS, calls=st.integers(0, 14), seed=_SEEDS, is_power=st.booleans())
    def end_in_the_middle(self, action: str, calls: int, seed: int, is_power: bool) -> None:
        """The power or the processes are gone after so many changes of the disk."""
        queue = self.queue
        queue.repair()
        if action.startswith("commit"):
            queue.read(LAGGING if action == "commit-lagging" else MAIN, 10)
        queue.disk.calls_left = calls
        actions: dict[str, Callable[[], None]] = {
            "consume": lambda: queue.consume(5, 600),
            "append": lambda: queue.append(600),
            "commit": lambda: queue.commit(MAIN, 1.0),
            "commit-lagging": lambda: queue.commit(LAGGING, 1.0),
            "split": queue.split,
            "join": queue.join,
            "pass_by": queue.pass_by,
            "drain": lambda: queue.drain(LAGGING),
            "done before durable": queue.do_before_durable,
        }
        with suppress(RetryableError, StartError):
            actions[action]()
        if is_power:
            self.lose_power(seed)
        else:
            self.kill("all")

    @rule(calls=st.integers(0, 14), seed=_SEEDS, is_power=st.booleans())
    def end_while_opening(self, calls: int, seed: int, is_power: bool) -> None:
        """The power is gone, and is gone again while the next processes recover."""
        queue = self.queue
        queue.kill_all()
        queue.repair()
        if is_power:
            queue.disk.lose_power(random.Random(seed))
        queue.disk.calls_left = calls
        with suppress(StartError):
            queue.open_writer()
            with suppress(StartError):
                queue.open_consumers()
            queue.kill_writer()
        queue.kill_consumers()
        queue.repair()
        queue.disk.lose_power(random.Random(seed + 1))
        queue.open_all()

    def teardown(self) -> None:
        """Every obligation is done, or comes now; and a fresh record flows."""
        try:
            if self.rig is not None:
                try:
                    self.rig.settle()
                finally:
                    self.rig.close()
        finally:
            self.patch.undo()
            logging.disable(logging.NOTSET)
            shutil.rmtree(self.root)


_EXAMPLES = int(os.environ.get("TEST_QUEUE_EXAMPLES", "60"))

TestQueue = pytest.mark.timeout(300 + _EXAMPLES)(_Queue.TestCase)
TestQueue.settings = settings(
    max_examples=_EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
