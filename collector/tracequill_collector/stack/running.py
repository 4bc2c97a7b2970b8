"""Where the database of the running stack is, for commands beside it."""

from __future__ import annotations

from tracequill.settings import Settings
from tracequill_collector.errors import StartError
from tracequill_collector.stack.up import POSTGRES_URL_FILE


def running_database_url(settings: Settings) -> str:
    """Give the configured URL, else that of the embedded Postgres of the data directory."""
    if settings.database_url is not None:
        return settings.database_url
    try:
        return (settings.data_dir / POSTGRES_URL_FILE).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise StartError(
            f"no database: {settings.data_dir} holds no embedded Postgres. Run 'tracequill up' "
            "once, or set TRACEQUILL_DATABASE_URL."
        ) from None
