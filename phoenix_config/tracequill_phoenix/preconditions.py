"""What must hold before Phoenix is worth loading, which takes 17 seconds: its port is free and
its database answers. Each failure is one sentence. Knows neither Phoenix nor its tables.
"""

from __future__ import annotations

import asyncio
import socket

import asyncpg

from tracequill.database_url import asyncpg_url
from tracequill.errors import CommandError
from tracequill.settings import mask_url

_CONNECT_SECONDS = 10.0


def check_port(host: str, port: int) -> None:
    """Raise CommandError if *port* cannot be bound on *host*; nothing stays bound."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CommandError(
            f"host {host!r} is no address of this machine: {error.strerror}. "
            "Set TRACEQUILL_HOST to one, or leave it out for 127.0.0.1."
        ) from None
    for family, kind, protocol, _, address in addresses:
        with socket.socket(family, kind, protocol) as probe:
            # As the server itself binds: a port in TIME_WAIT is free, one with a listener is not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                raise CommandError(
                    f"port {port} on {host} cannot be used: {error.strerror}. Stop what listens "
                    "there, or choose another port with --port or TRACEQUILL_PHOENIX_PORT."
                ) from None


async def check_database(url: str) -> None:
    """Raise CommandError if the Postgres at *url* does not let us in."""
    shown = mask_url(url)
    try:
        connection = await asyncpg.connect(asyncpg_url(url), timeout=_CONNECT_SECONDS)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        raise CommandError(f"the database {shown} {_reason(error)}") from None
    try:
        await asyncio.wait_for(connection.execute("SELECT 1"), _CONNECT_SECONDS)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise CommandError(f"the database {shown} {_reason(error)}") from None
    finally:
        connection.terminate()


def _reason(error: Exception) -> str:
    """Say what failed and what to do about it."""
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return "does not exist on that server. Create it with 'createdb', or correct the name."
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return f"refuses the user: {error}. Correct user and password in the URL."
    if isinstance(error, asyncpg.CannotConnectNowError):
        return f"is not ready: {error}. Wait until Postgres has started, then start Phoenix again."
    if isinstance(error, TimeoutError):
        return f"did not answer within {_CONNECT_SECONDS:.0f} s. Is its address right?"
    if isinstance(error, OSError):
        return (
            f"cannot be reached: {error.strerror or error}. "
            "Start Postgres, or correct the address in the URL."
        )
    return f"cannot be used: {str(error).splitlines()[0] if str(error) else error!r}."
