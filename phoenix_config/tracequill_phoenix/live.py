"""Notifications of the exporter become Phoenix's own insert events, so that open pages refresh.

What enters is a JSON list of project row ids on a Postgres channel; what leaves is a call with
those ids. While the connection is down nothing is heard, so after every connect all projects
count as changed. No failure of the database ends this.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from prometheus_client import Counter, Gauge

CHANNEL = "tracequill_spans"

# A connection that a firewall forgot looks alive until something is sent over it.
_PING_SECONDS = 5.0
_PING_TIMEOUT_SECONDS = 5.0
_RETRY_FIRST_SECONDS = 0.2
_RETRY_MAX_SECONDS = 5.0

_log = logging.getLogger(__name__)

CONNECTED = Gauge(
    "tracequill_phoenix_live_connected",
    "1 while Phoenix hears of new spans, 0 while it is connecting.",
)
NOTIFICATIONS = Counter(
    "tracequill_phoenix_live_notifications_total", "Notifications of new spans heard."
)


class ListenConnection(Protocol):
    """What we use of an asyncpg connection."""

    async def add_listener(self, channel: str, callback: Callable[..., Any]) -> None: ...
    def add_termination_listener(self, callback: Callable[..., Any]) -> None: ...
    async def execute(self, query: str, *, timeout: float | None = None) -> str: ...


Connect = Callable[[], AbstractAsyncContextManager[ListenConnection]]
ProjectIds = Callable[[], Awaitable[list[int]]]
Emit = Callable[[tuple[int, ...]], None]


async def listen(
    connect: Connect,
    all_project_ids: ProjectIds,
    emit: Emit,
    *,
    retry_first_seconds: float = _RETRY_FIRST_SECONDS,
    ping_seconds: float = _PING_SECONDS,
) -> None:
    """Call *emit* with the ids of projects that got spans, until cancelled."""
    wait_seconds = retry_first_seconds
    failures = 0
    while True:
        heard = asyncio.Event()
        try:
            await _listen_once(connect, all_project_ids, emit, heard, ping_seconds)
            reason = "the connection was closed"
        except Exception as error:  # whatever the driver raises, the next try may succeed
            reason = str(error) or type(error).__name__
        finally:
            CONNECTED.set(0)
        if heard.is_set():
            wait_seconds, failures = retry_first_seconds, 0
        failures += 1
        if failures == 1:  # once an outage, not once a try
            _log.warning(
                "pages do not refresh by themselves until the database is back: %s", reason
            )
        await asyncio.sleep(wait_seconds)
        wait_seconds = min(wait_seconds * 2, _RETRY_MAX_SECONDS)


async def _listen_once(
    connect: Connect,
    all_project_ids: ProjectIds,
    emit: Emit,
    heard: asyncio.Event,
    ping_seconds: float,
) -> None:
    """Listen until the connection ends; set *heard* once it works."""
    closed = asyncio.Event()

    def on_notification(_connection: Any, _pid: int, _channel: str, payload: str) -> None:
        NOTIFICATIONS.inc()
        if project_ids := read_payload(payload):
            emit(project_ids)

    async with connect() as connection:
        connection.add_termination_listener(lambda _connection: closed.set())
        await connection.add_listener(CHANNEL, on_notification)
        # Asked for after LISTEN: what changes from here on is notified.
        if project_ids := await all_project_ids():
            emit(tuple(project_ids))
        heard.set()
        CONNECTED.set(1)
        _log.info("listening for new spans of %d projects", len(project_ids))
        while not closed.is_set():
            try:
                await asyncio.wait_for(closed.wait(), ping_seconds)
            except TimeoutError:
                await connection.execute("SELECT 1", timeout=_PING_TIMEOUT_SECONDS)


def read_payload(payload: str) -> tuple[int, ...]:
    """Give the project ids of a notification; none, and a warning, for what is not a list of them.

    Anyone who may connect to the database can send on a channel.
    """
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, list) and all(type(item) is int for item in content):
        return tuple(content)
    _log.warning("a notification on channel %s is not a list of project ids", CHANNEL)
    return ()
