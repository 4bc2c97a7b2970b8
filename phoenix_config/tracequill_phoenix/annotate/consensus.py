"""Disagreements, and the consensus that ends them.

Nobody, a manager included, sees what others said of a question before everybody has answered it or
the queue is archived: only such items are listed or shown here. The consensus is kept beside the
answers and in Phoenix under an identifier that no person has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ARRAY, Text, bindparam, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from tracequill_phoenix.annotate import phoenix_labels
from tracequill_phoenix.annotate.errors import QueueError, invalid, not_allowed
from tracequill_phoenix.annotate.items_shown import answer_json, find_item
from tracequill_phoenix.annotate.labels import (
    check_values,
    correction_row,
    diff_of,
    phoenix_names,
    phoenix_rows,
)
from tracequill_phoenix.annotate.people import Person, names_of
from tracequill_phoenix.annotate.phoenix_labels import Changes
from tracequill_phoenix.annotate.queues import Queue
from tracequill_phoenix.annotate.sources import copy, sources
from tracequill_phoenix.annotate.tables import answers, consensus, in_force

_SHOWN_MAX = 300

# Two values differ where what was said differs; an explanation is no part of it, nor is the order
# of tags. Free text always differs and is no disagreement.
_DISAGREEMENTS = text(
    """
    SELECT i.item_id, differing.names, left(n.question, :shown_max) AS question,
           left(n.answer, :shown_max) AS answer
    FROM tracequill.annotation_items AS i
    CROSS JOIN LATERAL (
        SELECT array_agg(name ORDER BY name) AS names FROM (
            SELECT label.key AS name
            FROM tracequill.annotation_answers AS a
            CROSS JOIN LATERAL jsonb_each(a."values") AS label
            WHERE a.item_id = i.item_id AND a.undone_at IS NULL AND a.replaced_at IS NULL
              AND label.key = ANY(:names)
            GROUP BY label.key
            HAVING count(DISTINCT CASE WHEN label.value ? 'labels' THEN (
                SELECT jsonb_agg(tag ORDER BY tag)
                FROM jsonb_array_elements_text(label.value -> 'labels') AS tag)
                ELSE label.value - 'explanation' END) > 1
        ) AS different
    ) AS differing
    LEFT JOIN tracequill.annotation_consensus AS c ON c.item_id = i.item_id
    LEFT JOIN tracequill.annotation_inputs AS n ON n.item_id = i.item_id
    WHERE i.queue_id = :queue_id AND i.item_id > :after
      AND (i.done_at IS NOT NULL OR :is_archived)
      AND differing.names IS NOT NULL AND (c.item_id IS NULL OR :resolved)
    ORDER BY i.item_id
    LIMIT :limit
    """
).bindparams(bindparam("names", type_=ARRAY(Text)))


def identifier_of(queue_id: int) -> str:
    """Give the identifier of a queue's consensus in Phoenix; persons' begin otherwise."""
    return f"queue:{queue_id}:consensus"


async def disagreements(
    session: AsyncSession, queue: Queue, *, label: str, resolved: bool, limit: int, after: int
) -> tuple[list[dict[str, Any]], int | None]:
    """Give items about which people disagree, those decided only if *resolved*; and the last id."""
    if label and label not in [one.name for one in queue.labels]:
        raise invalid(f"this queue has no label {label!r}.")
    comparable = [one.name for one in queue.labels if one.kind != "FREEFORM"]
    names = [name for name in comparable if label in ("", name)]
    rows = (
        await session.execute(
            _DISAGREEMENTS,
            {
                "queue_id": queue.queue_id,
                "names": names,
                "is_archived": queue.archived_at is not None,
                "resolved": resolved,
                "after": after,
                "limit": limit + 1,
                "shown_max": _SHOWN_MAX,
            },
        )
    ).all()
    more = rows[limit - 1].item_id if len(rows) > limit else None
    rows = rows[:limit]
    said = await answers_of(session, [row.item_id for row in rows])
    decided = await consensus_of(session, [row.item_id for row in rows])
    return [
        {
            "item_id": row.item_id,
            "question": row.question or "",
            "answer": row.answer or "",
            "labels": list(row.names),
            "answers": said.get(row.item_id, []),
            "consensus": decided.get(row.item_id),
        }
        for row in rows
    ], more


async def answers_of(session: AsyncSession, item_ids: list[int]) -> dict[int, list[dict[str, Any]]]:
    """Give all answers in force to items, by item, each with its person's name."""
    rows = (
        await session.execute(
            select(answers)
            .where(answers.c.item_id.in_(item_ids), in_force)
            .order_by(answers.c.item_id, answers.c.answered_at)
        )
    ).all()
    names = await names_of(session, {row.person for row in rows})
    said: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        said.setdefault(row.item_id, []).append(answer_json(row, names[row.person]))
    return said


async def consensus_of(session: AsyncSession, item_ids: list[int]) -> dict[int, dict[str, Any]]:
    """Give what was decided about items, by item."""
    rows = (await session.execute(select(consensus).where(consensus.c.item_id.in_(item_ids)))).all()
    names = await names_of(session, {row.decided_by for row in rows})
    return {row.item_id: _json(row, names) for row in rows}


def _json(row: Any, names: Mapping[str, str]) -> dict[str, Any]:
    by = row.decided_by
    return {
        "item_id": row.item_id,
        "values": row.values,
        "correction": row.correction,
        "reason": row.reason,
        "decided_by": {"person": by, "name": names[by]} if by else None,
        "decided_at": row.decided_at,
    }


def require_done(queue: Queue, item: Any) -> None:
    """Raise QueueError while somebody may still answer the item without having seen others."""
    if item.done_at is None and queue.archived_at is None:
        raise QueueError(
            409,
            "invalid",
            "not everybody has answered this question yet; until then answers are not shown.",
        )


async def require_seeing(
    session: AsyncSession, queue: Queue, item: Any, person: Person | None
) -> None:
    """Raise QueueError unless *person* may see everybody's answers to the item now."""
    if not queue.may_manage(person):
        has_answered = person is not None and await session.scalar(
            select(answers.c.answer_id).where(
                answers.c.item_id == item.item_id, answers.c.person == person.person, in_force
            )
        )
        if not has_answered:
            raise not_allowed("only those who have answered a question see what others said.")
    require_done(queue, item)


async def decide(
    session: AsyncSession,
    queue: Queue,
    item_id: int,
    person: Person | None,
    values: Mapping[str, Any],
    correction: dict[str, Any] | None,
    reason: str,
    changes: Changes,
) -> dict[str, Any]:
    """Keep the consensus about an item, here and in Phoenix, in place of an earlier one."""
    item = await find_item(session, queue.queue_id, item_id, lock=True)
    require_done(queue, item)
    checked = check_values(queue.labels, values, complete=False)
    if not checked and correction is None:
        raise invalid("a consensus says something of at least one label, or corrects the answer.")
    corrected = await _corrected(session, item, correction)
    metadata = {"queue": queue.name, "consensus": True, "reason": reason}
    rows = phoenix_rows(queue.labels, checked, metadata)
    if corrected is not None:
        rows.append(correction_row(corrected, metadata))
    await phoenix_labels.write(
        session,
        item.span_id,
        identifier_of(queue.queue_id),
        person.user_id if person else None,
        phoenix_names(queue.labels),
        rows,
        changes,
    )
    kept = {
        "values": checked,
        "correction": corrected,
        "reason": reason,
        "decided_by": person.person if person else None,
        "decided_at": func.clock_timestamp(),
    }
    statement = upsert(consensus).values(item_id=item_id, queue_id=queue.queue_id, **kept)
    row = (
        await session.execute(
            statement.on_conflict_do_update(
                index_elements=[consensus.c.item_id], set_=kept
            ).returning(consensus)
        )
    ).one()
    return _json(row, await names_of(session, [row.decided_by]))


async def _corrected(
    session: AsyncSession, item: Any, correction: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Give the correction with its difference from the answer."""
    if correction is None:
        return None
    source = (await sources(session, [item])).get(item.item_id)
    if source is None:
        return correction
    conversation = source.conversation()
    await copy(session, item.item_id, source, conversation)
    return {**correction, "diff": diff_of(conversation["answer"]["text"], correction["text"])}


async def withdraw(
    session: AsyncSession, queue: Queue, item_id: int, person: Person | None, changes: Changes
) -> None:
    """Take the consensus about an item back, here and in Phoenix."""
    item = await find_item(session, queue.queue_id, item_id, lock=True)
    await session.execute(delete(consensus).where(consensus.c.item_id == item_id))
    await phoenix_labels.write(
        session,
        item.span_id,
        identifier_of(queue.queue_id),
        person.user_id if person else None,
        phoenix_names(queue.labels),
        [],
        changes,
    )
