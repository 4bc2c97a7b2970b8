"""Who may call what of ours, and where the database is: the dependencies of every route we add.

The answers are Phoenix's own: the same users, API keys and roles. Nothing here knows a route.
"""

from __future__ import annotations

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


def database(request: Request) -> DbSessionFactory:
    """Give Phoenix's database: ``async with database() as session`` is one transaction."""
    db: DbSessionFactory = request.app.state.db
    return db


Database = Annotated[DbSessionFactory, Depends(database)]

# What Phoenix asks of its own /v1 routes: not in read-only mode, a valid user or API key, and
# viewers may only read (every method but GET is refused to them).
ACCESS = [
    Depends(prevent_access_in_read_only_mode),
    Depends(authenticated),
    Depends(restrict_access_by_viewers),
]
# For routes that write rows: refused with 507 while Phoenix's storage limit is exceeded.
NOT_LOCKED = Depends(is_not_locked)
