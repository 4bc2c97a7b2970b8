"""A database URL becomes an open connection, and a transaction of ours its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import asyncpg

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

CONNECT_SECONDS = 10.0
# A statement of one batch takes milliseconds: what takes longer waits for somebody who is gone.
STATEMENT_SECONDS = 60.0


async def connect(url: str) -> Connection:
    """Open a connection to a *url* of ``tracequill.database_url.asyncpg_url``.

    Raises what asyncpg raises, OSError or TimeoutError.
    """
    connection: Connection = await asyncpg.connect(
        url, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS
    )
    return connection


def transaction_settings(schema: str | None) -> str:
    """Give the statements that a transaction of ours begins with.

    They are local to it, so that a connection pool between us and Postgres may hand the session
    to somebody else afterwards.
    """
    statements = [
        # Stored means on disk, whatever the server's default is.
        "SET LOCAL synchronous_commit TO on",
        # A process that is frozen in the middle must not hold its locks for ever.
        f"SET LOCAL idle_in_transaction_session_timeout TO {int(STATEMENT_SECONDS * 1000)}",
    ]
    if schema:
        quoted = schema.replace('"', '""')
        statements.append(f'SET LOCAL search_path TO "{quoted}"')
    return "; ".join(statements)
