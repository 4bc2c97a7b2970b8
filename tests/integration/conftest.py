"""Real parts for integration tests: one Postgres a run, one copy of Phoenix's schema a test."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.databases import database_url, execute, fetch_value, run
from tests.integration.fixtures_phoenix import phoenix_server, phoenix_with_users
from tests.integration.fixtures_proxy import proxy
from tracequill_collector.stack.postgres import EmbeddedPostgres

__all__ = ["phoenix_server", "phoenix_with_users", "proxy"]

_NUMBERS = itertools.count()
_TEMPLATE = "phoenix_template"
_IS_TEMPLATE_MADE = f"SELECT 1 FROM pg_database WHERE datname = '{_TEMPLATE}'"


class PostgresThread:
    """An embedded Postgres that lives on a loop of its own, apart from the tests' loops."""

    def __init__(self, data_dir: Path) -> None:
        self.server = EmbeddedPostgres(data_dir)
        self._loop = asyncio.new_event_loop()
        # The parent-death signal follows the thread that started a child: this one must stay.
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.start(print), self._loop).result(120)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(120)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running Postgres, or the one that TRACEQUILL_TEST_POSTGRES_URL names."""
    if url := os.environ.get("TRACEQUILL_TEST_POSTGRES_URL"):
        yield url
        return
    postgres = PostgresThread(tmp_path_factory.mktemp("postgres"))
    postgres.start()
    yield postgres.server.url
    postgres.stop()


@pytest.fixture(scope="session")
def phoenix_template(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database with Phoenix's schema and prices, made once; copy it, never use it."""
    if run(fetch_value(postgres_url, _IS_TEMPLATE_MADE)):
        return _TEMPLATE
    run(execute(postgres_url, f"CREATE DATABASE {_TEMPLATE}"))
    environment = {
        **os.environ,
        "PHOENIX_WORKING_DIR": str(tmp_path_factory.mktemp("phoenix")),
        "TEMPLATE_URL": database_url(postgres_url, _TEMPLATE),
    }
    subprocess.run(
        [sys.executable, str(Path(__file__).with_name("make_template.py"))],
        env=environment,
        check=True,
        timeout=240,
    )
    return _TEMPLATE


@pytest.fixture
def phoenix_database(postgres_url: str, phoenix_template: str) -> Iterator[str]:
    """The URL of a fresh database with Phoenix's schema and built-in prices."""
    name = f"test_{os.getpid()}_{next(_NUMBERS)}"
    run(execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {phoenix_template}"))
    yield database_url(postgres_url, name)
    run(execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))
