"""Queues: made, changed, archived, listed; who may answer one and who manages it.

Knows the tables and roles, no page and no request. Every function works in the transaction that
it is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Select,
    TextClause,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from tracequill_phoenix.annotate import leases
from tracequill_phoenix.annotate.errors import QueueError, invalid, not_allowed, not_found
from tracequill_phoenix.annotate.fixed import fixed
from tracequill_phoenix.annotate.labels import Label, label_from, label_names
from tracequill_phoenix.annotate.people import Person, names_of
from tracequill_phoenix.annotate.selection import rank_of
from tracequill_phoenix.annotate.tables import (
    answers,
    flags,
    in_force,
    items,
    labels,
    members,
    queues,
    slots,
)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue with its labels and the people who are assigned to it."""

    queue_id: int
    name: str
    instructions: str
    overlap: int
    item_order: Any
    assigned_only: bool
    advance_on_digit: bool
    lease_seconds: int
    keep_days: int | None
    project: str
    condition: str
    created_at: datetime
    created_by: str | None
    archived_at: datetime | None
    labels: tuple[Label, ...]
    members: tuple[str, ...]

    def may_see(self, person: Person | None) -> bool:
        """Viewers see the queues that they are assigned to, and no other."""
        return person is None or person.role != "viewer" or person.person in self.members

    def may_answer(self, person: Person) -> bool:
        """Whoever is assigned, and where nobody has to be, every member."""
        if person.person in self.members:
            return True
        return not self.assigned_only and person.role != "viewer"

    def may_manage(self, person: Person | None) -> bool:
        """Whoever made it, and admins. Without a person nobody signs in, and everybody may."""
        if person is None or person.role == "admin":
            return True
        return person.role == "member" and self.created_by == person.person

    def require_answering(self, person: Person) -> None:
        """Raise QueueError unless *person* may answer, now."""
        if not self.may_answer(person):
            raise not_allowed(f"you are not assigned to the queue {self.name!r}.")
        self.require_active()

    def require_managing(self, person: Person | None) -> None:
        """Raise QueueError unless *person* manages this queue."""
        if not self.may_manage(person):
            raise not_allowed(
                f"only whoever made the queue {self.name!r}, or an administrator, may do this."
            )

    def require_active(self) -> None:
        """Raise QueueError if the queue has been archived."""
        if self.archived_at is not None:
            raise QueueError(409, "archived", f"the queue {self.name!r} has been archived.")


async def find(session: AsyncSession, queue_id: int, *, lock: bool = False) -> Queue:
    """Give the queue, its row locked against other changes where *lock* is on."""
    found = await _queues(session, _ONE_LOCKED if lock else _ONE, {"queue_id": queue_id})
    if not found:
        raise not_found("there is no such queue.")
    return found[0]


async def find_for(session: AsyncSession, queue_id: int, person: Person | None) -> Queue:
    """Give the queue if *person* may know of it."""
    queue = await find(session, queue_id)
    if not queue.may_see(person):
        raise not_found("there is no such queue.")
    return queue


# Whoever answers shares this lock with the others who do; whoever changes the queue has it alone.
# It is not the queue's row that is locked: those who answer would write to it one after the other,
# and a change could wait for ever while there is always somebody who answers.
_OF_QUEUE = "hashtextextended('tracequill.annotation_queues', :queue_id)"
_SHARE = text(f"SELECT pg_advisory_xact_lock_shared({_OF_QUEUE})").bindparams(
    bindparam("queue_id", type_=BigInteger)
)
_ALONE = text(f"SELECT pg_advisory_xact_lock({_OF_QUEUE})").bindparams(
    bindparam("queue_id", type_=BigInteger)
)


async def unchanged(session: AsyncSession, queue_id: int) -> None:
    """Wait for a change of the queue, and let none come before the transaction ends.

    Comes before everything else in a transaction: what the next statement reads of the queue then
    holds until the end, and nobody who waits here has a row that the change needs.
    """
    await session.execute(_SHARE, {"queue_id": queue_id})


async def find_all(session: AsyncSession, *, archived: bool) -> list[Queue]:
    """Give all queues in use, or all archived ones, the newest first."""
    statement = _select().order_by(queues.c.queue_id.desc())
    condition = queues.c.archived_at.is_not(None) if archived else queues.c.archived_at.is_(None)
    return await _queues(session, fixed(statement.where(condition)), {})


# In the same statement as the queue: every request of every page begins with this.
_LABELS = (
    select(
        func.coalesce(
            func.jsonb_agg(
                aggregate_order_by(
                    func.jsonb_build_array(
                        labels.c.name,
                        labels.c.kind,
                        labels.c.is_required,
                        labels.c.is_multiple,
                        labels.c.definition,
                    ),
                    labels.c.position,
                )
            ),
            func.jsonb_build_array(),
        )
    )
    .where(labels.c.queue_id == queues.c.queue_id)
    .scalar_subquery()
)
_MEMBERS = (
    select(func.coalesce(func.jsonb_agg(members.c.person), func.jsonb_build_array()))
    .where(members.c.queue_id == queues.c.queue_id)
    .scalar_subquery()
)


def _select() -> Select[Any]:
    return select(
        queues,
        _LABELS.label("labels"),
        _MEMBERS.label("members"),
    )


_BY_ID = _select().where(queues.c.queue_id == bindparam("queue_id", type_=BigInteger))
_ONE = fixed(_BY_ID)
# Answers, which only point to the queue, go on meanwhile.
_ONE_LOCKED = fixed(_BY_ID.with_for_update(key_share=True, of=queues))


async def _queues(
    session: AsyncSession, statement: TextClause, values: dict[str, Any]
) -> list[Queue]:
    return [
        Queue(
            **{
                **row,
                "labels": tuple(label_from(*label) for label in row["labels"]),
                "members": tuple(sorted(row["members"])),
            }
        )
        for row in (await session.execute(statement, values)).mappings()
    ]


async def create(
    session: AsyncSession,
    person: Person | None,
    values: dict[str, Any],
    wanted: Sequence[Label],
    assigned: Sequence[str],
) -> int:
    """Write a queue; give its id."""
    try:
        async with session.begin_nested():
            queue_id = await session.scalar(
                insert(queues)
                .values(**values, created_by=person.person if person else None)
                .returning(queues.c.queue_id)
            )
    except IntegrityError as error:
        raise _name_taken(values["name"]) from error
    assert queue_id is not None
    await _write_labels(session, queue_id, wanted)
    await _write_members(session, queue_id, assigned)
    return int(queue_id)


async def change(
    session: AsyncSession,
    queue: Queue,
    values: dict[str, Any],
    wanted: Sequence[Label] | None,
    assigned: Sequence[str] | None,
) -> None:
    """Change what *values* names, once those who answer at this moment are done.

    The caller holds the queue's row locked.
    """
    await session.execute(_ALONE, {"queue_id": queue.queue_id})
    if values:
        try:
            async with session.begin_nested():
                await session.execute(
                    update(queues).where(queues.c.queue_id == queue.queue_id).values(**values)
                )
        except IntegrityError as error:
            raise _name_taken(values["name"]) from error
    if wanted is not None:
        await _change_labels(session, queue, wanted)
    if assigned is not None:
        await session.execute(delete(members).where(members.c.queue_id == queue.queue_id))
        await _write_members(session, queue.queue_id, assigned)
    if assigned is not None or "assigned_only" in values:
        await _free_held_by_others(
            session,
            queue,
            staying=queue.members if assigned is None else assigned,
            assigned_only=values.get("assigned_only", queue.assigned_only),
        )
    if values.get("overlap", queue.overlap) != queue.overlap:
        await _change_overlap(session, queue, values["overlap"])
    if values.get("item_order", queue.item_order) != queue.item_order:
        await _change_order(session, queue.queue_id, values["item_order"])


async def remove(session: AsyncSession, queue: Queue) -> None:
    """Delete a queue in which nobody has answered; items go with it."""
    # Whoever answers at this moment holds an item and then points to the queue, in this order:
    # their answer is waited for, and counts.
    for row in (items, queues):
        own = select(row.c.queue_id).where(row.c.queue_id == queue.queue_id).with_for_update()
        await session.execute(select(func.count()).select_from(own.subquery()))
    if await session.scalar(
        select(answers.c.answer_id).where(answers.c.queue_id == queue.queue_id).limit(1)
    ):
        raise QueueError(
            409, "invalid", f"the queue {queue.name!r} has answers. Archive it to put it away."
        )
    await session.execute(delete(queues).where(queues.c.queue_id == queue.queue_id))


def _name_taken(name: str) -> QueueError:
    return QueueError(409, "name_taken", f"there is a queue {name!r} already; choose another name.")


async def _write_labels(session: AsyncSession, queue_id: int, wanted: Sequence[Label]) -> None:
    if not wanted:
        raise invalid("a queue needs at least one label.")
    for name, times in Counter(label_names(wanted)).items():
        if times > 1:
            raise invalid(f"two labels of the queue would both be {name!r} in Phoenix.")
    await session.execute(
        insert(labels),
        [
            {
                "queue_id": queue_id,
                "name": label.name,
                "position": position,
                "kind": label.kind,
                "is_required": label.required,
                "is_multiple": label.multiple,
                "definition": label.definition(),
            }
            for position, label in enumerate(wanted)
        ],
    )


async def _change_labels(session: AsyncSession, queue: Queue, wanted: Sequence[Label]) -> None:
    """Labels with answers stay what they are, or old and new answers would not compare."""
    new = {label.name: label for label in wanted}
    used = select(func.jsonb_object_keys(answers.c["values"])).where(
        answers.c.queue_id == queue.queue_id
    )
    with_answers = set(await session.scalars(used.distinct()))
    for label in queue.labels:
        kept = new.get(label.name)
        if label.name not in with_answers:
            continue
        if kept is None:
            raise QueueError(
                409, "invalid", f"the label {label.name!r} has answers and cannot be taken out."
            )
        if (kept.kind, kept.multiple) != (label.kind, label.multiple):
            raise QueueError(409, "invalid", f"the label {label.name!r} has answers as it is.")
    await session.execute(delete(labels).where(labels.c.queue_id == queue.queue_id))
    await _write_labels(session, queue.queue_id, wanted)


async def _write_members(session: AsyncSession, queue_id: int, assigned: Sequence[str]) -> None:
    if assigned:
        rows = [{"queue_id": queue_id, "person": person} for person in dict.fromkeys(assigned)]
        await session.execute(insert(members), rows)


async def _free_held_by_others(
    session: AsyncSession, queue: Queue, *, staying: Sequence[str], assigned_only: bool
) -> None:
    """Free what people hold who are assigned no more: nobody else could ever answer it."""
    held = (
        slots.c.queue_id == queue.queue_id,
        slots.c.state.in_(("leased", "flagged", "returned")),
    )
    if assigned_only:
        theirs = slots.c.person.not_in(staying)
    else:
        theirs = slots.c.person.in_(set(queue.members) - set(staying))
    await session.execute(
        update(slots).where(*held, theirs).values(state="open", person=None, leased_until=None)
    )


async def _change_overlap(session: AsyncSession, queue: Queue, overlap: int) -> None:
    """More slots for every item, or fewer: those that somebody holds or used stay."""
    values = {"queue_id": queue.queue_id, "overlap": overlap}
    if overlap < queue.overlap:
        await session.execute(
            text(
                """
                DELETE FROM tracequill.annotation_slots AS s USING (
                    SELECT item_id, slot, row_number() OVER (
                        PARTITION BY item_id ORDER BY state = 'open', slot) AS turn
                    FROM tracequill.annotation_slots WHERE queue_id = :queue_id
                ) AS ordered
                WHERE s.item_id = ordered.item_id AND s.slot = ordered.slot
                  AND s.state = 'open' AND ordered.turn > :overlap
                """
            ),
            values,
        )
    else:
        await session.execute(
            text(
                """
                INSERT INTO tracequill.annotation_slots (item_id, slot, queue_id, rank)
                SELECT i.item_id, have.last + more, i.queue_id, i.rank
                FROM tracequill.annotation_items AS i
                CROSS JOIN LATERAL (
                    SELECT count(*)::integer AS number, max(s.slot) AS last
                    FROM tracequill.annotation_slots AS s WHERE s.item_id = i.item_id) AS have
                CROSS JOIN LATERAL generate_series(1, :overlap - have.number) AS more
                WHERE i.queue_id = :queue_id
                """
            ),
            values,
        )
    await session.execute(
        text(
            """
            UPDATE tracequill.annotation_items AS i SET done_at = CASE
                WHEN EXISTS (SELECT FROM tracequill.annotation_slots AS s
                             WHERE s.item_id = i.item_id AND s.state <> 'answered') THEN NULL
                ELSE coalesce(i.done_at, now()) END
            WHERE i.queue_id = :queue_id
            """
        ),
        values,
    )


async def _change_order(session: AsyncSession, queue_id: int, order: Any) -> None:
    await session.execute(
        update(items)
        .where(items.c.queue_id == queue_id)
        .values(rank=rank_of(order, items.c.asked_at))
    )
    await session.execute(
        update(slots)
        .where(slots.c.item_id == items.c.item_id, items.c.queue_id == queue_id)
        .values(rank=items.c.rank)
    )


async def to_json(
    session: AsyncSession, found: Sequence[Queue], person: Person | None, base_url: str
) -> list[dict[str, Any]]:
    """Give queues as the API shows them, counted for *person*."""
    ids = [queue.queue_id for queue in found]
    counted = {
        row.queue_id: row
        for row in await session.execute(
            select(
                items.c.queue_id,
                func.count().label("items"),
                func.count(items.c.done_at).label("done"),
            )
            .where(items.c.queue_id.in_(ids))
            .group_by(items.c.queue_id)
        )
    }
    mine = case((answers.c.person == (person.person if person else ""), 1))
    answered = {
        row.queue_id: row
        for row in await session.execute(
            select(
                answers.c.queue_id, func.count().label("answers"), func.count(mine).label("mine")
            )
            .where(answers.c.queue_id.in_(ids), in_force)
            .group_by(answers.c.queue_id)
        )
    }
    asked = select(flags.c.queue_id, func.count()).where(
        flags.c.queue_id.in_(ids), flags.c.replied_at.is_(None), flags.c.withdrawn_at.is_(None)
    )
    questions = {row[0]: row[1] for row in await session.execute(asked.group_by(flags.c.queue_id))}
    names = await names_of(session, [name for q in found for name in (*q.members, q.created_by)])
    shown = []
    for queue in found:
        may_answer = person is not None and queue.may_answer(person) and not queue.archived_at
        waiting = 0
        if may_answer and person is not None:
            waiting = (await leases.waiting(session, queue.queue_id, person.person)).items
        items_row, answers_row = counted.get(queue.queue_id), answered.get(queue.queue_id)
        may_manage = queue.may_manage(person)
        shown.append(
            _plain(queue, names)
            | {
                "url": f"{base_url}/tracequill/annotate/{queue.queue_id}",
                "items": items_row.items if items_row else 0,
                "done": items_row.done if items_row else 0,
                "answers": answers_row.answers if answers_row else 0,
                "mine": answers_row.mine if answers_row else 0,
                "waiting": waiting,
                "questions": questions.get(queue.queue_id, 0) if may_manage else 0,
                "may_answer": may_answer,
                "may_manage": may_manage,
            }
        )
    return shown


def _plain(queue: Queue, names: dict[str, str]) -> dict[str, Any]:
    def shown(person: str) -> dict[str, str]:
        return {"person": person, "name": names[person]}

    return {
        "queue_id": queue.queue_id,
        "name": queue.name,
        "instructions": queue.instructions,
        "overlap": queue.overlap,
        "order": queue.item_order,
        "assigned_only": queue.assigned_only,
        "advance_on_digit": queue.advance_on_digit,
        "lease_seconds": queue.lease_seconds,
        "keep_days": queue.keep_days,
        "labels": [label.to_json() for label in queue.labels],
        "members": [shown(person) for person in queue.members],
        "created_at": queue.created_at,
        "created_by": shown(queue.created_by) if queue.created_by else None,
        "archived_at": queue.archived_at,
        "project": queue.project,
        "where": queue.condition,
    }
