"""Notifications become events, and no failure of the database ends that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tracequill_phoenix.live import listen, read_payload


class Connection:
    """A connection that the test speaks for."""

    def __init__(self, *, pings_fail: bool = False) -> None:
        self.pings_fail = pings_fail
        self.listening = asyncio.Event()
        self._on_notification: Callable[..., Any] = print
        self._on_end: Callable[..., Any] = print

    async def add_listener(self, channel: str, callback: Callable[..., Any]) -> None:
        assert channel == "tracequill_spans"
        self._on_notification = callback
        self.listening.set()

    def add_termination_listener(self, callback: Callable[..., Any]) -> None:
        self._on_end = callback

    async def execute(self, query: str, *, timeout: float | None = None) -> str:
        if self.pings_fail:
            raise TimeoutError
        return "SELECT 1"

    def notify(self, payload: str) -> None:
        self._on_notification(self, 1, "tracequill_spans", payload)

    def end(self) -> None:
        self._on_end(self)


class Rig:
    """Runs ``listen`` over the given connections, or failures to connect, one after another."""

    def __init__(self, *connections: Connection | Exception, projects: list[int]) -> None:
        self.emitted: list[tuple[int, ...]] = []
        self.projects = projects
        self._connections = list(connections)
        self._changed = asyncio.Event()

    async def run(self) -> None:
        await listen(
            self._connect, self._ids, self._emit, retry_first_seconds=0.001, ping_seconds=0.001
        )

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Connection]:
        if not self._connections:
            await asyncio.Event().wait()
        connection = self._connections.pop(0)
        if isinstance(connection, Exception):
            raise connection
        yield connection

    async def _ids(self) -> list[int]:
        return self.projects

    def _emit(self, project_ids: tuple[int, ...]) -> None:
        self.emitted.append(project_ids)
        self._changed.set()

    async def until(self, emitted: list[tuple[int, ...]]) -> None:
        async with asyncio.timeout(20):
            while self.emitted != emitted:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(rig.run())
        yield
        task.cancel()


async def test_a_notification_names_the_projects_that_changed() -> None:
    connection = Connection()
    rig = Rig(connection, projects=[])
    async with running(rig):
        await connection.listening.wait()
        connection.notify("[3, 5]")
        await rig.until([(3, 5)])


async def test_after_every_connect_all_projects_count_as_changed() -> None:
    first, second = Connection(), Connection()
    rig = Rig(first, second, projects=[1, 2])
    async with running(rig):
        await rig.until([(1, 2)])
        first.end()
        await rig.until([(1, 2), (1, 2)])
        second.notify("[2]")
        await rig.until([(1, 2), (1, 2), (2,)])


async def test_no_failure_ends_it_and_an_outage_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = [OSError("refused"), TimeoutError(), RuntimeError("whatever the driver raises")]
    with caplog.at_level(logging.WARNING):
        rig = Rig(*failures, Connection(), projects=[1])
        async with running(rig):
            await rig.until([(1,)])

    assert caplog.text.count("do not refresh by themselves") == 1
    assert "refused" in caplog.text


async def test_a_connection_that_no_longer_answers_is_replaced() -> None:
    rig = Rig(Connection(pings_fail=True), Connection(), projects=[1])
    async with running(rig):
        await rig.until([(1,), (1,)])


@pytest.mark.parametrize(
    "payload", ["", "1", "{}", '["1"]', "[true]", "[1.0]", "[" * 100_000], ids=lambda p: p[:8]
)
def test_what_is_no_list_of_projects_is_left_out(
    payload: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_payload(payload) == ()

    assert "not a list of project ids" in caplog.text
