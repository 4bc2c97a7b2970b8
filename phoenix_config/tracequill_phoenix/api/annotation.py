"""What every route of the annotation queue shares: who asks, what is refused, and how it answers.

A refusal is a status, a sentence for the person and a word for the page. Answers are written
straight to JSON, since a conversation may be megabytes.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Depends, HTTPException, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from phoenix.config import get_env_csrf_trusted_origins, get_env_host, get_env_root_url
from phoenix.server.types import DbSessionFactory
from phoenix.server.utils import get_root_path
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.exceptions import HTTPException as RaisedError
from starlette.responses import Response
from starlette.types import Message, Receive

from tracequill_phoenix.annotate.clean import clean_text
from tracequill_phoenix.annotate.errors import QueueError
from tracequill_phoenix.annotate.guard import Guard
from tracequill_phoenix.annotate.leases import is_collision
from tracequill_phoenix.annotate.people import Person, required, who
from tracequill_phoenix.annotate.phoenix_labels import Changes
from tracequill_phoenix.api.access import NOT_READ_ONLY, authenticated

BODY_MAX_BYTES = 8 * 1024 * 1024
_ATTEMPTS = 3

T = TypeVar("T")


_JSON = "application/json"
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_NO_JSON = "this is not JSON that can be read."


def json_answer(data: Any, status: int = 200, **beside: Any) -> Response:
    """Answer with *data* as Phoenix's REST API does, below the key ``data``."""
    body = orjson.dumps({"data": data, **beside}, option=orjson.OPT_UTC_Z)
    return _json(body, status)


def _json(body: bytes, status: int) -> Response:
    return Response(body, status, media_type=_JSON, headers=_HEADERS)


class QueueRoute(APIRoute):
    """A route whose refusals are all of one shape."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the route: what it refuses becomes JSON with a sentence and a word."""
        handle = super().get_route_handler()

        async def refusing(request: Request) -> Response:
            try:
                return await handle(Request(request.scope, _bounded(request)))
            except QueueError as error:
                return _json(orjson.dumps(error.body(), option=orjson.OPT_UTC_Z), error.status)
            except RequestValidationError as error:
                body = {"detail": clean_text(_sentence(error)), "code": "invalid"}
                return _json(orjson.dumps(body), 422)
            except RaisedError as error:  # FastAPI raises its parent class
                if error.status_code != 400:  # what it says of a body that is no JSON
                    raise
                body = {"detail": _NO_JSON, "code": "invalid"}
                return _json(orjson.dumps(body), 422)

        return refusing


def _bounded(request: Request) -> Receive:
    """Read no more than a body may have, whatever its length is said to be.

    Raises HTTPException 413. A route's body is read before anything else of it is asked.
    """
    length = request.headers.get("content-length", "0")
    left = BODY_MAX_BYTES if length.isdecimal() and int(length) <= BODY_MAX_BYTES else -1

    async def receive() -> Message:
        nonlocal left
        message = await request.receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, f"this is more than {BODY_MAX_BYTES:,} bytes.")
        return message

    return receive


def _sentence(error: RequestValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return _NO_JSON
    where = ".".join(str(part) for part in first["loc"][1:])
    message = str(first["msg"])
    return f"{where}: {message}" if where else message


async def checked(request: Request) -> None:
    """Refuse other sites' writes, and names that are not ours, by QueueError."""
    _guard().check(
        request.method, request.headers, authentication=request.app.state.authentication_enabled
    )


@functools.cache  # the variables are those that the process began with
def _guard() -> Guard:
    return Guard([str(get_env_root_url()), *get_env_csrf_trusted_origins()], [get_env_host()])


async def asking(request: Request) -> Person | None:
    """Give the person who asks, if one is known."""
    return who(request)


async def me(request: Request) -> Person:
    """Give the person who asks; QueueError where a name is to be given first."""
    return required(who(request))


Asking = Annotated[Person | None, Depends(asking)]
Me = Annotated[Person, Depends(me)]
# Not Phoenix's rule for viewers: one who is assigned to a queue may answer it. Every route asks
# the queue instead.
ACCESS = [
    NOT_READ_ONLY,
    Depends(authenticated),
    Depends(checked),
]


# What Postgres holds; a larger number is no id of ours.
ID_MAX = 2**63 - 1
Id = Annotated[int, Path(ge=1, le=ID_MAX)]


def base_url() -> str:
    """Give the address under which people reach Phoenix, without a slash at its end."""
    return str(get_env_root_url()).rstrip("/")


def root_path(request: Request) -> str:
    """Give the path before all of ours, for links in a page."""
    return get_root_path(request.scope)


async def in_transaction(
    database: DbSessionFactory,
    request: Request,
    work: Callable[[AsyncSession, Changes], Awaitable[T]],
) -> T:
    """Do *work* in one transaction, again where two met; then tell Phoenix's pages of changes."""
    for attempt in range(1, _ATTEMPTS + 1):
        changes = Changes()
        try:
            async with database() as session:
                result = await work(session, changes)
        except DBAPIError as error:
            if attempt == _ATTEMPTS or not is_collision(error):
                raise
            continue
        changes.tell(request.state.event_queue)
        return result
    raise AssertionError  # the last attempt returns or raises


# One process does no more at a time than this. Beyond its pool Phoenix opens a connection for each
# request, which costs far more than the request; and its pages need some of the pool, too.
_TURNS = asyncio.Semaphore(4)


async def in_turn(
    database: DbSessionFactory,
    request: Request,
    work: Callable[[AsyncSession, Changes], Awaitable[T]],
) -> T:
    """Do short *work* as ``in_transaction`` does, once it is its turn."""
    async with _TURNS:
        return await in_transaction(database, request, work)
