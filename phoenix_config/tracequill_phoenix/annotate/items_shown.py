"""Items as the page gets them: the conversation, and what this person has said or begun to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from tracequill_phoenix.annotate.errors import not_found
from tracequill_phoenix.annotate.fixed import fixed
from tracequill_phoenix.annotate.people import names_of
from tracequill_phoenix.annotate.sources import sources
from tracequill_phoenix.annotate.tables import (
    answers,
    drafts,
    flags,
    in_force,
    items,
)

_OF_QUEUE = select(items).where(
    items.c.queue_id == bindparam("queue_id", type_=BigInteger),
    items.c.item_id == bindparam("item_id", type_=BigInteger),
)
_ITEM = fixed(_OF_QUEUE)
_ITEM_LOCKED = fixed(_OF_QUEUE.with_for_update())


async def find_item(
    session: AsyncSession, queue_id: int, item_id: int, *, lock: bool = False
) -> Any:
    """Give an item's row; with *lock* nobody else writes about it until the transaction ends."""
    values = {"queue_id": queue_id, "item_id": item_id}
    row = (await session.execute(_ITEM_LOCKED if lock else _ITEM, values)).one_or_none()
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
    values = {"queue_id": queue_id, "item_ids": list(item_ids), "person": person}
    rows = {row.item_id: row for row in await session.execute(_SHOWN, values)}
    content = await sources(session, list(rows.values()))

    async def those(is_there: str, table: Any, *conditions: Any) -> dict[int, Any]:
        ids = [item_id for item_id, row in rows.items() if getattr(row, is_there)]
        return await _by_item(session, table, ids, person, *conditions) if ids else {}

    said = await those("is_answered", answers, in_force)
    drafted = await those("is_drafted", drafts)
    asked = await those("is_flagged", flags, flags.c.withdrawn_at.is_(None))
    names = await names_of(session, [row.replied_by for row in asked.values()])
    result = []
    for item_id in item_ids:
        if item_id not in rows:
            continue
        row = rows[item_id]
        state = row.state or ("skipped" if row.is_skipped else "open")
        until = row.leased_until if state == "leased" else None
        source = content.get(item_id)
        result.append(
            _plain(row, root)
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


# Whether there is more to read about an item: mostly there is nothing.
_SHOWN = text(
    """
    SELECT i.*, s.state, s.leased_until,
        EXISTS (SELECT FROM tracequill.annotation_answers AS a
                WHERE a.item_id = i.item_id AND a.person = :person
                  AND a.undone_at IS NULL AND a.replaced_at IS NULL) AS is_answered,
        EXISTS (SELECT FROM tracequill.annotation_drafts AS d
                WHERE d.item_id = i.item_id AND d.person = :person) AS is_drafted,
        EXISTS (SELECT FROM tracequill.annotation_skips AS k
                WHERE k.item_id = i.item_id AND k.person = :person) AS is_skipped,
        EXISTS (SELECT FROM tracequill.annotation_flags AS f
                WHERE f.item_id = i.item_id AND f.person = :person
                  AND f.withdrawn_at IS NULL) AS is_flagged
    FROM tracequill.annotation_items AS i
    LEFT JOIN tracequill.annotation_slots AS s ON s.item_id = i.item_id AND s.person = :person
    WHERE i.queue_id = :queue_id AND i.item_id = ANY(:item_ids)
    """
).bindparams(bindparam("item_ids", type_=ARRAY(BigInteger)))


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
