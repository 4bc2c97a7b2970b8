"""Leases: who holds which slot, and until when, by the database's clock.

One statement gives out slots: it locks what it takes and steps over what others are taking, so
that any number of people ask at once and none waits for another. A person is given one slot of an
item at most, and never an item that they answered, flagged or skipped. A lease that has run out
stays with its person until somebody takes it. Knows no page, no answer and no Phoenix.

Requests of one person, from two tabs, come one after the other: at once, neither would see what
the other is being given, and the person would hold twice what was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import BigInteger

_IDS = ARRAY(BigInteger)

# Waits for other requests of this person about this queue, until the transaction ends. It must be
# a statement of its own: the next one then sees what those have changed.
_ONE_BY_ONE = text(
    "SELECT pg_advisory_xact_lock(hashint8(:queue_id), hashtext(:person))"
).bindparams(bindparam("queue_id", type_=BigInteger))

# Others' slots of an item stand side by side in the order of the index: with overlap * count of
# them locked there are slots of count items, one of each is taken, and the rest is let go at once
# with the end of the transaction. Where somebody else, a manager who changes the order, has
# changed a row meanwhile, Postgres evaluates the statement again for it and then counts ``mine``
# too high: hence GREATEST.
_TAKE = text(
    """
    WITH mine AS MATERIALIZED (
        SELECT s.item_id, s.slot, s.rank, s.state <> 'returned' AS is_later
        FROM tracequill.annotation_slots AS s
        WHERE s.queue_id = :queue_id AND s.person = :person
          AND s.state IN ('returned', 'leased') AND s.item_id <> ALL(:have)
        ORDER BY is_later, s.rank, s.item_id
        LIMIT :count
        FOR UPDATE SKIP LOCKED
    ),
    free AS MATERIALIZED (
        SELECT s.item_id, s.slot, s.rank
        FROM tracequill.annotation_slots AS s
        WHERE s.queue_id = :queue_id AND s.state IN ('open', 'leased')
          AND (s.state = 'open'
               OR s.leased_until < clock_timestamp() AND s.person <> :person)
          AND NOT EXISTS (
              SELECT FROM tracequill.annotation_slots AS other
              WHERE other.item_id = s.item_id AND other.person = :person)
          AND NOT EXISTS (
              SELECT FROM tracequill.annotation_skips AS k
              WHERE k.item_id = s.item_id AND k.person = :person)
        ORDER BY s.rank, s.item_id, s.slot
        LIMIT GREATEST(:count - (SELECT count(*) FROM mine), 0) * :overlap
        FOR UPDATE SKIP LOCKED
    ),
    one_each AS (
        SELECT DISTINCT ON (rank, item_id) item_id, slot
        FROM free ORDER BY rank, item_id, slot
        LIMIT GREATEST(:count - (SELECT count(*) FROM mine), 0)
    )
    UPDATE tracequill.annotation_slots AS taken
    SET state = 'leased', person = :person,
        leased_until = clock_timestamp() + make_interval(secs => :seconds)
    FROM (SELECT item_id, slot, 0 AS turn, is_later FROM mine
          UNION ALL SELECT item_id, slot, 1, true FROM one_each) AS chosen
    WHERE taken.item_id = chosen.item_id AND taken.slot = chosen.slot
    RETURNING taken.item_id, taken.slot, taken.rank, taken.leased_until,
              chosen.turn, chosen.is_later
    """
).bindparams(bindparam("have", type_=_IDS))

_TAKE_ONE = text(
    """
    WITH chosen AS (
        SELECT s.item_id, s.slot FROM tracequill.annotation_slots AS s
        WHERE s.item_id = :item_id
          AND (s.person = :person AND s.state IN ('leased', 'returned', 'flagged')
               OR (s.state = 'open' OR s.state = 'leased' AND s.leased_until < clock_timestamp())
                  AND NOT EXISTS (
                      SELECT FROM tracequill.annotation_slots AS other
                      WHERE other.item_id = s.item_id AND other.person = :person))
        ORDER BY s.person = :person DESC NULLS LAST, s.state = 'open' DESC, s.slot
        LIMIT 1
        FOR UPDATE
    )
    UPDATE tracequill.annotation_slots AS taken
    SET state = 'leased', person = :person,
        leased_until = clock_timestamp() + make_interval(secs => :seconds)
    FROM chosen
    WHERE taken.item_id = chosen.item_id AND taken.slot = chosen.slot
    RETURNING taken.item_id, taken.slot, taken.leased_until
    """
)

_RENEW = text(
    """
    UPDATE tracequill.annotation_slots
    SET leased_until = clock_timestamp() + make_interval(secs => :seconds)
    WHERE queue_id = :queue_id AND person = :person AND state = 'leased' AND item_id = ANY(:have)
    RETURNING item_id
    """
).bindparams(bindparam("have", type_=_IDS))

# Two statements of one person could lock the same rows in different orders; in one they cannot.
_RELEASE = text(
    """
    UPDATE tracequill.annotation_slots AS held
    SET state = CASE WHEN f.item_id IS NULL THEN 'open' ELSE 'returned' END,
        person = CASE WHEN f.item_id IS NULL THEN NULL ELSE held.person END,
        leased_until = NULL
    FROM (
        SELECT item_id, slot FROM tracequill.annotation_slots
        WHERE queue_id = :queue_id AND person = :person AND state = 'leased'
          AND (:all_of_them OR item_id = ANY(:have))
        ORDER BY item_id, slot
        FOR UPDATE
    ) AS mine
    LEFT JOIN (
        SELECT DISTINCT item_id FROM tracequill.annotation_flags
        WHERE queue_id = :queue_id AND person = :person AND replied_at IS NOT NULL
          AND withdrawn_at IS NULL
    ) AS f USING (item_id)
    WHERE held.item_id = mine.item_id AND held.slot = mine.slot
    RETURNING held.item_id
    """
).bindparams(bindparam("have", type_=_IDS))

_WAITING = text(
    """
    SELECT
        (SELECT count(*) FROM tracequill.annotation_slots AS s
         WHERE s.queue_id = :queue_id AND s.person = :person
           AND s.state IN ('returned', 'leased')) AS mine,
        (SELECT count(*) FROM (
            SELECT DISTINCT s.rank, s.item_id FROM tracequill.annotation_slots AS s
            WHERE s.queue_id = :queue_id AND s.state IN ('open', 'leased')
              AND (s.state = 'open'
                   OR s.leased_until < clock_timestamp() AND s.person <> :person)
              AND NOT EXISTS (
                  SELECT FROM tracequill.annotation_slots AS other
                  WHERE other.item_id = s.item_id AND other.person = :person)
              AND NOT EXISTS (
                  SELECT FROM tracequill.annotation_skips AS k
                  WHERE k.item_id = s.item_id AND k.person = :person)
            LIMIT :cap) AS free_items) AS free,
        (SELECT count(DISTINCT s.item_id) FROM tracequill.annotation_slots AS s
         WHERE s.queue_id = :queue_id AND s.state = 'leased' AND s.person <> :person
           AND s.leased_until >= clock_timestamp()
           AND NOT EXISTS (
               SELECT FROM tracequill.annotation_slots AS other
               WHERE other.item_id = s.item_id AND other.person = :person)) AS held_by_others
    """
)

# Two requests of one person at once may both reach for an item: the constraint refuses one.
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Lease:
    """One slot of one item, held by a person until a time of the database's clock."""

    item_id: int
    slot: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many items a person could be given now, and how many others hold."""

    items: int
    held_by_others: int


async def take(
    session: AsyncSession,
    queue_id: int,
    person: str,
    *,
    count: int,
    overlap: int,
    seconds: int,
    have: Sequence[int] = (),
) -> list[Lease]:
    """Give *person* up to *count* items beside those they *have*, the next in order first.

    First come the ones a manager has replied to, then those that the person holds from before (a
    page that was loaded anew), then free ones.
    """
    values = {
        "queue_id": queue_id,
        "person": person,
        "count": count,
        "overlap": overlap,
        "seconds": seconds,
        "have": list(have),
    }
    await _one_by_one(session, queue_id, person)
    for _ in range(_ATTEMPTS - 1):
        try:
            async with session.begin_nested():
                return _in_order(await session.execute(_TAKE, values))
        except DBAPIError as error:
            if not is_collision(error):
                raise
    return _in_order(await session.execute(_TAKE, values))


async def _one_by_one(session: AsyncSession, queue_id: int, person: str) -> None:
    await session.execute(_ONE_BY_ONE, {"queue_id": queue_id, "person": person})


def _in_order(rows: object) -> list[Lease]:
    ordered = sorted(rows, key=lambda row: (row.turn, row.is_later, row.rank, row.item_id))  # type: ignore[call-overload]
    return [Lease(row.item_id, row.slot, row.leased_until) for row in ordered]


async def take_one(
    session: AsyncSession, item_id: int, person: str, *, seconds: int
) -> Lease | None:
    """Give *person* a slot of this very item, their own if they have one; None if all are held."""
    row = (
        await session.execute(_TAKE_ONE, {"item_id": item_id, "person": person, "seconds": seconds})
    ).one_or_none()
    return Lease(row.item_id, row.slot, row.leased_until) if row else None


async def renew(
    session: AsyncSession, queue_id: int, person: str, have: Sequence[int], *, seconds: int
) -> list[int]:
    """Renew what *person* still holds; an item that is missing in the answer is lost."""
    if not have:
        return []
    await _one_by_one(session, queue_id, person)
    values = {"queue_id": queue_id, "person": person, "have": list(have), "seconds": seconds}
    return list(await session.scalars(_RENEW, values))


async def release(
    session: AsyncSession, queue_id: int, person: str, have: Sequence[int]
) -> list[int]:
    """Let go of items, all of them where none is named; what a manager replied to stays theirs."""
    values = {
        "queue_id": queue_id,
        "person": person,
        "have": list(have),
        "all_of_them": not have,
    }
    await _one_by_one(session, queue_id, person)
    return list(await session.scalars(_RELEASE, values))


async def waiting(session: AsyncSession, queue_id: int, person: str, *, cap: int = 1000) -> Waiting:
    """Count what *person* could be given, up to *cap*."""
    values = {"queue_id": queue_id, "person": person, "cap": cap}
    row = (await session.execute(_WAITING, values)).one()
    return Waiting(min(row.mine + row.free, cap), row.held_by_others)


def is_collision(error: DBAPIError) -> bool:
    """Whether two transactions met and this one only has to be tried again."""
    return getattr(error.orig, "sqlstate", None) in ("23505", "40P01", "40001")
