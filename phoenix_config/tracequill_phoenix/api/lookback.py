"""``/tracequill/api/queues/{queue_id}/…``: looking back at the work, one's own and, for managers,
the questions that people ask them.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from tracequill_phoenix.annotate import history, queues
from tracequill_phoenix.annotate.clean import clean_time
from tracequill_phoenix.annotate.errors import invalid
from tracequill_phoenix.annotate.history import short, summary
from tracequill_phoenix.annotate.items_shown import flag_json
from tracequill_phoenix.annotate.people import names_of
from tracequill_phoenix.annotate.phoenix_labels import Changes
from tracequill_phoenix.annotate.selection_form import Text
from tracequill_phoenix.annotate.tables import flags, inputs
from tracequill_phoenix.api.access import NOT_LOCKED, Database
from tracequill_phoenix.api.annotation import (
    ID_MAX,
    Asking,
    Id,
    Me,
    QueueRoute,
    in_transaction,
    json_answer,
)

router = APIRouter(prefix="/queues/{queue_id}", tags=["annotation work"], route_class=QueueRoute)

_ALL_OF_TIME = (datetime(9999, 1, 1, tzinfo=UTC), 0)


class NewReply(BaseModel):
    """What the manager says."""

    model_config = ConfigDict(extra="forbid")

    reply: Annotated[Text, Field(min_length=1, max_length=10_000)]
    give_to_others: bool = False


@router.get("/flags")
async def list_flags(
    queue_id: Id, database: Database, person: Asking, open: bool = True
) -> Response:
    """List what people ask the manager."""
    async with database() as session:
        queue = await queues.find_for(session, queue_id, person)
        queue.require_managing(person)
        statement = (
            select(flags, inputs.c.question.label("about"), inputs.c.answer)
            .outerjoin(inputs, inputs.c.item_id == flags.c.item_id)
            .where(flags.c.queue_id == queue_id, flags.c.withdrawn_at.is_(None))
            .order_by(flags.c.asked_at.desc())
            .limit(1000)
        )
        if open:
            statement = statement.where(flags.c.replied_at.is_(None))
        rows = (await session.execute(statement)).all()
        names = await names_of(
            session, [who for row in rows for who in (row.person, row.replied_by)]
        )
    return json_answer(
        [
            flag_json(row, names)
            | {
                "item_id": row.item_id,
                "person": row.person,
                "name": names[row.person],
                "conversation_preview": {"question": short(row.about), "answer": short(row.answer)},
            }
            for row in rows
        ]
    )


@router.post("/flags/{flag_id}/reply", dependencies=[NOT_LOCKED])
async def reply(
    queue_id: Id,
    flag_id: UUID,
    body: NewReply,
    request: Request,
    database: Database,
    person: Asking,
) -> Response:
    """Answer a person's question; theirs comes back to them first."""

    async def work(session: AsyncSession, _: Changes) -> dict[str, Any]:
        queue = await queues.find_for(session, queue_id, person)
        queue.require_managing(person)
        row = await history.reply(
            session, queue, flag_id, person, body.reply, give_to_others=body.give_to_others
        )
        return {"flag": flag_json(row, await names_of(session, [row.replied_by]))}

    return json_answer(await in_transaction(database, request, work))


@router.get("/recent")
async def list_recent(queue_id: Id, database: Database, me: Me) -> Response:
    """List what can be undone, the newest first."""
    async with database() as session:
        queue = await queues.find_for(session, queue_id, me)
        done = await history.recent(session, queue_id, me)
        ids = [row.item_id for row in done]
        found = await session.execute(
            select(inputs.c.item_id, inputs.c.question).where(inputs.c.item_id.in_(ids))
        )
        questions = {row.item_id: row.question for row in found}
    return json_answer(
        [
            {
                "kind": row.kind,
                "item_id": row.item_id,
                "answer_id": str(row.answer_id) if row.answer_id else None,
                "at": row.at,
                "question": short(questions.get(row.item_id), 120),
                "summary": summary(row.values, queue.labels),
            }
            for row in done
        ]
    )


@router.get("/mine")
async def list_mine(
    queue_id: Id,
    database: Database,
    me: Me,
    search: Text = "",
    kind: Literal["", "answer", "skip", "flag"] = "",
    limit: Annotated[int, Field(ge=1, le=200)] = 50,
    cursor: str = "",
) -> Response:
    """List what this person has done, the newest first, that contains *search*."""
    async with database() as session:
        await queues.find_for(session, queue_id, me)
        rows = await history.mine(
            session,
            queue_id,
            me,
            search=search,
            kind=kind,
            limit=limit + 1,
            before=_from_cursor(cursor),
        )
        names = await names_of(session, [row.replied_by for row in rows])
    page = [
        {
            "kind": row.kind,
            "item_id": row.item_id,
            "answer_id": str(row.answer_id) if row.answer_id else None,
            "at": row.at,
            "question": short(row.question),
            "answer": short(row.answer),
            "values": row.values,
            "correction": row.correction,
            "flag": _asked(row, names) if row.kind == "flag" else None,
        }
        for row in rows[:limit]
    ]
    last = rows[limit - 1] if len(rows) > limit else None
    return json_answer(page, next_cursor=_to_cursor(last.at, last.item_id) if last else None)


def _asked(row: Any, names: dict[str, str]) -> dict[str, Any]:
    return {
        "flag_id": str(row.flag_id),
        "question": row.asked,
        "asked_at": row.asked_at,
        "reply": row.reply,
        "replied_by": names.get(row.replied_by, row.replied_by),
        "replied_at": row.replied_at,
    }


def _to_cursor(at: datetime, item_id: int) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()} {item_id}".encode()).decode()


def _id(digits: str) -> int:
    item_id = int(digits)
    if not 0 <= item_id <= ID_MAX:
        raise ValueError("it is no id")
    return item_id


def _from_cursor(cursor: str) -> tuple[datetime, int]:
    if not cursor:
        return _ALL_OF_TIME
    try:
        at, item_id = base64.urlsafe_b64decode(cursor).decode().split(" ")
        return clean_time(datetime.fromisoformat(at)), _id(item_id)
    except ValueError as error:
        raise invalid(f"the cursor {cursor[:40]!r} is none of ours; leave it out.") from error
