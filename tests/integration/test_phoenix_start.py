"""What keeps the forked Phoenix from starting is said in one sentence, most of it at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.databases import database_url, execute, run
from tests.integration.fixtures_phoenix import clean_environment
from tests.ports import free_port

pytestmark = pytest.mark.integration


def start(folder: Path, *, seconds: float = 10, **variables: str) -> tuple[int, str]:
    """Run the server until it ends by itself; give its exit code and what it said."""
    environment = clean_environment() | {"TRACEQUILL_PHOENIX_PORT": str(free_port()), **variables}
    done = subprocess.run(
        [sys.executable, "-m", "tracequill_phoenix.server"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    return done.returncode, done.stderr.strip()


def test_without_a_database_it_says_how_to_name_one(tmp_path: Path) -> None:
    code, said = start(tmp_path)

    assert code == 1
    assert "TRACEQUILL_DATABASE_URL" in said and "tracequill up" in said
    assert said.count("\n") == 0


def test_sqlite_is_refused(tmp_path: Path) -> None:
    code, said = start(tmp_path, PHOENIX_SQL_DATABASE_URL="sqlite:///phoenix.db")

    assert code == 2
    assert "sqlite" in said and "Postgres" in said
    assert said.count("\n") == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda url: database_url(url, "no_such_database"), "does not exist"),
        (lambda url: url.replace("postgres@", "nobody_known@"), "refuses the user"),
        (
            lambda url: f"postgresql://u:secret-word@127.0.0.1:{free_port()}/phoenix",
            "cannot be reached",
        ),
        (lambda url: "postgresql://u:secret-word@nowhere.invalid/phoenix", "cannot be reached"),
    ],
    ids=["another database", "another user", "nobody listens", "no such host"],
)
def test_a_database_that_does_not_let_us_in_is_named_without_its_password(
    tmp_path: Path, postgres_url: str, change: object, reason: str
) -> None:
    assert callable(change)

    code, said = start(tmp_path, TRACEQUILL_DATABASE_URL=change(postgres_url))

    assert code == 1
    assert reason in said
    assert "secret-word" not in said
    assert said.count("\n") == 0


def test_a_taken_port_is_named(tmp_path: Path, postgres_url: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        code, said = start(
            tmp_path, TRACEQUILL_DATABASE_URL=postgres_url, TRACEQUILL_PHOENIX_PORT=str(port)
        )

    assert code == 1
    assert f"port {port}" in said and "--port" in said
    assert said.count("\n") == 0


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, postgres_url: str) -> None:
    (tmp_path / "file").touch()

    code, said = start(
        tmp_path,
        TRACEQUILL_DATABASE_URL=postgres_url,
        TRACEQUILL_DATA_DIR=str(tmp_path / "file" / "data"),
    )

    assert code == 1
    assert "file/data" in said and "--data-dir" in said
    assert said.count("\n") == 0


@pytest.fixture
def newer_database(postgres_url: str, phoenix_template: str) -> Iterator[str]:
    """A database that a later Phoenix has migrated."""
    name = f"newer_{os.getpid()}"
    run(execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {phoenix_template}"))
    url = database_url(postgres_url, name)
    run(execute(url, "UPDATE alembic_version SET version_num = 'fedcba987654'"))
    yield url
    run(execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path, newer_database: str) -> None:
    code, said = start(tmp_path, seconds=120, TRACEQUILL_DATABASE_URL=newer_database)

    assert code == 1
    assert "'fedcba987654'" in said and "newer version" in said
    assert "Traceback" not in said
