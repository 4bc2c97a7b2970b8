"""An application on one socket, with limits on its connections.

An aiohttp application comes in; it is served until the context is left. One connection too many is
told to come back and closed; one that is idle, or whose headers do not come to an end, is closed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from tracequill_collector.errors import StartError
from tracequill_collector.receiver.connections import ConnectionLimits

# With gRPC's, less than what a supervisor waits before it kills; more than an answer takes.
_STOP_SECONDS = 4.0
_BACKLOG = 1024
_LOG_SECONDS = 60.0

_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Retry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)

_log = logging.getLogger(__name__)


class _NoBadRequests(logging.Filter):
    """Leaves out what is no HTTP: the sender is told, and anybody could fill the log with it.

    The errors quote the head of the request, where a key may stand.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log *record*."""
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_server_log = logging.getLogger(f"{__name__}.aiohttp")
_server_log.addFilter(_NoBadRequests())


@asynccontextmanager
async def serve_http(
    app: web.Application, host: str, port: int, limits: ConnectionLimits
) -> AsyncIterator[None]:
    """Serve *app* on one socket; leaving finishes the requests in flight.

    Raises a StartError when the port is taken.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_server_log,
        auto_decompress=False,
        shutdown_timeout=_STOP_SECONDS,
        keepalive_timeout=limits.idle_seconds,
    )
    await runner.setup()
    try:
        assert runner.server is not None
        door = _Door(runner.server, limits.connections)
        try:
            listener = await asyncio.get_running_loop().create_server(
                door.enter, host, port, reuse_port=False, backlog=_BACKLOG
            )
        except OSError as error:
            raise StartError(
                f"OTLP/HTTP cannot listen on {host}:{port}: {_reason(error)}. "
                "Stop what listens there, or set otlp_http_port (TRACEQUILL_OTLP_HTTP_PORT)."
            ) from None
        try:
            yield
        finally:
            listener.close()
    finally:
        await runner.cleanup()


class _Door:
    """Lets a connection in, or turns it away when there are enough."""

    def __init__(self, server: web.Server, max_connections: int) -> None:
        self._server = server
        self._max_connections = max_connections
        self._next_log = 0.0

    def enter(self) -> asyncio.BaseProtocol:
        """Give the protocol of a new connection."""
        if len(self._server.connections) < self._max_connections:
            return self._server()
        if (now := time.monotonic()) >= self._next_log:
            self._next_log = now + _LOG_SECONDS
            _log.warning(
                "too many OTLP/HTTP connections; more are turned away",
                extra={"max_connections": self._max_connections},
            )
        return _TurnedAway()


class _TurnedAway(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say when to come back, and close."""
        writer = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass of it
        writer.write(_TOO_MANY)
        writer.close()


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
