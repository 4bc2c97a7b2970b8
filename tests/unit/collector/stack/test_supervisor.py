"""The supervisor restarts what dies alone, reports what cannot start, and stops in order."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tracequill_collector.errors import StartError
from tracequill_collector.stack.child import is_running
from tracequill_collector.stack.supervisor import Child, Supervisor


class Lines:
    """Keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.lines: list[tuple[str, str]] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def line(self, name: str, text: str) -> None:
        self.lines.append((name, text))


async def _always(pid: int) -> bool:
    return True


async def _nothing() -> None:
    pass


def _child(name: str, program: str) -> Child:
    return Child(name, ["-c", program], _always, stop_seconds=5)


WAITS = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (print('stopping', flush=True), sys.exit(0)))\n"
    "print('running', flush=True)\n"
    "while True: time.sleep(0.05)\n"
)


async def _until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - another process's output
            await asyncio.sleep(0.02)


async def test_children_stop_in_the_reverse_of_their_order() -> None:
    output = Lines()
    stop = asyncio.Event()
    children = [_child("first", WAITS), _child("second", WAITS)]

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(Supervisor(output, {}).run(children, stop, _nothing))
        await _until(lambda: output.lines.count(("second", "running")) == 1)
        await _until(lambda: output.lines.count(("first", "running")) == 1)
        stop.set()

    assert [name for name, text in output.lines if text == "stopping"] == ["second", "first"]


async def test_a_child_that_dies_alone_is_started_again() -> None:
    output = Lines()
    stop = asyncio.Event()
    pids: list[dict[str, int]] = []

    async with asyncio.TaskGroup() as tasks:
        supervisor = Supervisor(output, {}, pids.append)
        tasks.create_task(supervisor.run([_child("one", WAITS)], stop, _nothing))
        await _until(lambda: ("one", "running") in output.lines)
        await _until(lambda: any("takes work" in text for text in output.said))
        os.kill(pids[0]["one"], signal.SIGKILL)
        await _until(lambda: output.lines.count(("one", "running")) == 2)
        stop.set()

    assert any("one ended (killed by SIGKILL)" in text for text in output.said)


async def test_a_child_that_cannot_start_ends_everything_with_its_own_sentence() -> None:
    output = Lines()
    failing = Child(
        "bad",
        ["-c", "import sys; sys.exit('tracequill bad: port 1 is taken. Choose another.')"],
        lambda pid: asyncio.sleep(0, False),
    )
    pids: list[dict[str, int]] = []

    with pytest.raises(StartError, match=r"^port 1 is taken\. Choose another\.$"):
        await Supervisor(output, {}, pids.append).run(
            [_child("good", WAITS), failing], asyncio.Event(), _nothing
        )

    assert pids[-1] == {}


async def test_a_child_that_ignores_sigterm_is_killed_when_its_time_is_up() -> None:
    output = Lines()
    stop = asyncio.Event()
    deaf = Child(
        "deaf",
        [
            "-c",
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
            "print('running', flush=True); time.sleep(60)",
        ],
        _always,
        stop_seconds=0.2,
    )

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(Supervisor(output, {}).run([deaf], stop, _nothing))
        await _until(lambda: ("deaf", "running") in output.lines)
        stop.set()

    assert any("killing it" in text for text in output.said)


async def test_children_die_with_a_killed_supervisor() -> None:
    program = (
        "import asyncio, sys\n"
        "from tracequill_collector.stack.supervisor import Child, Supervisor\n"
        "class Out:\n"
        "    def say(self, text): pass\n"
        "    def line(self, name, text): print(text, flush=True)\n"
        "async def ready(pid): return True\n"
        "async def nothing(): pass\n"
        "child = Child('c', ['-c', 'import os, time; print(os.getpid()); time.sleep(60)'], ready)\n"
        "asyncio.run(Supervisor(Out(), {}).run([child], asyncio.Event(), nothing))\n"
    )
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=subprocess.PIPE
    )
    assert supervisor.stdout is not None
    pid = int(await supervisor.stdout.readline())
    assert is_running(pid)

    supervisor.kill()
    await supervisor.wait()

    await _until(lambda: not is_running(pid))


def test_a_pid_is_told_from_another_process_with_the_same_pid(tmp_path: Path) -> None:
    assert is_running(os.getpid())
    assert not is_running(os.getpid(), tmp_path)
