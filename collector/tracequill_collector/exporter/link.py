"""A connection to Phoenix's database that opens when it is needed, after the schema was checked.

Whoever uses it says which errors may come from the connection; the next use then gets a fresh one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from tracequill.settings import mask_url
from tracequill_collector.errors import RetryableError
from tracequill_collector.exporter.connection import Connection, connect
from tracequill_collector.exporter.sqlstate import describe, is_of_the_batch
from tracequill_collector.exporter.write import check_schema, transaction


class Link:
    """One connection, for one transaction at a time."""

    def __init__(self, url: str, schema: str | None, on_open: Callable[[], None]) -> None:
        """*on_open* is called for each new connection: it may lead to another database."""
        self._url = url
        self._schema = schema
        self._on_open = on_open
        self._connection: Connection | None = None

    async def connection(self) -> Connection:
        """Give the open connection, else a new one to a schema that was checked."""
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        try:
            connection = await connect(self._url)
        except Exception as error:
            # Postgres' answers to a client that knocks quote no data, and say what is wrong.
            reason = str(error).partition("\n")[0].rstrip(".") or describe(error)
            raise RetryableError(f"no connection to {mask_url(self._url)}: {reason}.") from error
        try:
            async with transaction(connection, self._schema):
                await check_schema(connection)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection
        self._on_open()
        return connection

    def let_go(self, error: Exception) -> None:
        """Drop the connection where *error* may come from it."""
        if isinstance(error, RetryableError) or is_of_the_batch(error):
            return
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def close(self) -> None:
        """Close the connection; what is not committed is rolled back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                await connection.close(timeout=1)
