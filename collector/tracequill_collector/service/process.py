"""Run one service as a process: settings in, an exit code out.

What the service does it is told by its ``main``; this module knows signals, the event loop and
how an expected failure is said.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from types import FrameType

import uvloop

from tracequill.errors import CommandError
from tracequill.settings import Settings, load_settings
from tracequill_collector.log import configure_logging

PARENT_PID_VARIABLE = "TRACEQUILL_PARENT_PID"
"""The process whose end ends this one; for platforms that send no signal when a parent dies."""

_PARENT_POLL_SECONDS = 1.0

_log = logging.getLogger(__name__)

ServiceMain = Callable[[Settings, asyncio.Event], Awaitable[None]]
"""Runs until the event is set, then finishes what is in flight, closes and returns."""


def run_service(name: str, main: ServiceMain) -> int:
    """Run *main* until it returns, and give the exit code.

    SIGTERM and SIGINT set the event and nothing else. A CommandError (StartError, SettingsError)
    becomes one sentence on standard error and its exit code, 1 or 2.
    """
    # What is written holds prompts and answers: for this user's eyes only.
    os.umask(0o077)
    asked = _AskedToStop()
    try:
        settings = load_settings()
        configure_logging(settings.log_level, settings.log_format)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings, main, asked))
    except CommandError as error:
        return _complain(name, error)
    except BaseExceptionGroup as group:
        if (expected := _find(group)) is not None:
            return _complain(name, expected)
        _log.exception("%s stopped by an unexpected error", name)
        return 1
    except Exception:
        _log.exception("%s stopped by an unexpected error", name)
        return 1
    finally:
        asked.ignore()
    return 0


class _AskedToStop:
    """What SIGTERM and SIGINT do, from the first moment of the process to its last.

    Handlers given to the loop end with it, and a second signal, as from a terminal and a
    supervisor at once, would then kill a process that has just finished in order.
    """

    def __init__(self) -> None:
        self._asked = False
        self._tell: Callable[[], object] | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def ignore(self) -> None:
        """Let no signal end what has ended: at its exit Python takes other handlers away."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        if self._tell is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._tell()

    def set_event(self, stop: asyncio.Event) -> None:
        """Set *stop* when asked, or now when that was before."""
        loop = asyncio.get_running_loop()
        self._tell = lambda: loop.call_soon_threadsafe(stop.set)
        if self._asked:
            stop.set()


async def _run(settings: Settings, main: ServiceMain, asked: _AskedToStop) -> None:
    stop = asyncio.Event()
    asked.set_event(stop)
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(_stop_with_parent(stop))
        try:
            await main(settings, stop)
        finally:
            watch.cancel()


async def _stop_with_parent(stop: asyncio.Event) -> None:
    parent = os.environ.get(PARENT_PID_VARIABLE, "")
    if not parent.isdecimal():
        return
    while os.getppid() == int(parent):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _PARENT_POLL_SECONDS)
            return
    _log.warning("the parent process has ended; stopping too", extra={"parent_pid": parent})
    stop.set()


def _find(group: BaseExceptionGroup[BaseException]) -> CommandError | None:
    """Find the failure that is meant for a person in what a TaskGroup raised."""
    for error in group.exceptions:
        if isinstance(error, CommandError):
            return error
        if isinstance(error, BaseExceptionGroup) and (inner := _find(error)):
            return inner
    return None


def _complain(name: str, error: CommandError) -> int:
    sys.stderr.write(f"tracequill {name}: {error}\n")
    return error.exit_code
