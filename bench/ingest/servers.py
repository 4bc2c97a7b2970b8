"""The servers under test as processes: one Postgres, stock Phoenix, receiver and exporter.

Each dies with the bench. Postgres has the settings of ``tracequill up``; receiver and exporter run
as ``up`` runs them, stock Phoenix as its own command runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from tracequill_collector.stack.child import die_with_parent
from tracequill_collector.stack.postgres import EmbeddedPostgres
from tracequill_collector.stack.processes import http_status
from tracequill_collector.status import read_status

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

HOST = "127.0.0.1"
APPLICATION = "bench"
"""The name of the bench's own connections."""
_TEMPLATE = "phoenix_template"
_START_SECONDS = 120.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.02
_ROOT = Path(__file__).parents[2]
_MAKE_TEMPLATE = _ROOT / "tests" / "integration" / "make_template.py"


class BenchError(Exception):
    """A part did not do what the measurement needs; says which, and what it last said."""


@dataclass(slots=True)
class Databases:
    """Fresh databases of one Postgres, each with Phoenix's empty tables and its prices."""

    postgres: EmbeddedPostgres
    folder: Path

    async def make_template(self) -> None:
        """Have Phoenix's own code make its tables once; takes about 20 s."""
        await self._execute(f"CREATE DATABASE {_TEMPLATE}")
        environment = clean_environment() | {
            "PHOENIX_WORKING_DIR": str(self.folder / "template"),
            "TEMPLATE_URL": self.url(_TEMPLATE),
        }
        process = await start([str(_MAKE_TEMPLATE)], environment, self.folder / "template.log")
        if await process.wait():
            raise BenchError(_last(self.folder / "template.log"))

    @contextlib.asynccontextmanager
    async def fresh(self, name: str) -> AsyncIterator[str]:
        """Give the URL of an empty database, which is dropped at the end."""
        await self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await self._execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        # What was dirtied before is no cost of what is measured next.
        await self._execute("CHECKPOINT")
        try:
            yield self.url(name)
        finally:
            await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, name: str) -> str:
        """Give the URL of the database *name*."""
        return f"postgresql://postgres@/{name}?host={self.postgres.socket_dir}"

    async def _execute(self, statement: str) -> None:
        async with connected(self.url("tracequill")) as connection:
            await connection.execute(statement)


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """Give a connection of the bench, which is known by its name."""
    connection: Connection = await asyncpg.connect(
        url, server_settings={"application_name": APPLICATION}
    )
    try:
        yield connection
    finally:
        connection.terminate()


@contextlib.asynccontextmanager
async def running_postgres(folder: Path) -> AsyncIterator[Databases]:
    """Run an embedded Postgres in *folder*."""
    postgres = EmbeddedPostgres(folder)
    await postgres.start(lambda line: None)
    try:
        yield Databases(postgres, folder)
    finally:
        await postgres.stop()


# --- processes ------------------------------------------------------------------------------


async def start(
    arguments: Sequence[str], environment: dict[str, str], log: Path, *, pipes: bool = False
) -> asyncio.subprocess.Process:
    """Start ``python ARGUMENTS``; what it says goes to *log*, or its output to a pipe."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            env=environment,
            cwd=_ROOT,
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else output,
            stderr=output,
            limit=1 << 28,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )


async def stop(process: asyncio.subprocess.Process) -> None:
    """Ask *process* to end, and wait until it has."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def clean_environment() -> dict[str, str]:
    """Give our environment without any setting of ours, Phoenix's or OpenTelemetry's."""
    prefixes = ("TRACEQUILL_", "PHOENIX_", "OTEL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on."""
    with contextlib.ExitStack() as sockets:
        held = [sockets.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in held]


@contextlib.asynccontextmanager
async def running_phoenix(url: str, folder: Path) -> AsyncIterator[PhoenixProcess]:
    """Run stock Phoenix on the database at *url*; it takes half a minute to start."""
    port, grpc_port = free_ports(2)
    environment = clean_environment() | {
        "PHOENIX_HOST": HOST,
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_SQL_DATABASE_URL": url,
        "PHOENIX_WORKING_DIR": str(folder / "phoenix"),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    log = folder / "phoenix.log"
    command = str(Path(sys.executable).with_name("phoenix"))
    process = await start([command, "serve"], environment, log)
    try:
        await _await_answer(process, port, log)
        yield PhoenixProcess(process, f"{HOST}:{grpc_port}")
    finally:
        await stop(process)


@dataclass(frozen=True, slots=True)
class PhoenixProcess:
    """A stock Phoenix that takes spans at its gRPC address."""

    process: asyncio.subprocess.Process
    grpc_address: str


class Collector:
    """Receiver and exporter with a data directory of their own, on one database."""

    def __init__(self, folder: Path, url: str, *, is_synced: bool, **settings: str) -> None:
        self.folder = folder
        self.is_synced = is_synced
        self.grpc_port, self.http_port = free_ports(2)
        self.receiver: asyncio.subprocess.Process | None = None
        self.exporter: asyncio.subprocess.Process | None = None
        self._environment = clean_environment() | {
            "TRACEQUILL_DATA_DIR": str(folder),
            "TRACEQUILL_DATABASE_URL": url,
            "TRACEQUILL_OTLP_GRPC_PORT": str(self.grpc_port),
            "TRACEQUILL_OTLP_HTTP_PORT": str(self.http_port),
            **settings,
        }

    @property
    def grpc_address(self) -> str:
        return f"{HOST}:{self.grpc_port}"

    @property
    def status_file(self) -> Path:
        """What the exporter says of itself, once a second."""
        return self.folder / "collector" / "exporter.status.json"

    @property
    def queue_dir(self) -> Path:
        return self.folder / "collector" / "queue"

    async def start_receiver(self) -> None:
        """Start it and wait until it takes work."""
        log = self.folder / "receiver.log"
        self.receiver = await self._start("tracequill_collector.service.receiver", log)
        await _await_answer(self.receiver, self.http_port, log)

    async def start_exporter(self) -> None:
        """Start it and wait until it runs; the queue may hold work by then."""
        log = self.folder / "exporter.log"
        self.exporter = await self._start("tracequill_collector.service.exporter", log)
        deadline = time.monotonic() + _START_SECONDS
        while self.exporter_status() is None:
            if self.exporter.returncode is not None or time.monotonic() > deadline:
                raise BenchError(f"the exporter did not start: {_last(log)}")
            await asyncio.sleep(_POLL_SECONDS)

    def exporter_status(self) -> dict[str, Any] | None:
        """Give what this very exporter has said last."""
        status = read_status(self.status_file)
        if status is None or self.exporter is None or status.pid != self.exporter.pid:
            return None
        return status.values

    async def stop(self) -> None:
        """End both, the receiver first."""
        for process in (self.receiver, self.exporter):
            if process is not None:
                await stop(process)

    async def _start(self, module: str, log: Path) -> asyncio.subprocess.Process:
        arguments = ["-m", module]
        if not self.is_synced:
            arguments = ["-m", "bench.ingest.unsynced", module]
        return await start(arguments, self._environment, log)


@contextlib.asynccontextmanager
async def running_collector(
    folder: Path, url: str, *, is_synced: bool = True, **settings: str
) -> AsyncIterator[Collector]:
    """Run receiver and exporter on the database at *url*."""
    collector = Collector(folder, url, is_synced=is_synced, **settings)
    try:
        await collector.start_receiver()
        await collector.start_exporter()
        yield collector
    finally:
        await collector.stop()


async def _await_answer(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while await http_status(HOST, port, "/readyz") != 200:
        if process.returncode is not None or time.monotonic() > deadline:
            raise BenchError(f"{log.stem} did not start: {_last(log)}")
        await asyncio.sleep(_POLL_SECONDS)


def _last(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(lines[-15:]) or "it said nothing"
