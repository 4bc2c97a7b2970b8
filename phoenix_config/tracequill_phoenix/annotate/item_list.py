"""Who has which question of a queue, for its managers; what anybody said is not in it."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import and_, exists, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from tracequill_phoenix.annotate.download_rows import texts_of
from tracequill_phoenix.annotate.people import names_of
from tracequill_phoenix.annotate.queues import Queue
from tracequill_phoenix.annotate.tables import inputs, items, skips, slots

State = Literal["open", "leased", "done", "flagged", "all"]

_SHOWN_MAX = 300


async def item_list(
    session: AsyncSession, queue: Queue, *, state: State, limit: int, after: int
) -> tuple[list[dict[str, Any]], int | None]:
    """Give items in one *state*, and the id to go on after."""
    rows = (
        await session.execute(
            select(items, inputs.c.question, inputs.c.answer)
            .outerjoin(inputs, inputs.c.item_id == items.c.item_id)
            .where(items.c.queue_id == queue.queue_id, items.c.item_id > after, _is_in(state))
            .order_by(items.c.item_id)
            .limit(limit + 1)
        )
    ).all()
    more = rows[limit - 1].item_id if len(rows) > limit else None
    rows = rows[:limit]
    people = await _people(session, [row.item_id for row in rows])
    texts = await texts_of(session, [row.span_id for row in rows if row.question is None])
    shown = []
    for row in rows:
        question, answer = texts.get(row.span_id, ("", ""))
        who = people.get(row.item_id, [])
        shown.append(
            {
                "item_id": row.item_id,
                "question": (question if row.question is None else row.question)[:_SHOWN_MAX],
                "answer": (answer if row.answer is None else row.answer)[:_SHOWN_MAX],
                "state": _state(row, {person["state"] for person in who}),
                "people": who,
            }
        )
    return shown, more


def _state(row: Any, states: set[str]) -> str:
    if row.done_at is not None:
        return "done"
    return next((state for state in ("flagged", "leased") if state in states), "open")


def _is_in(state: State) -> ColumnElement[bool]:
    if state == "all":
        return true()
    if state == "done":
        return items.c.done_at.is_not(None)
    own = slots.c.item_id == items.c.item_id
    is_flagged = exists().where(own, slots.c.state == "flagged")
    is_held = exists().where(own, slots.c.state == "leased", _is_held())
    if state == "flagged":
        return and_(items.c.done_at.is_(None), is_flagged)
    if state == "leased":
        return and_(items.c.done_at.is_(None), ~is_flagged, is_held)
    return and_(items.c.done_at.is_(None), ~or_(is_flagged, is_held))


def _is_held() -> ColumnElement[bool]:
    return slots.c.leased_until > func.clock_timestamp()


async def _people(session: AsyncSession, item_ids: list[int]) -> dict[int, list[dict[str, Any]]]:
    """Who has or had something to do with each item; a lease that has run out is nobody's."""
    held = await session.execute(
        select(slots.c.item_id, slots.c.person, slots.c.state)
        .where(
            slots.c.item_id.in_(item_ids),
            slots.c.person.is_not(None),
            or_(slots.c.state != "leased", _is_held()),
        )
        .order_by(slots.c.item_id, slots.c.slot)
    )
    passed = await session.execute(
        select(skips.c.item_id, skips.c.person).where(skips.c.item_id.in_(item_ids))
    )
    found = [(row.item_id, row.person, row.state) for row in held]
    found += [(row.item_id, row.person, "skipped") for row in passed]
    names = await names_of(session, {person for _, person, _ in found})
    people: dict[int, list[dict[str, Any]]] = {}
    for item_id, person, state in found:
        shown = {"person": person, "name": names[person], "state": state}
        people.setdefault(item_id, []).append(shown)
    return people
