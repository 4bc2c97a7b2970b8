"""Keeps child processes running: starts them, awaits each, restarts what dies alone.

A child that ends before it was ever ready, with exit code 1 or 2, has said on standard error
why: its last line becomes a StartError. A child that dies later is started again with backoff.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tracequill_collector.errors import StartError
from tracequill_collector.stack.child import die_with_parent

_FIRST_BACKOFF_SECONDS = 0.5
_MAX_BACKOFF_SECONDS = 30.0
# A child that ran this long was well: its next restart is quick again.
_WELL_SECONDS = 60.0
_READY_POLL_SECONDS = 0.1
# A child says "tracequill receiver: what happened"; only the sentence matters to its parent.
_SPEAKER = re.compile(r"^tracequill( \w+)?: ")


class Output(Protocol):
    """Where lines of children and our own go."""

    def line(self, name: str, text: str) -> None:
        """Show one line that *name* wrote."""

    def say(self, text: str) -> None:
        """Show one sentence of our own."""


@dataclass(slots=True)
class Child:
    """One process to keep running."""

    name: str
    arguments: Sequence[str]
    """What follows the Python interpreter: ``-m tracequill_collector.service.receiver``."""
    ready: Callable[[int], Awaitable[bool]]
    """Whether it takes work now, given its pid; asked again and again until it says yes."""
    stop_seconds: float = 30.0
    """How long it may take to end after SIGTERM, before SIGKILL."""
    was_ready: bool = field(default=False, init=False)
    process: asyncio.subprocess.Process | None = field(default=None, init=False)
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=20), init=False)


class Supervisor:
    """Runs children until it is told to stop; stops them in the reverse of their order."""

    def __init__(
        self,
        output: Output,
        environment: Mapping[str, str],
        on_change: Callable[[dict[str, int]], None] = lambda pids: None,
    ) -> None:
        self._output = output
        self._environment = {
            **os.environ,
            **environment,
            "TRACEQUILL_PARENT_PID": str(os.getpid()),
            "PYTHONUNBUFFERED": "1",
        }
        self._on_change = on_change
        self._children: list[Child] = []
        self._stopping = False

    async def run(
        self,
        children: Sequence[Child],
        stop: asyncio.Event,
        on_ready: Callable[[], Awaitable[None]],
    ) -> None:
        """Run *children* until *stop* is set; *on_ready* is called once, when all take work.

        Raises StartError when one of them cannot start.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                keepers = [tasks.create_task(self._keep(child)) for child in children]
                self._children.extend(children)
                stopper = tasks.create_task(stop.wait())
                starter = tasks.create_task(self._await_ready(children, on_ready))
                await stopper
                self._stopping = True
                starter.cancel()
                await self._stop_all()
                for keeper in keepers:
                    keeper.cancel()
        except BaseExceptionGroup as group:
            # Not `except*`: Python before 3.11.4 would wrap what is raised there in a group.
            expected = group.subgroup(StartError)
            if expected is None:
                raise
            raise _first(expected) from None
        finally:
            self._stopping = True
            await self._stop_all()

    async def _keep(self, child: Child) -> None:
        backoff = _FIRST_BACKOFF_SECONDS
        while not self._stopping:
            began = time.monotonic()
            code = await self._run_once(child)
            if self._stopping:
                return
            if not child.was_ready and code in (1, 2):
                reason = child.last_lines[-1] if child.last_lines else f"exit code {code}"
                raise StartError(_SPEAKER.sub("", reason))
            if time.monotonic() - began > _WELL_SECONDS:
                backoff = _FIRST_BACKOFF_SECONDS
            self._output.say(
                f"{child.name} ended ({_describe(code)}); starting it again in {backoff:g} s"
            )
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _MAX_BACKOFF_SECONDS)

    async def _run_once(self, child: Child) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *child.arguments,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            limit=1024 * 1024,
            start_new_session=True,
            # Nothing accepted is lost by SIGKILL, and nothing lingers on a port.
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
        child.process = process
        self._changed()
        assert process.stdout is not None
        async for text in _lines(process.stdout):
            child.last_lines.append(text)
            self._output.line(child.name, text)
        code = await process.wait()
        child.process = None
        self._changed()
        return code

    async def _await_ready(
        self, children: Sequence[Child], on_ready: Callable[[], Awaitable[None]]
    ) -> None:
        async with asyncio.TaskGroup() as tasks:
            for child in children:
                tasks.create_task(self._await_one(child))
        await on_ready()

    async def _await_one(self, child: Child) -> None:
        began = time.monotonic()
        while True:
            if child.process is not None and await child.ready(child.process.pid):
                break
            await asyncio.sleep(_READY_POLL_SECONDS)
        child.was_ready = True
        self._output.say(f"{child.name} takes work ({time.monotonic() - began:.1f} s)")

    async def _stop_all(self) -> None:
        """Stop the last first: who feeds others must end before those it feeds."""
        for child in reversed(self._children):
            process = child.process
            if process is None or process.returncode is not None:
                continue
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(child.stop_seconds):
                    await process.wait()
            except TimeoutError:
                self._output.say(
                    f"{child.name} did not end within {child.stop_seconds:g} s; killing it"
                )
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            child.process = None
        self._changed()

    def _changed(self) -> None:
        self._on_change(
            {child.name: child.process.pid for child in self._children if child.process}
        )


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    while True:
        try:
            line = await stream.readline()
        except ValueError:  # a line past the limit: the stream has dropped it
            continue
        if not line:
            return
        if text := line.decode(errors="replace").rstrip():
            yield text


def _first(errors: BaseExceptionGroup[StartError]) -> StartError:
    for error in errors.exceptions:
        return error if isinstance(error, StartError) else _first(error)
    raise AssertionError("an exception group is never empty")


def _describe(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
