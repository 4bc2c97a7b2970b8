from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

from tracequill_collector.service import memory

MIB = 1 << 20


class _Process:
    """A process whose memory the test sets, and what was asked of its C library."""

    def __init__(self) -> None:
        self.resident_bytes = 60 * MIB
        self.held_bytes = 0
        self.calls: list[tuple[int, ...]] = []
        self.looks = 0
        self.names = ["mallopt", "malloc_trim"]

    def function(self, name: str) -> Callable[..., int] | None:
        """A function of the C library."""
        return self._call if name in self.names else None

    def resident(self) -> int:
        """What the process takes."""
        return self.resident_bytes

    def held(self) -> int:
        """What is in flight."""
        self.looks += 1
        return self.held_bytes

    def _call(self, *arguments: int) -> int:
        self.calls.append(arguments)
        self.resident_bytes = 70 * MIB
        return 1

    async def looked_again(self) -> None:
        """Wait for two more looks at what is in flight."""
        wanted = self.looks + 2
        async with asyncio.timeout(20):
            for _ in iter(lambda: self.looks < wanted, False):
                await asyncio.sleep(0.001)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> _Process:
    process = _Process()
    monkeypatch.setattr(memory, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(memory, "_function", process.function)
    monkeypatch.setattr(memory, "_resident_bytes", process.resident)
    return process


def test_there_are_two_heaps(process: _Process) -> None:
    memory.limit_heaps()

    assert process.calls == [(-8, 2)]


async def test_what_was_freed_is_given_back_when_nothing_is_in_flight(process: _Process) -> None:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(memory.give_back_until(stop, process.held))
        await process.looked_again()
        process.resident_bytes, process.held_bytes = 500 * MIB, 1
        await process.looked_again()
        assert process.calls == []

        process.held_bytes = 0
        await process.looked_again()
        assert process.calls == [(0,)]

        process.resident_bytes = 90 * MIB  # not worth it
        await process.looked_again()
        stop.set()

    assert process.calls == [(0,)]


async def test_another_c_library_is_left_alone(process: _Process) -> None:
    process.names = []
    stop = asyncio.Event()
    memory.limit_heaps()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(memory.give_back_until(stop, process.held))
        process.resident_bytes = 500 * MIB
        await asyncio.sleep(0.01)
        assert not waiting.done()
        stop.set()

    assert process.calls == []


def test_a_name_that_no_c_library_has_is_no_function() -> None:
    assert memory._function("tracequill_has_no_such_function") is None
    assert memory._resident_bytes() >= 0


@pytest.fixture
def collector_of_cycles() -> Iterator[None]:
    """Put back what a test sets for the whole process."""
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("collector_of_cycles")
def test_what_was_made_at_the_start_is_never_looked_at_again() -> None:
    before = gc.get_threshold()
    made = [[]]  # type: ignore[var-annotated]

    memory.settle()

    assert gc.get_freeze_count() > 1000
    assert not any(one is made for one in gc.get_objects())
    assert gc.get_threshold()[0] > before[0]


@pytest.mark.usefixtures("collector_of_cycles")
def test_cycles_that_come_later_still_go() -> None:
    memory.settle()
    first, second = _Process(), _Process()
    first.other, second.other = second, first  # type: ignore[attr-defined]
    gone = weakref.ref(first)

    del first, second
    gc.collect()

    assert gone() is None
