"""A transaction is committed, rolled back, or cut off with its connection."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from tracequill_collector.exporter.connection import Connection
from tracequill_collector.exporter.write import transaction


class FakeConnection:
    """Keeps what was asked of it, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def transaction(self) -> FakeConnection:
        """Be its own transaction."""
        return self

    async def start(self) -> None:
        """Begin."""
        self.asked.append("start")

    async def execute(self, statement: str) -> None:
        """Run the settings."""
        self.asked.append("settings")

    async def commit(self) -> None:
        """Commit."""
        self.asked.append("commit")

    async def rollback(self) -> None:
        """Roll back."""
        self.asked.append("rollback")

    def terminate(self) -> None:
        """Cut the connection."""
        self.asked.append("terminate")


async def asked_when(error: BaseException | None) -> list[str]:
    """Give what is asked of a connection when *error* is raised inside a transaction of it."""
    connection = FakeConnection()
    try:
        async with transaction(cast(Connection, connection), None):
            if error is not None:
                raise error
    except BaseException as raised:
        assert raised is error
    return connection.asked


async def test_what_was_done_is_committed() -> None:
    assert await asked_when(None) == ["start", "settings", "commit"]


async def test_an_error_rolls_back() -> None:
    assert await asked_when(ValueError()) == ["start", "settings", "rollback"]


@pytest.mark.parametrize("error", [TimeoutError(), asyncio.CancelledError()], ids=repr)
async def test_a_server_that_does_not_answer_is_not_asked_to_roll_back(
    error: BaseException,
) -> None:
    assert await asked_when(error) == ["start", "settings", "terminate"]
