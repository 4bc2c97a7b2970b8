"""Everything on one machine: Postgres first, then all processes, then the line ``ready``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tracequill.database_url import POSTGRES_URL_FILE
from tracequill.settings import Settings
from tracequill_collector.errors import StartError
from tracequill_collector.stack.database import check_database
from tracequill_collector.stack.folder import RunState, create_data_dir, locked
from tracequill_collector.stack.output import Terminal
from tracequill_collector.stack.postgres import EmbeddedPostgres
from tracequill_collector.stack.processes import (
    await_exporting,
    collector_children,
    phoenix_children,
    proxy_children,
)
from tracequill_collector.stack.supervisor import Child, Supervisor

_RESTART_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)


async def run_up(settings: Settings, stop: asyncio.Event, demo: bool, verbose: bool) -> int:
    """Run the whole stack until *stop* is set; the exit code is that of the demo, else 0."""
    create_data_dir(settings.data_dir)
    terminal = Terminal(settings.data_dir / "logs", verbose)
    try:
        with locked(settings.data_dir, "up") as state:
            check_ports(settings.host, _ports(settings))
            async with _database(settings, terminal, stop) as environment:
                return await _run_processes(settings, terminal, state, environment, stop, demo)
    finally:
        terminal.close()


async def run_children(
    settings: Settings,
    command: str,
    children: Sequence[Child],
    ports: Sequence[tuple[str, int]],
    stop: asyncio.Event,
    verbose: bool,
    hints: Sequence[tuple[str, str]] = (),
) -> None:
    """Run one component, ``tracequill collector`` or ``tracequill proxy``, until *stop* is set.

    *hints* are said with the addresses.
    """
    create_data_dir(settings.data_dir)
    terminal = Terminal(settings.data_dir / "logs", verbose)
    try:
        with locked(settings.data_dir, command) as state:
            check_ports(settings.host, ports)
            supervisor = Supervisor(terminal, settings.to_environment(), state.write)

            async def say_ready() -> None:
                for name, port in ports:
                    terminal.plain(f"{name:<15} http://{settings.host}:{port}")
                for name, hint in hints:
                    terminal.plain(f"{name:<15} {hint}")
                terminal.plain("ready")
                terminal.show_warnings()

            await supervisor.run(children, stop, say_ready)
    finally:
        terminal.close()


def check_ports(host: str, ports: Sequence[tuple[str, int]]) -> None:
    """Raise StartError for the first port that cannot be listened on."""
    for name, port in ports:
        try:
            with socket.create_server((host, port), family=_family(host)):
                pass
        except OSError as error:
            setting = {
                "Phoenix": "TRACEQUILL_PHOENIX_PORT",
                "OTLP/gRPC": "TRACEQUILL_OTLP_GRPC_PORT",
                "OTLP/HTTP": "TRACEQUILL_OTLP_HTTP_PORT",
                "proxy": "TRACEQUILL_PROXY_PORT",
            }[name]
            raise StartError(
                f"port {port} for {name} on {host} cannot be used: {_reason(error)}. "
                f"Stop what listens there, or set {setting} to a free port."
            ) from None


def _reason(error: OSError) -> str:
    # asyncio and socket put the address into the text, which stands beside it already.
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _ports(settings: Settings) -> list[tuple[str, int]]:
    ports = [
        ("Phoenix", settings.phoenix_port),
        ("OTLP/gRPC", settings.otlp_grpc_port),
        ("OTLP/HTTP", settings.otlp_http_port),
        ("proxy", settings.proxy_port),
    ]
    seen: dict[int, str] = {}
    for name, port in ports:
        if other := seen.get(port):
            raise StartError(f"port {port} is set for {other} and for {name}. Change one of them.")
        seen[port] = name
    return ports


@contextlib.asynccontextmanager
async def _database(
    settings: Settings, terminal: Terminal, stop: asyncio.Event
) -> AsyncIterator[dict[str, str]]:
    """Have a database; what children must know of it."""
    if settings.database_url is not None:
        await check_database(settings.database_url)
        terminal.say("Postgres: the one that is configured")
        yield {}
        return
    postgres = EmbeddedPostgres(settings.data_dir, settings.postgres_user)
    terminal.say("starting Postgres")
    await postgres.start(terminal.say)
    _write_private(settings.data_dir / POSTGRES_URL_FILE, postgres.url)
    terminal.say("Postgres takes work")
    try:
        async with asyncio.TaskGroup() as tasks:
            keeper = tasks.create_task(_keep_postgres(postgres, terminal, stop))
            try:
                yield {"TRACEQUILL_DATABASE_URL": postgres.url}
            finally:
                keeper.cancel()
    finally:
        terminal.say("stopping Postgres")
        await postgres.stop()


async def _keep_postgres(
    postgres: EmbeddedPostgres, terminal: Terminal, stop: asyncio.Event
) -> None:
    failures = 0
    while not stop.is_set():
        await postgres.wait()
        if stop.is_set():
            return
        seconds = _RESTART_SECONDS[min(failures, len(_RESTART_SECONDS) - 1)]
        terminal.say(f"Postgres ended; starting it again in {seconds:g} s")
        await asyncio.sleep(seconds)
        try:
            await postgres.start(terminal.say)
        except StartError as error:
            failures += 1
            terminal.say(str(error))
        else:
            failures = 0
            terminal.say("Postgres takes work again")


async def _run_processes(
    settings: Settings,
    terminal: Terminal,
    state: RunState,
    environment: dict[str, str],
    stop: asyncio.Event,
    demo: bool,
) -> int:
    children = [
        *collector_children(settings),
        *phoenix_children(settings),
        *proxy_children(settings),
    ]
    code = 0
    environment = {**settings.to_environment(), **environment}

    async def on_ready() -> None:
        nonlocal code
        await await_exporting(settings)
        _say_addresses(settings, terminal)
        terminal.plain("ready")
        terminal.show_warnings()
        if demo:
            code = await _run_demo(terminal, environment)

    terminal.say("starting the collector, the proxy and Phoenix, which takes some seconds")
    supervisor = Supervisor(terminal, environment, state.write)
    await supervisor.run(children, stop, on_ready)
    terminal.say("stopped")
    return code


def _say_addresses(settings: Settings, terminal: Terminal) -> None:
    host = settings.host
    for label, value in (
        ("Phoenix", f"http://{host}:{settings.phoenix_port}"),
        ("OTLP/HTTP", f"http://{host}:{settings.otlp_http_port}"),
        ("OTLP/gRPC", f"http://{host}:{settings.otlp_grpc_port}"),
        ("proxy", f"http://{host}:{settings.proxy_port}/openai/v1"),
        ("mock upstream", f"http://{host}:{settings.proxy_port}/mock/v1"),
        ("data directory", str(settings.data_dir.absolute())),
    ):
        terminal.plain(f"  {label:<15} {value}")


async def _run_demo(terminal: Terminal, environment: dict[str, str]) -> int:
    """Send the demo's conversations; its own progress goes straight to the terminal."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tracequill_phoenix.demo", env={**os.environ, **environment}
    )
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    terminal.say("the demo is done; Ctrl-C stops everything" if code == 0 else "the demo failed")
    return code


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
