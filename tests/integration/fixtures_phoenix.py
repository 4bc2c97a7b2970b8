"""The forked Phoenix as a real process, and a collector that keeps what it is sent.

Starting Phoenix costs about 12 s, so each server here is started once a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.integration.databases import database_url, execute, run
from tests.ports import free_port
from tracequill_collector.stack.child import die_with_parent
from tracequill_phoenix.migrations import START_LOCK_KEY

READY_SECONDS = 120.0
REQUEST_MAX_BYTES = 1_000_000
ADMIN_SECRET = "admin-secret-of-the-tests-0123456789"


@dataclass(frozen=True)
class Received:
    """One request as the collector got it."""

    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Give the value of the header *name*, whatever its case."""
        return next((value for key, value in self.headers if key.lower() == name), None)


class CollectorStub:
    """Stands where the collector's HTTP receiver listens: keeps requests, answers as told."""

    def __init__(self) -> None:
        self.port = free_port()
        self.received: list[Received] = []
        self.forget()
        self._server: ThreadingHTTPServer | None = None
        self._connections: list[socket.socket] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def forget(self) -> None:
        """Forget all requests, and answer 200 with an empty OTLP response again."""
        self.received.clear()
        self.status = 200
        self.body = b""
        self.headers: dict[str, str] = {"Content-Type": "application/x-protobuf"}

    def start(self) -> None:
        """Listen, on the same port each time."""
        stub = self

        class Exchange(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                stub._connections.append(self.connection)

            def do_GET(self) -> None:
                self._answer(200 if self.path == "/readyz" else 404, b"", {})

            def do_POST(self) -> None:
                body = self._read()
                stub.received.append(Received(self.path, list(self.headers.items()), body))
                self._answer(stub.status, stub.body, stub.headers)

            def _read(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", "0")))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None: ...  # senders may break off

        self._server = Server(("127.0.0.1", self.port), Exchange)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more, and end what is connected."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for connection in self._connections:
            with contextlib.suppress(OSError):  # it has ended already
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()


@dataclass
class PhoenixServer:
    """A running server with its database and the collector that it forwards to."""

    base_url: str
    database_url: str
    collector: CollectorStub
    process: subprocess.Popen[bytes]
    log: Path
    seconds_to_ready: float = 0.0
    tables_while_locked: int | None = None

    def client(self, **headers: str) -> httpx.Client:
        """Give a client for this server that takes nothing from the environment."""
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=30, trust_env=False)


@pytest.fixture(scope="session")
def phoenix_server(
    postgres_url: str, phoenix_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PhoenixServer]:
    """Phoenix without sign-in, on a copy of a prepared database."""
    name = f"overlay_{os.getpid()}"
    run(execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {phoenix_template}"))
    folder = tmp_path_factory.mktemp("phoenix_server")
    server = start_phoenix(database_url(postgres_url, name), folder, {})
    wait_until_ready(server)
    yield server
    stop_phoenix(server)
    run(execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def phoenix_with_users(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PhoenixServer]:
    """Phoenix where users sign in, started on an empty database that another server prepares."""
    name = f"overlay_users_{os.getpid()}"
    run(execute(postgres_url, f"CREATE DATABASE {name}"))
    folder = tmp_path_factory.mktemp("phoenix_with_users")
    server = start_phoenix(
        database_url(postgres_url, name),
        folder,
        {
            "PHOENIX_ENABLE_AUTH": "true",
            "PHOENIX_SECRET": "a1" + secrets.token_hex(32),
            "PHOENIX_ADMIN_SECRET": ADMIN_SECRET,
        },
    )
    server.tables_while_locked = run(_hold_start_lock(server))
    wait_until_ready(server)
    yield server
    stop_phoenix(server)
    run(execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def _hold_start_lock(server: PhoenixServer) -> int:
    """Be the other server until this one waits; give the number of tables at that moment."""
    connection = await asyncpg.connect(server.database_url)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", START_LOCK_KEY)
        for _ in range(int(READY_SECONDS / 0.1)):
            if "another server prepares the database" in server.log.read_text():
                break
            assert server.process.poll() is None, server.log.read_text()
            await asyncio.sleep(0.1)
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'tracequill')"
        return int(await connection.fetchval(tables))
    finally:
        await connection.close()


def start_phoenix(database_url: str, folder: Path, extra: dict[str, str]) -> PhoenixServer:
    """Start ``python -m tracequill_phoenix.server``; it is not ready yet."""
    collector = CollectorStub()
    collector.start()
    port = free_port()
    log = folder / "server.log"
    environment = clean_environment() | {
        "TRACEQUILL_DATABASE_URL": database_url,
        "TRACEQUILL_DATA_DIR": str(folder / "data"),
        "TRACEQUILL_OTLP_GRPC_PORT": str(free_port()),
        "TRACEQUILL_OTLP_HTTP_PORT": str(collector.port),
        "TRACEQUILL_PHOENIX_PORT": str(port),
        "TRACEQUILL_REQUEST_MAX_BYTES": str(REQUEST_MAX_BYTES),
        **extra,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tracequill_phoenix.server"],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
    return PhoenixServer(f"http://127.0.0.1:{port}", database_url, collector, process, log)


def wait_until_ready(server: PhoenixServer) -> None:
    """Wait for /readyz; fail with the log if the server ends or takes too long."""
    started = time.monotonic()
    with server.client() as client:
        while time.monotonic() - started < READY_SECONDS:
            assert server.process.poll() is None, server.log.read_text()
            try:
                if client.get("/readyz").status_code == 200:
                    server.seconds_to_ready = time.monotonic() - started
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
    stop_phoenix(server)
    raise AssertionError(f"not ready after {READY_SECONDS} s:\n{server.log.read_text()}")


def stop_phoenix(server: PhoenixServer) -> int:
    """Stop the server as its supervisor does, and give its exit code."""
    server.process.terminate()
    try:
        return server.process.wait(20)
    except subprocess.TimeoutExpired:
        server.process.kill()
        return server.process.wait(10)
    finally:
        server.collector.stop()


def clean_environment() -> dict[str, str]:
    """Give our environment without any setting of ours or Phoenix's."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TRACEQUILL_", "PHOENIX_"))
    }
