"""A sender process from the outside: an Order goes in, a Report comes back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

from bench.ingest.sender import Order, Report
from bench.ingest.servers import BenchError, clean_environment, start, stop

_NUMBERS = itertools.count()
_GRACE_SECONDS = 150.0


def new_salt() -> int:
    """Give a number that no other sender of this run has: its spans are its own."""
    return os.getpid() * 1000 + next(_NUMBERS)


class Sending:
    """A sender that is under way."""

    def __init__(self, order: Order, process: asyncio.subprocess.Process, log: Path) -> None:
        self.pid = process.pid
        self._order = order
        self._process = process
        self._log = log
        self._line: asyncio.Future[bytes] | None = None

    async def result(self) -> Report:
        """Wait until it has sent all, and give its report."""
        assert self._process.stdout is not None
        async with asyncio.timeout(self._order.seconds + _GRACE_SECONDS):
            line = await self._process.stdout.readline()
        if not line:
            raise BenchError(f"the sender ended: {self._log.read_text()[-2000:]}")
        return Report(**json.loads(line))


@contextlib.asynccontextmanager
async def sending(order: Order, folder: Path) -> AsyncIterator[Sending]:
    """Run a sender: inside the block it sends; leaving ends it."""
    log = folder / "sender.log"
    arguments = ["-m", "bench.ingest.sender", json.dumps(asdict(order))]
    process = await start(arguments, clean_environment(), log, pipes=True)
    try:
        assert process.stdout is not None and process.stdin is not None
        if await process.stdout.readline() != b"ready\n":
            raise BenchError(f"the sender did not start: {log.read_text()[-2000:]}")
        process.stdin.write(b"\n")
        await process.stdin.drain()
        yield Sending(order, process, log)
    finally:
        await stop(process)
