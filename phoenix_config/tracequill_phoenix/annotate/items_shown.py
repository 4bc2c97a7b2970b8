"""Items as the page gets them: the conversation, and what this person has said or begun to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tracequill_phoenix.annotate.errors import not_found
from tracequill_phoenix.annotate.people import names_of
from tracequill_phoenix.annotate.sources import sources
from tracequill_phoenix.annotate.tables import (
    answers,
    drafts,
    flags,
    in_force,
    items,
    skips,
    slots,
)


async def find_item(
    session: AsyncSession, queue_id: int, item_id: int, *, lock: bool = False
) -> Any:
    """Give an item's row; with *lock* nobody else writes about it until the transaction ends."""
    statement = select(items).where(items.c.queue_id == queue_id, items.c.item_id == item_id)
    row = (await session.execute(statement.with_for_update() if lock else statement)).one_or_none()
    if row is None:
        raise not_found("there is no such question in this queue.")
    return row


async def shown(
    session: AsyncSession,
    queue_id: int,
    item_ids: Sequence[int],
    person: str,
    *,
    root: str,
    lease_seconds: int,
) -> list[dict[str, Any]]:
    """Give items as *person* sees them, in the order of *item_ids*."""
    found = await session.execute(
        select(items).where(items.c.queue_id == queue_id, items.c.item_id.in_(item_ids))
    )
    rows = {row.item_id: row for row in found}
    content = await sources(session, list(rows.values()))
    slot_of = await _by_item(session, slots, item_ids, person)
    said = await _by_item(session, answers, item_ids, person, in_force)
    drafted = await _by_item(session, drafts, item_ids, person)
    skipped = await _by_item(session, skips, item_ids, person)
    asked = await _by_item(session, flags, item_ids, person, flags.c.withdrawn_at.is_(None))
    names = await names_of(session, [row.replied_by for row in asked.values()])
    result = []
    for item_id in item_ids:
        if item_id not in rows:
            continue
        slot = slot_of.get(item_id)
        state = slot.state if slot else "skipped" if item_id in skipped else "open"
        until = slot.leased_until if slot and slot.state == "leased" else None
        source = content.get(item_id)
        result.append(
            _plain(rows[item_id], root)
            | {
                "state": state,
                "lease": {"until": until, "seconds": lease_seconds} if until else None,
                "model": source.fact("llm", "model_name") if source else "",
                "user": source.fact("user", "id") if source else "",
                "conversation": source.conversation() if source else None,
                "answer": answer_json(said[item_id]) if item_id in said else None,
                "draft": _draft(drafted.get(item_id)),
                "flag": flag_json(asked[item_id], names) if item_id in asked else None,
            }
        )
    return result


def _plain(row: Any, root: str) -> dict[str, Any]:
    return {
        "item_id": row.item_id,
        "queue_id": row.queue_id,
        "position": row.number,
        "span_id": row.span_id,
        "trace_id": row.trace_id,
        "project": row.project,
        "session_id": row.session_id,
        "asked_at": row.asked_at,
        "links": {
            "trace": f"{root}/redirects/spans/{row.span_id}",
            "session": f"{root}/redirects/sessions/{row.session_id}" if row.session_id else None,
        },
    }


async def _by_item(
    session: AsyncSession, table: Any, item_ids: Sequence[int], person: str, *conditions: Any
) -> dict[int, Any]:
    """A person's rows by item; of several the newest."""
    statement = select(table).where(
        table.c.item_id.in_(item_ids), table.c.person == person, *conditions
    )
    if table is flags:
        statement = statement.order_by(flags.c.asked_at)
    return {row.item_id: row for row in await session.execute(statement)}


def answer_json(row: Any, name: str | None = None) -> dict[str, Any]:
    """Give an answer as the API shows it."""
    timing = {
        "shown_at": row.shown_at,
        "first_key_at": row.first_key_at,
        "submitted_at": row.submitted_at,
        "keys": row.keys,
    }
    return {
        "answer_id": str(row.answer_id),
        "item_id": row.item_id,
        "queue_id": row.queue_id,
        "person": row.person,
        "name": name or None,
        "values": row.values,
        "correction": row.correction,
        "timing": timing,
        "answered_at": row.answered_at,
        "seconds": _seconds(row.shown_at, row.submitted_at),
        "replaces": str(row.replaces) if row.replaces else None,
    }


def _seconds(shown_at: datetime | None, submitted_at: datetime | None) -> float | None:
    if shown_at is None or submitted_at is None:
        return None
    return max((submitted_at - shown_at).total_seconds(), 0.0)


def _draft(row: Any) -> dict[str, Any] | None:
    if row is None:
        return None
    return {"values": row.values, "correction": row.correction, "saved_at": row.saved_at}


def flag_json(row: Any, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Give a question to the manager as the API shows it."""
    replied_by = (names or {}).get(row.replied_by or "", row.replied_by)
    return {
        "flag_id": str(row.flag_id),
        "question": row.question,
        "asked_at": row.asked_at,
        "reply": row.reply,
        "replied_by": replied_by,
        "replied_at": row.replied_at,
    }
