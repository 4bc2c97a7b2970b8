"""Says in one sentence why a database cannot be used."""

from __future__ import annotations

import asyncpg

from tracequill.database_url import asyncpg_url
from tracequill.settings import mask_url
from tracequill_collector.errors import StartError

_CONNECT_SECONDS = 10
_MIN_MAJOR_VERSION = 14


async def check_database(url: str, *, is_configured: bool = True) -> int:
    """Connect to *url* and give the server's major version; StartError says what to do.

    With *is_configured* off it is the embedded Postgres, which no setting names.
    """
    shown = mask_url(url)
    try:
        connection = await asyncpg.connect(asyncpg_url(url), timeout=_CONNECT_SECONDS)
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise StartError(
            f"Postgres refuses the user or password of {shown}: {error}. "
            "Correct TRACEQUILL_DATABASE_URL."
        ) from None
    except asyncpg.InvalidCatalogNameError:
        raise StartError(
            f"{shown} names a database that does not exist. Create it: createdb, "
            "or correct TRACEQUILL_DATABASE_URL."
        ) from None
    except (OSError, TimeoutError, asyncpg.PostgresError, ValueError) as error:
        reason = str(error) or f"no answer within {_CONNECT_SECONDS} s"
        raise StartError(
            f"no Postgres answers at {shown}: {reason.rstrip('.')}. "
            + (
                "Start it, or correct TRACEQUILL_DATABASE_URL."
                if is_configured
                else "Start it with 'tracequill up'."
            )
        ) from None
    try:
        version: int = connection.get_server_version().major
    finally:
        await connection.close()
    if version < _MIN_MAJOR_VERSION:
        raise StartError(
            f"{shown} is PostgreSQL {version}; Tracequill needs {_MIN_MAJOR_VERSION} or newer. "
            "Upgrade it."
        )
    return version
