"""A database URL becomes an open connection; every form that Phoenix reads is read here."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

CONNECT_SECONDS = 10.0
# A statement of one batch takes milliseconds: what takes longer waits for somebody who is gone.
STATEMENT_SECONDS = 60.0

# libpq's and SQLAlchemy's own, which the server would refuse as unknown settings.
_NOT_FOR_THE_SERVER = frozenset(
    {
        "async_fallback",
        "channel_binding",
        "connect_timeout",
        "fallback_application_name",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "prepared_statement_cache_size",
        "prepared_statement_name_func",
        "sslcrldir",
        "sslsni",
        "tcp_user_timeout",
    }
)


def asyncpg_url(url: str) -> str:
    """Give *url* as asyncpg reads it: ``postgresql+driver://`` and foreign parameters undone."""
    parts = urlsplit(url)
    scheme = parts.scheme.partition("+")[0]
    if scheme not in ("postgres", "postgresql"):
        raise ValueError(
            f"the database URL begins with {parts.scheme!r}; use postgresql://user@host/database"
        )
    # SQLAlchemy's asyncpg dialect says ssl=require where libpq says sslmode=require.
    query = [
        ("sslmode" if name == "ssl" else name, value)
        for name, value in parse_qsl(parts.query)
        if name not in _NOT_FOR_THE_SERVER
    ]
    return urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(query), ""))


async def connect(url: str) -> Connection:
    """Open a connection to a *url* of ``asyncpg_url``.

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
