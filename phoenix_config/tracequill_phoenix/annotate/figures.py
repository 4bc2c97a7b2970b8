"""How far a queue is, in figures that a page asks for every few seconds.

One statement that reads the queue's items once, by an index, and of the answers only one person's.
What costs more, all answers and what waits, a page learns from its other requests. Knows no page.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from tracequill_phoenix.annotate.people import Person
from tracequill_phoenix.annotate.queues import Queue

_FIGURES = text(
    """
    SELECT
        asked.items,
        asked.done,
        (SELECT count(*) FROM tracequill.annotation_answers
         WHERE queue_id = :queue_id AND person = :person
           AND undone_at IS NULL AND replaced_at IS NULL) AS mine,
        (SELECT count(*) FROM tracequill.annotation_flags
         WHERE :may_manage AND queue_id = :queue_id
           AND replied_at IS NULL AND withdrawn_at IS NULL) AS questions
    FROM (SELECT count(*) AS items, count(done_at) AS done
          FROM tracequill.annotation_items WHERE queue_id = :queue_id) AS asked
    """
).bindparams(bindparam("queue_id", type_=BigInteger))


async def figures(session: AsyncSession, queue: Queue, person: Person) -> dict[str, int]:
    """Give the questions, those that everybody has answered, the answers of *person*, and how
    many questions wait for a manager's reply."""
    values = {
        "queue_id": queue.queue_id,
        "person": person.person,
        "may_manage": queue.may_manage(person),
    }
    return dict((await session.execute(_FIGURES, values)).mappings().one())
