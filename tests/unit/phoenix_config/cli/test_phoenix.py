"""``tracequill phoenix``: it becomes the server process, told everything by its environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tracequill.errors import CommandError, UsageError
from tracequill_phoenix.cli.phoenix import phoenix

DATABASE = "postgresql://user:word@127.0.0.1:1/db"


class Replaced(Exception):
    """Raised where the process would have become another."""


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    calls: list[Any] = []

    def execve(*call: Any) -> None:
        calls.append(call)
        raise Replaced

    monkeypatch.setattr("os.execve", execve)
    monkeypatch.chdir(tmp_path)
    return calls


def test_flags_reach_the_server_through_its_environment(
    executed: list[Any], tmp_path: Path
) -> None:
    with pytest.raises(Replaced):
        phoenix(port=7006, database_url=DATABASE, data_dir=tmp_path / "data")

    ((program, arguments, environment),) = executed
    assert program == sys.executable
    assert arguments[1:] == ["-m", "tracequill_phoenix.server"]
    assert environment["TRACEQUILL_PHOENIX_PORT"] == "7006"
    assert environment["TRACEQUILL_DATABASE_URL"] == DATABASE
    assert environment["TRACEQUILL_DATA_DIR"] == str(tmp_path / "data")


def test_without_a_database_nothing_is_started(executed: list[Any]) -> None:
    with pytest.raises(CommandError, match="tracequill up"):
        phoenix()

    assert executed == []


def test_an_address_for_everybody_needs_insecure(executed: list[Any]) -> None:
    with pytest.raises(UsageError, match="--insecure"):
        phoenix(host="0.0.0.0", database_url=DATABASE)
    with pytest.raises(Replaced):
        phoenix(host="0.0.0.0", database_url=DATABASE, insecure=True)

    assert executed[0][2]["TRACEQUILL_HOST"] == "0.0.0.0"


def test_the_command_does_not_load_phoenix() -> None:
    program = (
        "import sys, tracequill_phoenix.cli.phoenix\n"
        "heavy = {'phoenix', 'sqlalchemy', 'fastapi', 'grpc', 'numpy', 'asyncpg'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )

    assert done.stdout.strip() == "[]"
