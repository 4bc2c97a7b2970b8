"""Answers: given once whatever is sent twice, kept here and in Phoenix in one transaction, undone
in both.

Whatever is written about an item happens with the item's row locked, so that two people, or one
person twice, come one after the other. Every function works in the transaction it is given; what
Phoenix's pages are to be told is collected in ``Changes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Text,
    Uuid,
    bindparam,
    column,
    delete,
    func,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from tracequill_phoenix.annotate import phoenix_labels
from tracequill_phoenix.annotate.errors import QueueError
from tracequill_phoenix.annotate.items_shown import answer_json, find_item
from tracequill_phoenix.annotate.labels import (
    Label,
    check_values,
    correction_row,
    diff_of,
    names_said,
    phoenix_names,
    phoenix_rows,
)
from tracequill_phoenix.annotate.people import Person
from tracequill_phoenix.annotate.phoenix_labels import Changes
from tracequill_phoenix.annotate.queues import Queue
from tracequill_phoenix.annotate.sources import copy, sources
from tracequill_phoenix.annotate.tables import answers, drafts, slots


@dataclass(frozen=True, slots=True)
class Submission:
    """What the page sends."""

    answer_id: UUID
    values: Mapping[str, Any]
    correction: dict[str, Any] | None
    shown_at: datetime | None
    first_key_at: datetime | None
    submitted_at: datetime | None
    keys: int | None
    replaces: UUID | None


class LeaseLostError(QueueError):
    """Others hold the item; what was typed must be kept, in a transaction of its own."""

    def __init__(self) -> None:
        super().__init__(
            409,
            "lease_lost",
            "somebody else has this question now. What you typed is kept as a draft.",
            draft_kept=True,
        )


async def submit(
    session: AsyncSession,
    queue: Queue,
    item_id: int,
    person: Person,
    submission: Submission,
    changes: Changes,
) -> tuple[dict[str, Any], bool, int]:
    """Keep an answer; give it, whether it had been kept before, and how many questions are done
    by it."""
    item = await find_item(session, queue.queue_id, item_id, lock=True)
    known, current = await _known(session, submission.answer_id, item_id, person)
    if known is not None:
        return answer_json(known, person.name), True, 0
    queue.require_active()
    values = check_values(queue.labels, submission.values)
    if current is not None and current.answer_id != submission.replaces:
        raise QueueError(
            409,
            "already_answered",
            "you have answered this question. Open it from your answers to change it.",
            answer=answer_json(current, person.name),
        )
    slot = current.slot if current is not None else await _use_slot(session, item_id, person)
    correction = await _judged(session, item, submission.correction)
    if current is not None:
        await session.execute(
            update(answers)
            .where(answers.c.answer_id == current.answer_id)
            .values(replaced_at=func.clock_timestamp())
        )
    names = _names(queue, current.values if current is not None else {})
    before = await _to_phoenix(session, queue, item, person, names, values, correction, changes)
    row = (
        await session.execute(
            _KEEP,
            {
                "answer_id": submission.answer_id,
                "queue_id": queue.queue_id,
                "item_id": item_id,
                "slot": slot,
                "person": person.person,
                "said": values,
                "correction": correction,
                "shown_at": submission.shown_at,
                "first_key_at": submission.first_key_at,
                "submitted_at": submission.submitted_at,
                "keys": submission.keys,
                "replaces": current.answer_id if current is not None else None,
                "before": before,
            },
        )
    ).one()
    return answer_json(row, person.name), False, int(row.is_done_by_it)


_COLUMNS = ", ".join(f'"{column.name}"' for column in answers.c)
_KNOWN = (
    text(
        f"""
        SELECT {_COLUMNS} FROM tracequill.annotation_answers
        WHERE answer_id = :answer_id
           OR item_id = :item_id AND person = :person
              AND undone_at IS NULL AND replaced_at IS NULL
        """
    )
    .bindparams(bindparam("answer_id", type_=Uuid), bindparam("item_id", type_=BigInteger))
    .columns(*answers.c)
)


async def _known(
    session: AsyncSession, answer_id: UUID, item_id: int, person: Person
) -> tuple[Any | None, Any | None]:
    """The answer of this id, if it was sent before; and the person's answer that is in force."""
    found = await session.execute(
        _KNOWN, {"answer_id": answer_id, "item_id": item_id, "person": person.person}
    )
    known = None
    standing = None
    for row in found:
        is_own = (row.item_id, row.person) == (item_id, person.person)
        if row.answer_id == answer_id:
            if not is_own:
                raise QueueError(409, "id_taken", "this answer's id belongs to another answer.")
            known = row
        else:
            standing = row
    return known, standing


_USE_SLOT = text(
    """
    UPDATE tracequill.annotation_slots SET state = 'answered', person = :person, leased_until = NULL
    WHERE item_id = :item_id AND slot = (
        SELECT s.slot FROM tracequill.annotation_slots AS s
        WHERE s.item_id = :item_id
          AND (s.person = :person
               OR (s.state = 'open' OR s.state = 'leased' AND s.leased_until < clock_timestamp())
                  AND NOT EXISTS (
                      SELECT FROM tracequill.annotation_slots AS other
                      WHERE other.item_id = :item_id AND other.person = :person))
        ORDER BY s.person = :person DESC NULLS LAST, s.slot
        LIMIT 1
        FOR UPDATE)
    RETURNING slot
    """
).bindparams(bindparam("item_id", type_=BigInteger))


async def _use_slot(session: AsyncSession, item_id: int, person: Person) -> int:
    """Use the person's own slot, or one that nobody holds; LeaseLostError if there is none."""
    values = {"item_id": item_id, "person": person.person}
    slot = await session.scalar(_USE_SLOT, values)
    if slot is None:
        raise LeaseLostError
    return int(slot)


async def _judged(
    session: AsyncSession, item: Any, correction: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Copy what was judged; give the correction with its difference from the answer."""
    source = (await sources(session, [item])).get(item.item_id)
    if source is None:
        return correction
    conversation = source.conversation()
    await copy(session, item.item_id, source, conversation)
    if correction is None:
        return None
    return {**correction, "diff": diff_of(conversation["answer"]["text"], correction["text"])}


def _names(queue: Queue, said: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The annotations in Phoenix that are an answer's, also of tags that labels have lost since."""
    return sorted({*phoenix_names(queue.labels), *names_said(said)})


async def _to_phoenix(
    session: AsyncSession,
    queue: Queue,
    item: Any,
    person: Person,
    names: list[str],
    values: Mapping[str, Mapping[str, Any]],
    correction: Mapping[str, Any] | None,
    changes: Changes,
) -> list[dict[str, Any]]:
    metadata = {"queue": queue.name}
    rows = phoenix_rows(queue.labels, values, metadata)
    if correction is not None:
        rows.append(correction_row(correction, metadata))
    return await phoenix_labels.write(
        session,
        item.span_id,
        person.person,
        person.user_id,
        names,
        rows,
        changes,
    )


_SETTLE = """
    UPDATE tracequill.annotation_items AS i
    SET done_at = CASE WHEN still.open THEN NULL ELSE coalesce(i.done_at, clock_timestamp()) END
    FROM (SELECT EXISTS (
        SELECT FROM tracequill.annotation_slots AS s
        WHERE s.item_id = :item_id AND s.state <> 'answered') AS open) AS still
    WHERE i.item_id = :item_id AND still.open <> (i.done_at IS NULL)
    RETURNING i.done_at IS NOT NULL AS is_done
"""
# The answer, and what follows from it, at once: this is what people wait for.
_KEEP = (
    text(
        f"""
        WITH draft AS (
            DELETE FROM tracequill.annotation_drafts WHERE item_id = :item_id AND person = :person
        ), skip AS (
            DELETE FROM tracequill.annotation_skips WHERE item_id = :item_id AND person = :person
        ), settled AS ({_SETTLE})
        INSERT INTO tracequill.annotation_answers (
            answer_id, queue_id, item_id, slot, person, "values", correction, shown_at,
            first_key_at, submitted_at, keys, replaces, phoenix_before)
        VALUES (
            :answer_id, :queue_id, :item_id, :slot, :person, :said, :correction, :shown_at,
            :first_key_at, :submitted_at, :keys, :replaces, :before)
        RETURNING {_COLUMNS}, EXISTS (SELECT FROM settled WHERE is_done) AS is_done_by_it
        """
    )
    .bindparams(
        bindparam("answer_id", type_=Uuid),
        bindparam("item_id", type_=BigInteger),
        bindparam("person", type_=Text),
        bindparam("said", type_=JSONB),
        bindparam("correction", type_=JSONB(none_as_null=True)),
        bindparam("replaces", type_=Uuid),
        bindparam("before", type_=JSONB),
    )
    .columns(*answers.c, column("is_done_by_it", Boolean))
)


async def settle(session: AsyncSession, item_id: int) -> int:
    """Note whether everybody has answered by now; give how many questions more are done (-1..1)."""
    statement = text(_SETTLE).bindparams(bindparam("item_id", type_=BigInteger))
    is_done = await session.scalar(statement, {"item_id": item_id})
    return 0 if is_done is None else 1 if is_done else -1


async def undo(
    session: AsyncSession, queue: Queue, row: Any, person: Person, changes: Changes
) -> int:
    """Take the answer in *row* back, here and in Phoenix; what it replaced holds again.

    Gives by how many questions fewer are done, as 0 or -1. The caller holds the item's row
    locked. The slot is the person's again, and what was said is its draft.
    """
    item = await find_item(session, queue.queue_id, row.item_id)
    await session.execute(
        update(answers)
        .where(answers.c.answer_id == row.answer_id)
        .values(undone_at=func.clock_timestamp())
    )
    if row.replaces is not None:
        await session.execute(
            update(answers).where(answers.c.answer_id == row.replaces).values(replaced_at=None)
        )
    else:
        await session.execute(
            update(slots)
            .where(slots.c.item_id == row.item_id, slots.c.slot == row.slot)
            .values(
                state="leased",
                leased_until=func.clock_timestamp()
                + func.make_interval(0, 0, 0, 0, 0, 0, queue.lease_seconds),
            )
        )
    await phoenix_labels.restore(
        session,
        item.span_id,
        person.person,
        person.user_id,
        _names(queue, row.values),
        row.phoenix_before,
        changes,
    )
    await save_draft(session, row.item_id, person, row.values, row.correction)
    return await settle(session, row.item_id)


async def save_draft(
    session: AsyncSession,
    item_id: int,
    person: Person,
    values: Mapping[str, Any],
    correction: Mapping[str, Any] | None,
) -> datetime:
    """Keep what a person has begun to say; the newest stands."""
    statement = upsert(drafts).values(
        item_id=item_id,
        person=person.person,
        values=dict(values),
        correction=dict(correction) if correction is not None else None,
    )
    saved_at: datetime | None = await session.scalar(
        statement.on_conflict_do_update(
            index_elements=[drafts.c.item_id, drafts.c.person],
            set_={
                "values": statement.excluded["values"],
                "correction": statement.excluded.correction,
                "saved_at": func.clock_timestamp(),
            },
        ).returning(drafts.c.saved_at)
    )
    assert saved_at is not None
    return saved_at


async def drop_draft(session: AsyncSession, item_id: int, person: Person) -> None:
    """Forget what a person had begun to say."""
    await session.execute(
        delete(drafts).where(drafts.c.item_id == item_id, drafts.c.person == person.person)
    )


def draft_values(labels: tuple[Label, ...], values: Mapping[str, Any]) -> dict[str, Any]:
    """Give what of *values* can be kept as a draft: a draft need be neither whole nor right."""
    names = {label.name for label in labels}
    return {name: value for name, value in values.items() if name in names}
