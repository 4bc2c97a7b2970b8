"""System calls of a running process that fail, by strace, and the record of those it made."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_ATTACH_SECONDS = 20.0
# 123 fdatasync(9</queue/0001.segment>) = -1 EIO (Input/output error) (INJECTED)
_CALL = re.compile(r"(\d+)\s+(\w+)\((?:\d+<([^>]*)>)?.*\)\s+= (-?\d+)(?: (E\w+))?")


@dataclass(frozen=True, slots=True)
class Call:
    """One system call, as strace saw it."""

    thread_id: int
    name: str
    path: str
    """Of its first argument, where that is an open file."""
    error: str


class Strace:
    """strace on all threads of a process, or on some: ``async with`` attaches and lets go.

    *fault* is what strace's ``inject`` takes: ``fdatasync:error=EIO:when=2+3``. Its counts are
    those of each thread.
    """

    def __init__(
        self,
        pid: int,
        output: Path,
        calls: str,
        fault: str = "",
        *,
        threads: Collection[int] = (),
    ) -> None:
        self._output = output
        whom = [f"-p{thread}" for thread in threads] or ["-f", f"-p{pid}"]
        inject = ["-e", f"inject={fault}"] if fault else []
        self._command = ["strace", "-y", "-o", str(output), "-e", f"trace={calls}", *inject, *whom]
        self._attached = len(threads) or 1
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert self._process.stderr
        async with asyncio.timeout(_ATTACH_SECONDS):
            attached = 0
            while attached < self._attached:
                line = await self._process.stderr.readline()
                assert line, "strace could not attach: the process has ended"
                # Others are about threads that ended just then.
                attached += b" attached" in line
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)
        await self._process.communicate()

    async def ended(self, seconds: float = 60.0) -> None:
        """Wait until the process has ended, by a kill of ours or by itself."""
        assert self._process
        async with asyncio.timeout(seconds):
            await self._process.wait()

    @property
    def made(self) -> list[Call]:
        """The finished calls so far, in order."""
        # The line of a call begins with its thread only where there are several.
        lines = self._output.read_text().splitlines()
        found = [
            _CALL.match(line if re.match(r"\d+ ", line) else f"0 {line}") for line in _joined(lines)
        ]
        return [Call(int(one[1]), one[2], one[3] or "", one[5] or "") for one in found if one]


def _joined(lines: list[str]) -> list[str]:
    """Put the two halves of a call that another thread came between together again."""
    begun: dict[str, str] = {}
    whole: list[str] = []
    for line in lines:
        thread, _, rest = line.partition(" ")
        if rest.endswith("<unfinished ...>"):
            begun[thread] = line.removesuffix("<unfinished ...>")
        elif (resumed := re.match(r"\s*<\.\.\. \w+ resumed>(.*)", rest)) and thread in begun:
            whole.append(begun.pop(thread) + resumed[1])
        else:
            whole.append(line)
    return whole
