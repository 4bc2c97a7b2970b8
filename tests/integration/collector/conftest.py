"""Phoenix itself, imported once a run, and the requests that are fed to it and to us."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.collector.oracle import EMPTY, Phoenix
from tests.integration.databases import database_url, execute, run
from tracequill_collector.otlp import parse_traces
from tracequill_collector.pipeline import Record, RecordKind

_OWN = Path(__file__).parents[2] / "data" / "otlp"


@pytest.fixture(scope="session")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    """Phoenix's own code, to compare ours with."""
    process = Phoenix(tmp_path_factory.mktemp("phoenix_oracle"))
    yield process
    process.close()


@pytest.fixture
def new_database(postgres_url: str, phoenix_template: str) -> Iterator[Callable[[], str]]:
    """Makes databases with Phoenix's schema and prices, as many as a test needs."""
    with _databases(postgres_url, phoenix_template) as make:
        yield make


@pytest.fixture(scope="session")
def _pair(postgres_url: str, phoenix_template: str) -> Iterator[tuple[str, str]]:
    with _databases(postgres_url, phoenix_template) as make:
        yield make(), make()


@pytest.fixture
def pair(_pair: tuple[str, str]) -> tuple[str, str]:
    """Two databases, empty but for what Phoenix begins with: one for Phoenix and one for us."""
    for url in _pair:
        run(execute(url, EMPTY))
    return _pair


@contextmanager
def _databases(postgres_url: str, template: str) -> Iterator[Callable[[], str]]:
    names: list[str] = []

    def make() -> str:
        names.append(f"test_{secrets.token_hex(6)}")
        run(execute(postgres_url, f"CREATE DATABASE {names[-1]} TEMPLATE {template}"))
        return database_url(postgres_url, names[-1])

    yield make
    for name in names:
        run(execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def requests() -> list[bytes]:
    """The requests of ``tests/data/otlp`` in the order of their names, then the corpus' own."""
    paths = sorted(_OWN.glob("*.json"))
    if corpus := os.environ.get("TRACEQUILL_CORPUS"):
        paths.append(Path(corpus) / "otlp-trace.json")
    return [
        parse_traces(path.read_bytes(), "application/json").SerializeToString() for path in paths
    ]


@pytest.fixture(scope="session")
def records(requests: list[bytes]) -> list[Record]:
    """The same requests as the receiver queues them."""
    return [Record(RecordKind.OTLP_TRACES, 0, payload) for payload in requests]
