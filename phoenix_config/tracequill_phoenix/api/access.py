"""Who may call what of ours, and where the database is: the dependencies of every route we add.

The answers are Phoenix's own: the same users, API keys and roles. Nothing here knows a route.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from phoenix.server.authorization import (
    is_not_locked,
    prevent_access_in_read_only_mode,
    restrict_access_by_viewers,
)
from phoenix.server.bearer_auth import is_authenticated
from phoenix.server.types import DbSessionFactory


async def authenticated(request: Request) -> None:
    """Let a request pass that Phoenix would let pass; with authentication off, every one.

    Raises HTTPException 401 for a missing, expired or wrong token.
    """
    if request.app.state.authentication_enabled:
        await is_authenticated(request)


async def database(request: Request) -> DbSessionFactory:
    """Give Phoenix's database: ``async with database() as session`` is one transaction."""
    db: DbSessionFactory = request.app.state.db
    return db


Database = Annotated[DbSessionFactory, Depends(database)]


def _awaited(check: Callable[[Request], None]) -> Callable[[Request], Awaitable[None]]:
    """Give *check* as a coroutine: FastAPI calls all else in a thread, which costs far more."""

    async def awaited(request: Request) -> None:
        check(request)

    awaited.__name__ = check.__name__
    return awaited


NOT_READ_ONLY = Depends(_awaited(prevent_access_in_read_only_mode))

# What Phoenix asks of its own /v1 routes: not in read-only mode, a valid user or API key, and
# viewers may only read (every method but GET is refused to them).
ACCESS = [
    NOT_READ_ONLY,
    Depends(authenticated),
    Depends(_awaited(restrict_access_by_viewers)),
]
# For routes that write rows: refused with 507 while Phoenix's storage limit is exceeded.
NOT_LOCKED = Depends(_awaited(is_not_locked))
