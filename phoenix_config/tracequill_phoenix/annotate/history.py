"""What a person has done: skipped, flagged, answered; listed, searched, opened again and undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, bindparam, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from tracequill_phoenix.annotate import answers as answering
from tracequill_phoenix.annotate import leases
from tracequill_phoenix.annotate.answers import LeaseLostError
from tracequill_phoenix.annotate.errors import QueueError, not_found
from tracequill_phoenix.annotate.items_shown import find_item
from tracequill_phoenix.annotate.labels import Label
from tracequill_phoenix.annotate.people import Person
from tracequill_phoenix.annotate.phoenix_labels import Changes
from tracequill_phoenix.annotate.queues import Queue
from tracequill_phoenix.annotate.sources import copy, sources
from tracequill_phoenix.annotate.tables import answers, flags, in_force, skips, slots

UNDO_MAX = 10
_SHOWN_MAX = 300

# Every thing a person did in a queue that still stands, each once.
_DONE = """
    SELECT 'answer' AS kind, item_id, answer_id, answered_at AS at, "values", correction,
           NULL::uuid AS flag_id
    FROM tracequill.annotation_answers
    WHERE queue_id = :queue_id AND person = :person AND undone_at IS NULL AND replaced_at IS NULL
    UNION ALL
    SELECT 'skip', item_id, NULL, skipped_at, NULL, NULL, NULL
    FROM tracequill.annotation_skips
    WHERE queue_id = :queue_id AND person = :person
    UNION ALL
    SELECT 'flag', item_id, NULL, asked_at, NULL, NULL, flag_id
    FROM tracequill.annotation_flags
    WHERE queue_id = :queue_id AND person = :person AND withdrawn_at IS NULL
"""
# What has been taken back since something was done at last is one of the last things, too.
_RECENT = text(
    f"""
    WITH told AS (
        SELECT answered_at AS at, undone_at AS taken_back_at FROM tracequill.annotation_answers
        WHERE queue_id = :queue_id AND person = :person
        UNION ALL
        SELECT skipped_at, NULL FROM tracequill.annotation_skips
        WHERE queue_id = :queue_id AND person = :person
        UNION ALL
        SELECT asked_at, withdrawn_at FROM tracequill.annotation_flags
        WHERE queue_id = :queue_id AND person = :person
    )
    SELECT * FROM ({_DONE}) AS done ORDER BY at DESC, item_id DESC
    LIMIT GREATEST(:limit - (
        SELECT count(*) FROM told WHERE taken_back_at > (SELECT max(at) FROM told)), 0)
    """
)
_STANDS = text(f"SELECT EXISTS ({_DONE})")
_MINE = text(
    f"""
    SELECT done.*, i.question, i.answer, f.question AS asked, f.asked_at, f.reply, f.replied_by,
           f.replied_at
    FROM ({_DONE}) AS done
    LEFT JOIN tracequill.annotation_inputs AS i USING (item_id)
    LEFT JOIN tracequill.annotation_flags AS f ON f.flag_id = done.flag_id
    WHERE (:kind = '' OR done.kind = :kind)
      AND (:search = ''
           OR strpos(lower(concat_ws(' ', i.question, i.answer, done.correction ->> 'text',
                                     done."values"::text, f.question, f.reply)),
                     lower(:search)) > 0)
      AND (done.at, done.item_id) < (:before, :before_item)
    ORDER BY done.at DESC, done.item_id DESC
    LIMIT :limit
    """
).bindparams(bindparam("before_item", type_=BigInteger))


async def skip(session: AsyncSession, queue: Queue, item_id: int, person: Person) -> None:
    """Pass an item by: it is free for others and not offered to this person again."""
    item = await find_item(session, queue.queue_id, item_id, lock=True)
    await _refuse_answered(session, item_id, person)
    await _copy_input(session, item)
    await session.execute(
        upsert(skips)
        .values(
            item_id=item_id,
            person=person.person,
            queue_id=queue.queue_id,
            skipped_at=func.clock_timestamp(),
        )
        .on_conflict_do_nothing()
    )
    await _free(session, item_id, person)


async def flag(
    session: AsyncSession, queue: Queue, item_id: int, person: Person, flag_id: UUID, question: str
) -> Any:
    """Ask the manager about an item; it stays this person's until there is a reply."""
    item = await find_item(session, queue.queue_id, item_id, lock=True)
    known = await _flag(session, flag_id)
    if known is not None:
        if (known.item_id, known.person) != (item_id, person.person):
            raise QueueError(409, "id_taken", "this question's id belongs to another question.")
        return known
    await _refuse_answered(session, item_id, person)
    if await leases.take_one(session, item_id, person.person, seconds=60) is None:
        raise LeaseLostError
    await session.execute(
        update(slots)
        .where(slots.c.item_id == item_id, slots.c.person == person.person)
        .values(state="flagged", leased_until=None)
    )
    await _copy_input(session, item)
    return (
        await session.execute(
            insert(flags)
            .values(
                flag_id=flag_id,
                queue_id=queue.queue_id,
                item_id=item_id,
                person=person.person,
                question=question,
            )
            .returning(flags)
        )
    ).one()


async def reply(
    session: AsyncSession,
    queue: Queue,
    flag_id: UUID,
    manager: Person | None,
    answer: str,
    *,
    give_to_others: bool,
) -> Any:
    """Answer a question: its item comes back to the person who asked, or goes to others."""
    row = await _flag(session, flag_id)
    if row is None or row.queue_id != queue.queue_id or row.withdrawn_at is not None:
        raise not_found("there is no such question; it may have been withdrawn.")
    await find_item(session, queue.queue_id, row.item_id, lock=True)
    replied = (
        await session.execute(
            update(flags)
            .where(flags.c.flag_id == flag_id)
            .values(
                reply=answer,
                replied_by=manager.person if manager else None,
                replied_at=func.clock_timestamp(),
            )
            .returning(flags)
        )
    ).one()
    held = (
        slots.c.item_id == row.item_id,
        slots.c.person == row.person,
        slots.c.state.in_(("flagged", "returned")),
    )
    if give_to_others:  # also what came back, and was never taken up
        await session.execute(update(slots).where(*held).values(state="open", person=None))
    else:
        await session.execute(update(slots).where(*held).values(state="returned"))
    return replied


async def reopen(session: AsyncSession, queue: Queue, item_id: int, person: Person) -> None:
    """Open an item again: an answered one to change it, any other one leased to this person."""
    await find_item(session, queue.queue_id, item_id, lock=True)
    answered = select(slots.c.slot).where(
        slots.c.item_id == item_id,
        slots.c.person == person.person,
        slots.c.state == "answered",
    )
    if await session.scalar(answered) is not None:  # even where retention has taken the answer
        return
    await session.execute(
        delete(skips).where(skips.c.item_id == item_id, skips.c.person == person.person)
    )
    lease = await leases.take_one(session, item_id, person.person, seconds=queue.lease_seconds)
    if lease is None:
        raise QueueError(409, "lease_lost", "somebody else has this question now.")


async def undo(
    session: AsyncSession, queue: Queue, item_id: int | None, person: Person, changes: Changes
) -> tuple[str, int, int]:
    """Take back one of the last things a person did, the newest where none is named.

    Gives what it was, of which item, and how many questions more are done by it (0 or -1).
    """
    done = await recent(session, queue.queue_id, person)
    chosen = next((row for row in done if item_id in (None, row.item_id)), None)
    if chosen is None:
        raise QueueError(
            409,
            "not_recent",
            f"only the last {UNDO_MAX} can be undone. Open it from your answers to change it."
            if item_id is not None or await _stands(session, queue.queue_id, person)
            else "there is nothing to undo.",
        )
    await find_item(session, queue.queue_id, chosen.item_id, lock=True)
    if chosen.kind == "answer":
        row = (
            await session.execute(
                select(answers).where(answers.c.answer_id == chosen.answer_id, in_force)
            )
        ).one_or_none()
        if row is None:  # undone by another page of the same person meanwhile
            raise QueueError(409, "not_recent", "this has been undone already.")
        fewer = await answering.undo(session, queue, row, person, changes)
        return "answer", chosen.item_id, fewer
    if chosen.kind == "flag":
        await session.execute(
            update(flags)
            .where(flags.c.flag_id == chosen.flag_id)
            .values(withdrawn_at=func.clock_timestamp())
        )
    await session.execute(
        delete(skips).where(skips.c.item_id == chosen.item_id, skips.c.person == person.person)
    )
    # Others may have it by now; the page then shows it without a lease.
    await leases.take_one(session, chosen.item_id, person.person, seconds=queue.lease_seconds)
    return chosen.kind, chosen.item_id, 0


async def recent(session: AsyncSession, queue_id: int, person: Person) -> list[Any]:
    """Give the last things a person did, the newest first: what can be undone.

    They become fewer with each that is undone, until the person does something new.
    """
    values = {"queue_id": queue_id, "person": person.person, "limit": UNDO_MAX}
    return list((await session.execute(_RECENT, values)).all())


async def _stands(session: AsyncSession, queue_id: int, person: Person) -> bool:
    values = {"queue_id": queue_id, "person": person.person}
    return bool(await session.scalar(_STANDS, values))


async def mine(
    session: AsyncSession,
    queue_id: int,
    person: Person,
    *,
    search: str,
    kind: str,
    limit: int,
    before: tuple[datetime, int],
) -> list[Any]:
    """Give what a person did and what it was about, the newest first, older than *before*."""
    values = {
        "queue_id": queue_id,
        "person": person.person,
        "search": search,
        "kind": kind,
        "limit": limit,
        "before": before[0],
        "before_item": before[1],
    }
    return list((await session.execute(_MINE, values)).all())


_HAS_WORKED = text(
    """
    SELECT EXISTS (SELECT FROM tracequill.annotation_slots
                   WHERE queue_id = :queue_id AND person = :person)
        OR EXISTS (SELECT FROM tracequill.annotation_skips
                   WHERE queue_id = :queue_id AND person = :person)
        OR EXISTS (SELECT FROM tracequill.annotation_flags
                   WHERE queue_id = :queue_id AND person = :person)
        OR EXISTS (SELECT FROM tracequill.annotation_drafts AS d
                   JOIN tracequill.annotation_items AS i USING (item_id)
                   WHERE i.queue_id = :queue_id AND d.person = :person)
    """
)


async def has_worked(session: AsyncSession, queue_id: int, person: Person) -> bool:
    """Whether a person has said anything in a queue, or holds a question of it."""
    values = {"queue_id": queue_id, "person": person.person}
    return bool(await session.scalar(_HAS_WORKED, values))


def short(value: str | None, length: int = _SHOWN_MAX) -> str:
    """Give the beginning of a text, for lists."""
    return (value or "")[:length]


def summary(values: Mapping[str, Mapping[str, Any]] | None, labels: Sequence[Label]) -> str:
    """Say in one line what an answer says, in the order of the labels."""
    said = []
    places = {label.name: place for place, label in enumerate(labels)}
    given = sorted((values or {}).items(), key=lambda one: places.get(one[0], len(places)))
    for name, value in given:
        content = value.get("label", value.get("score", value.get("text", value.get("labels"))))
        if isinstance(content, float):
            content = f"{content:g}"
        shown = ", ".join(content) if isinstance(content, list) else str(content)
        said.append(f"{name}: {short(shown, 60)}")
    return "; ".join(said)


async def _flag(session: AsyncSession, flag_id: UUID) -> Any | None:
    return (await session.execute(select(flags).where(flags.c.flag_id == flag_id))).one_or_none()


async def _free(session: AsyncSession, item_id: int, person: Person) -> None:
    await session.execute(
        update(slots)
        .where(
            slots.c.item_id == item_id,
            slots.c.person == person.person,
            slots.c.state.in_(("leased", "returned", "flagged")),
        )
        .values(state="open", person=None, leased_until=None)
    )


async def _refuse_answered(session: AsyncSession, item_id: int, person: Person) -> None:
    answered = select(answers.c.answer_id).where(
        answers.c.item_id == item_id, answers.c.person == person.person, in_force
    )
    if await session.scalar(answered) is not None:
        raise QueueError(409, "already_answered", "you have answered this question already.")


async def _copy_input(session: AsyncSession, item: Any) -> None:
    source = (await sources(session, [item])).get(item.item_id)
    if source is not None:
        await copy(session, item.item_id, source, source.conversation())
