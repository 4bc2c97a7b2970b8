"""Processes that are started again whenever they end, as a supervisor does, and can be hurt."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg

from tracequill_collector.stack.child import is_running
from tracequill_collector.stack.postgres import EmbeddedPostgres

_STOP_SECONDS = 60.0
_AGAIN_SECONDS = 0.5
_ROOT = Path(__file__).parents[2]


class Service:
    """``python -m MODULE``, kept running while it is wanted."""

    def __init__(
        self,
        module: str,
        folder: Path,
        environment: dict[str, str],
        before: Sequence[str] = (),
    ) -> None:
        self.log = folder / f"{module.rpartition('.')[2]}.log"
        self.environment = environment
        self.pid = 0
        self.starts = 0
        self.exit_codes: list[int] = []
        self._command = [*before, sys.executable, "-m", module]
        self._folder = folder
        self._wanted = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()

    async def keep_running(self) -> None:
        """Start it whenever it is wanted and does not run; cancelled, kill it."""
        while True:
            await self._wanted.wait()
            self._ended.clear()
            with self.log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    env=self.environment,
                    cwd=self._folder,
                    stdout=log,
                    stderr=log,
                )
            self.pid = process.pid
            self.starts += 1
            try:
                self.exit_codes.append(await process.wait())
            except asyncio.CancelledError:
                process.kill()
                await process.wait()
                raise
            finally:
                self.pid = 0
                self._ended.set()

    def start(self) -> None:
        """Want it from now on."""
        self._wanted.set()

    async def stop(self, number: int = signal.SIGTERM) -> None:
        """Want it no more, and wait until it has ended."""
        self._wanted.clear()
        await _send_until(self._ended, self.send, number)

    def send(self, number: int) -> None:
        """Send a signal to the process, where it runs."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Postgres:
    """An embedded Postgres on a copy of a cluster, kept running while it is wanted."""

    def __init__(self, folder: Path, cluster: Path | None = None) -> None:
        folder.mkdir(exist_ok=True)
        if cluster is not None:
            copy_cluster(cluster, folder)
        server = EmbeddedPostgres(folder)
        self.url = server.url
        self.socket = server.socket_dir / ".s.PGSQL.5432"
        self.starts = 0
        self._folder = folder
        self._wanted = asyncio.Event()
        self._stopped = asyncio.Event()
        self._stopped.set()

    @property
    def pid(self) -> int:
        """The postmaster's; 0 when it does not run."""
        cluster = self._folder / "postgres"
        try:
            pid = int((cluster / "postmaster.pid").read_text().splitlines()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return 0
        return pid if is_running(pid, cluster) else 0

    async def keep_running(self) -> None:
        """Start it whenever it is wanted and does not run; cancelled, stop it."""
        command = [sys.executable, "-m", "tests.faults.keep_postgres", str(self._folder)]
        while True:
            await self._wanted.wait()
            self._stopped.clear()
            with (self._folder / "keep.log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=log, stderr=log
                )
            self.starts += 1
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                process.terminate()
                await process.wait()
                raise
            finally:
                self._stopped.set()
            if code:
                await asyncio.sleep(0.2)  # hurt while it started, or its disk is full

    def start(self) -> None:
        """Want it from now on."""
        self._wanted.set()

    async def stop(self, number: int = signal.SIGINT) -> None:
        """Want it no more, and wait until it has ended; SIGQUIT is the immediate shutdown."""
        self._wanted.clear()
        await _send_until(self._stopped, self.send, number)

    def send(self, number: int) -> None:
        """Send a signal to the postmaster, where it runs."""
        if pid := self.pid:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    async def connect(self) -> asyncpg.Connection[Any]:
        """A connection of the test's own, beside every fault; waits for a server that starts."""
        async with asyncio.timeout(120):
            while True:
                try:
                    return await asyncpg.connect(self.url, timeout=30)
                except (OSError, asyncpg.PostgresError, TimeoutError):
                    await asyncio.sleep(0.1)

    async def execute(self, statement: str) -> str:
        """Execute *statement* on a connection of its own, which may always write."""
        connection = await self.connect()
        try:
            await connection.execute("SET default_transaction_read_only = off")
            return await connection.execute(statement)
        finally:
            await connection.close(timeout=10)

    async def others(self) -> list[int]:
        """The server processes of the exporter."""
        connection = await self.connect()
        try:
            rows = await connection.fetch(
                "SELECT pid FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            return [row["pid"] for row in rows]
        finally:
            await connection.close(timeout=10)


async def _send_until(ended: asyncio.Event, send: Callable[[int], None], number: int) -> None:
    """Send *number* until *ended*: a process that is only being started has no pid yet."""
    async with asyncio.timeout(_STOP_SECONDS):
        while not ended.is_set():
            send(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_SECONDS):
                    await ended.wait()


def copy_cluster(cluster: Path, folder: Path) -> None:
    """Copy the stopped cluster below *cluster* into *folder*, owners and modes with it."""
    program = shutil.which("cp")
    assert program
    subprocess.run([program, "-a", str(cluster / "postgres"), str(folder)], check=True)
