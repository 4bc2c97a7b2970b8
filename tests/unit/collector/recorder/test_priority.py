"""Threads of which one gives way: the system is told so, and it holds for that thread alone."""

from __future__ import annotations

import os

import pytest

from tracequill_collector.recorder.priority import Threads


async def test_one_thread_gives_way_and_the_other_and_the_caller_do_not() -> None:
    threads = Threads()
    try:
        policies = [
            await threads.run(lambda: os.sched_getscheduler(0), gives_way=gives_way)
            for gives_way in (True, False)
        ]
    finally:
        threads.close()

    assert policies == [os.SCHED_IDLE, os.SCHED_OTHER]
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


async def test_a_system_that_refuses_runs_it_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    threads = Threads()
    try:
        assert await threads.run(lambda: 1, gives_way=True) == 1
    finally:
        threads.close()


async def test_what_a_thread_raises_is_raised_to_the_caller() -> None:
    threads = Threads()
    try:
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0, gives_way=True)
    finally:
        threads.close()
