"""The forked Phoenix as a process of its own, and queues in it, made by its own API."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.ingest.servers import HOST, BenchError, clean_environment, free_ports, start, stop
from bench.queue.data import PROJECT
from tracequill_collector.stack.processes import http_status

API = "/tracequill/api"
_START_SECONDS = 120.0
_POLL_SECONDS = 0.1
_TIMEOUT = aiohttp.ClientTimeout(total=300)

QUALITY = {
    "name": "quality",
    "kind": "CATEGORICAL",
    "values": [{"label": "good", "score": 1}, {"label": "bad", "score": 0}],
    "direction": "MAXIMIZE",
}
"""What people say of an answer, by default."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    base_url: str
    database_url: str
    process: asyncio.subprocess.Process
    admin_token: str
    """Where people sign in: what lets the bench do everything; otherwise empty."""


@contextlib.asynccontextmanager
async def running_server(
    url: str, folder: Path, *, users: bool = False, **settings: str
) -> AsyncIterator[Server]:
    """Run ``tracequill phoenix`` on the database at *url*; with *users* people sign in.

    *settings* are variables of its environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, otlp_grpc_port, otlp_http_port = free_ports(3)
    admin_token = "admin-" + secrets.token_hex(32) if users else ""
    environment = clean_environment() | {
        "TRACEQUILL_DATABASE_URL": url,
        "TRACEQUILL_DATA_DIR": str(folder / "data"),
        "TRACEQUILL_HOST": HOST,
        "TRACEQUILL_PHOENIX_PORT": str(port),
        "TRACEQUILL_OTLP_GRPC_PORT": str(otlp_grpc_port),
        "TRACEQUILL_OTLP_HTTP_PORT": str(otlp_http_port),
        "PHOENIX_WORKING_DIR": str(folder / "phoenix"),
        **settings,
    }
    if users:
        environment |= {
            "PHOENIX_ENABLE_AUTH": "true",
            "PHOENIX_SECRET": "a1" + secrets.token_hex(32),
            "PHOENIX_ADMIN_SECRET": admin_token,
            "PHOENIX_DISABLE_RATE_LIMIT": "true",  # of signing in: all of them come at once
        }
    log = folder / "server.log"
    process = await start(["-m", "tracequill_phoenix.server"], environment, log)
    try:
        await _ready(process, port, log)
        yield Server(f"http://{HOST}:{port}", url, process, admin_token)
    finally:
        await stop(process)


async def _ready(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while await http_status(HOST, port, "/readyz") != 200:
        if process.returncode is not None or time.monotonic() > deadline:
            raise BenchError(f"the server did not start: {log.read_text()[-2000:]}")
        await asyncio.sleep(_POLL_SECONDS)


class Caller:
    """Somebody who calls the server's API as a page does, with cookies of their own."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """Give what is answered below ``data``; BenchError for a refusal."""
        async with self.session.request(method, f"{API}{path}", json=body) as answer:
            if not answer.ok:
                text = (await answer.text())[:500]
                raise BenchError(f"{method} {path} was answered {answer.status}: {text}")
            return (await answer.json())["data"] if answer.status != 204 else None

    async def create_queue(self, name: str, items: int, **fields: Any) -> Json:
        """Make a queue of *items* final answers, chosen at random from all of them."""
        body = {
            "name": name,
            "labels": [QUALITY],
            "selection": {"project": PROJECT, "sample": items},
        }
        made: Json = await self.call("POST", "/queues", body | fields)
        if made["items"] != items:
            raise BenchError(f"the queue {name!r} has {made['items']} items, not {items}")
        return made


@contextlib.asynccontextmanager
async def caller(server: Server, name: str = "") -> AsyncIterator[Caller]:
    """Be somebody: where people sign in the admin, else somebody of this *name*."""
    headers = {"Authorization": f"Bearer {server.admin_token}"} if server.admin_token else {}
    jar = aiohttp.CookieJar(unsafe=True)  # cookies of an address, which this server has
    async with aiohttp.ClientSession(
        server.base_url, headers=headers, cookie_jar=jar, timeout=_TIMEOUT
    ) as session:
        one = Caller(session)
        if name and not server.admin_token:
            await one.call("PUT", "/me/name", {"name": name})
        yield one
