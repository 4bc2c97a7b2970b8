"""Which database the servers and commands use, and every form of a URL that Phoenix reads.

Pure but for one small file: where the embedded Postgres of a data directory is.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tracequill.errors import CommandError
from tracequill.settings import Settings

POSTGRES_URL_FILE = "postgres.url"
"""In the data directory: the URL of the embedded Postgres, written by ``tracequill up``."""

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


def running_database_url(settings: Settings) -> str:
    """Give the configured URL, else that of the embedded Postgres of the data directory."""
    if settings.database_url is not None:
        return settings.database_url
    try:
        return (Path(settings.data_dir) / POSTGRES_URL_FILE).read_text(encoding="utf-8").strip()
    except OSError:
        raise CommandError(
            f"no database is configured and none was started in {str(settings.data_dir)!r}. "
            "Start it with 'tracequill up', or set TRACEQUILL_DATABASE_URL."
        ) from None
