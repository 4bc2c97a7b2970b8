"""Who asks: Phoenix's user, or a name from a cookie where nobody signs in.

A person's identifier is the one under which Phoenix's own page would store their annotations, so
that both pages write the same row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import Request
from phoenix.db import models
from phoenix.server.api.helpers.annotations import get_user_identifier
from phoenix.server.bearer_auth import PhoenixUser
from sqlalchemy import BigInteger, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from tracequill_phoenix.annotate.errors import QueueError, invalid
from tracequill_phoenix.annotate.fixed import fixed
from tracequill_phoenix.annotate.person_name import (
    COOKIE,
    PREFIX,
    checked_name,
    from_cookie,
    likeness,
)
from tracequill_phoenix.annotate.tables import people

Role = Literal["admin", "member", "viewer"]

_USER_PREFIX = "px-app:"
_LISTED_MAX = 200


@dataclass(frozen=True, slots=True)
class Person:
    """One person at work. With authentication the name is known only once it has been read."""

    person: str
    name: str
    user_id: int | None
    role: Role

    def to_json(self) -> dict[str, Any]:
        """Give the person as the API shows them."""
        return {"person": self.person, "name": self.name, "role": self.role}


def who(request: Request) -> Person | None:
    """Give the person behind *request*; None where nobody signs in and no name was given."""
    if not request.app.state.authentication_enabled:
        name = from_cookie(request.cookies.get(COOKIE))
        return named(name) if name else None
    user = request.user
    assert isinstance(user, PhoenixUser)
    role: Role = "admin" if user.is_admin else "viewer" if user.is_viewer else "member"
    user_id = int(user.identity)
    return Person(get_user_identifier(user_id), "", user_id, role)


def named(name: str) -> Person:
    """Give the person of a *name*, where a name is all there is: everybody may do everything."""
    return Person(PREFIX + name, name, None, "admin")


# Of every lease: fixed texts, and nothing is written where nothing is new.
_WRITE = """
    INSERT INTO tracequill.annotation_people AS known (person, name, user_id)
    VALUES (:person, :name, :user_id)
"""
_NAMED = text(f"{_WRITE} ON CONFLICT DO NOTHING").bindparams(bindparam("user_id", type_=BigInteger))
_USER = text(
    f"""
    {_WRITE} ON CONFLICT (person) DO UPDATE SET name = excluded.name
    WHERE known.name <> excluded.name
    """
).bindparams(bindparam("user_id", type_=BigInteger))
_USERNAME = fixed(
    select(models.User.username).where(models.User.id == bindparam("user_id", type_=BigInteger))
)


async def remember(session: AsyncSession, person: Person) -> Person:
    """Write down under which name *person* is shown; give the person with that name."""
    name = person.name
    if person.user_id is not None:
        found = await session.scalar(_USERNAME, {"user_id": person.user_id})
        name = found or person.person
    values = {"person": person.person, "name": name, "user_id": person.user_id}
    await session.execute(_NAMED if person.user_id is None else _USER, values)
    return Person(person.person, name, person.user_id, person.role)


async def give_name(session: AsyncSession, name: str) -> Person:
    """Give the person of a *name*; whoever wrote it first, if only a moment ago, spelled it."""
    await remember(session, named(await spelling(session, name)))
    return named(await spelling(session, name))


async def spelling(session: AsyncSession, name: str) -> str:
    """Give *name* as it was written before, if somebody whose name looks the same is known."""
    known = (
        await session.execute(
            select(people.c.name, (func.lower(people.c.name) == func.lower(name)).label("is_same"))
            .where(people.c.user_id.is_(None))
            .order_by(people.c.seen_at, people.c.name)
        )
    ).all()
    alike = likeness(name)
    # There may be several from before: then it is the one that is written most like this.
    exact = [row.name for row in known if row.name == name]
    in_other_case = [row.name for row in known if row.is_same]
    looking_alike = [row.name for row in known if likeness(row.name) == alike]
    return str((exact + in_other_case + looking_alike + [name])[0])


async def names_of(session: AsyncSession, persons: Iterable[str | None]) -> dict[str, str]:
    """Give the names of persons by identifier; those never seen are named by what they are."""
    wanted = {person for person in persons if person}
    if not wanted:
        return {}
    rows = await session.execute(
        select(people.c.person, people.c.name).where(people.c.person.in_(wanted))
    )
    known = {row.person: row.name for row in rows}
    return {person: known.get(person, person.removeprefix(PREFIX)) for person in wanted}


async def resolve(
    session: AsyncSession, whom: Sequence[str], *, authentication: bool
) -> list[Person]:
    """Find the people that *whom* names, by identifier, name or e-mail address; write them down.

    Raises QueueError 422 for one who is no user; without authentication any name is somebody.
    """
    found = []
    for one in dict.fromkeys(whom):
        person = await (_user(session, one) if authentication else _named(session, one))
        found.append(await remember(session, person))
    return found


async def _named(session: AsyncSession, text: str) -> Person:
    if text.startswith(_USER_PREFIX):
        raise invalid(f"{text!r} is a user, and nobody signs in here; give a name.")
    try:
        name = checked_name(text.removeprefix(PREFIX))
    except ValueError as error:
        raise invalid(f"{text!r} is no name: {error}") from error
    return named(await spelling(session, name))


async def _user(session: AsyncSession, who: str) -> Person:
    users = await _users(session)
    # In this order: anybody may take another's address for a name.
    keys = ([get_user_identifier(row.id), row.email, row.username] for row in users)
    for known_as in zip(*keys, strict=True):
        if who in known_as:
            row = users[known_as.index(who)]
            return Person(get_user_identifier(row.id), row.username, row.id, _role(row.role))
    raise invalid(f"there is no user {who!r}. Users are made in Phoenix's settings.")


async def _users(session: AsyncSession) -> Sequence[Any]:
    statement = (
        select(
            models.User.id,
            models.User.username,
            models.User.email,
            models.UserRole.name.label("role"),
        )
        .join(models.UserRole, models.UserRole.id == models.User.user_role_id)
        .where(models.UserRole.name != "SYSTEM")
        .order_by(func.lower(models.User.username))
    )
    return (await session.execute(statement)).all()


def _role(name: str) -> Role:
    return "admin" if name == "ADMIN" else "viewer" if name == "VIEWER" else "member"


async def choices(
    session: AsyncSession, search: str, *, authentication: bool
) -> list[dict[str, Any]]:
    """List the people whom one may assign, by name, those that contain *search*."""
    if authentication:
        found = [
            {
                "person": get_user_identifier(row.id),
                "name": row.username,
                "user_id": row.id,
                "role": _role(row.role),
            }
            for row in await _users(session)
        ]
    else:
        rows = await session.execute(
            select(people).where(people.c.user_id.is_(None)).order_by(func.lower(people.c.name))
        )
        found = [
            {"person": row.person, "name": row.name, "user_id": None, "role": "admin"}
            for row in rows
        ]
    needle = search.casefold()
    return [person for person in found if needle in person["name"].casefold()][:_LISTED_MAX]


def required(person: Person | None) -> Person:
    """Give *person*, or refuse with what the page has to ask for."""
    if person is None:
        raise QueueError(403, "name_needed", "please say who you are first.")
    return person
