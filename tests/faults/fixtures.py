"""The database of the fault runs: one cluster with Phoenix's schema a run, copied for each test."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.faults.processes import Postgres
from tests.integration.databases import database_url
from tracequill_collector.stack.postgres_binaries import find_binaries

_TEMPLATE = "phoenix_template"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a stopped Postgres whose database has Phoenix's schema and prices."""
    folder = tmp_path_factory.mktemp("cluster")
    asyncio.run(_make_cluster(folder))
    return folder


async def _make_cluster(folder: Path) -> None:
    server = Postgres(folder)
    server.start()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(server.keep_running())
        await (await server.connect()).close()
        if url := os.environ.get("TRACEQUILL_TEST_POSTGRES_URL"):
            await _copy_schema(url, server.url)
        else:
            await _make_schema(folder, server.url)
        await server.stop()
        running.cancel()


async def _copy_schema(url: str, target: str) -> None:
    """Take the schema from the template of a server that runs already: that spares Phoenix."""
    binaries = find_binaries() / "bin"
    name = f"test_{secrets.token_hex(6)}"
    connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        try:
            dump = await _run(str(binaries / "pg_dump"), database_url(url, name))
        finally:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()
    await _run(str(binaries / "psql"), target, "--quiet", "--set=ON_ERROR_STOP=1", text=dump)


async def _make_schema(folder: Path, url: str) -> None:
    program = Path(__file__).parents[1] / "integration" / "make_template.py"
    variables = {"PHOENIX_WORKING_DIR": str(folder / "phoenix"), "TEMPLATE_URL": url}
    await _run(sys.executable, str(program), variables=variables)


async def _run(*command: str, text: bytes = b"", variables: dict[str, str] | None = None) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **(variables or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await process.communicate(text)
    assert process.returncode == 0, errors.decode(errors="replace")
    return output
