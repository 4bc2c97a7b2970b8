"""``/tracequill/api/queues/{queue_id}/…``: what the managers of a queue see, decide and take away.

Progress, agreement, disagreements and their consensus, who has which question, and the download.
What people said of a question is shown once everybody has said it.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response, StreamingResponse

from tracequill_phoenix.annotate import consensus, item_list, people, queues, results
from tracequill_phoenix.annotate.download import (
    MEDIA_TYPES,
    Format,
    content_disposition,
    file_name,
)
from tracequill_phoenix.annotate.download_rows import file_of
from tracequill_phoenix.annotate.errors import invalid
from tracequill_phoenix.annotate.items_shown import find_item, shown
from tracequill_phoenix.annotate.people import Person
from tracequill_phoenix.annotate.phoenix_labels import Changes
from tracequill_phoenix.annotate.queues import Queue
from tracequill_phoenix.annotate.selection_form import Text
from tracequill_phoenix.api.access import NOT_LOCKED, Database
from tracequill_phoenix.api.annotation import (
    Asking,
    Id,
    QueueRoute,
    in_transaction,
    json_answer,
    root_path,
)
from tracequill_phoenix.api.work import Correction, Json

router = APIRouter(prefix="/queues/{queue_id}", tags=["annotation results"], route_class=QueueRoute)

Limit = Annotated[int, Query(ge=1, le=200)]


class NewConsensus(BaseModel):
    """What holds of an answer about which people disagreed."""

    model_config = ConfigDict(extra="forbid")

    values: Json = Field(default_factory=dict)
    correction: Correction | None = None
    reason: Annotated[Text, Field(max_length=10_000)] = ""


async def _managed(session: AsyncSession, queue_id: Id, person: Person | None) -> Queue:
    queue = await queues.find_for(session, queue_id, person)
    queue.require_managing(person)
    return queue


def _after(cursor: str) -> int:
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise invalid(f"the cursor {cursor[:40]!r} is none that was given here.")
    return int(cursor)


def _page(rows: list[dict[str, Any]], more: int | None) -> Response:
    return json_answer(rows, next_cursor=str(more) if more is not None else None)


@router.get("/progress")
async def read_progress(queue_id: Id, database: Database, person: Asking) -> Response:
    """Say how far the queue is, and how fast everybody works."""
    async with database() as session:
        queue = await _managed(session, queue_id, person)
        return json_answer(await results.progress(session, queue))


@router.get("/agreement")
async def read_agreement(queue_id: Id, database: Database, person: Asking) -> Response:
    """Say how far people agree about each label."""
    async with database() as session:
        queue = await _managed(session, queue_id, person)
    return json_answer(await results.agreement(database, queue))


@router.get("/disagreements")
async def list_disagreements(
    queue_id: Id,
    database: Database,
    person: Asking,
    label: str = "",
    resolved: bool = False,
    limit: Limit = 50,
    cursor: str = "",
) -> Response:
    """List the questions that everybody has answered and not all in the same way."""
    async with database() as session:
        queue = await _managed(session, queue_id, person)
        rows, more = await consensus.disagreements(
            session, queue, label=label, resolved=resolved, limit=limit, after=_after(cursor)
        )
    return _page(rows, more)


@router.get("/items")
async def list_items(
    queue_id: Id,
    database: Database,
    person: Asking,
    state: item_list.State = "all",
    limit: Limit = 50,
    cursor: str = "",
) -> Response:
    """List who has which question."""
    async with database() as session:
        queue = await _managed(session, queue_id, person)
        rows, more = await item_list.item_list(
            session, queue, state=state, limit=limit, after=_after(cursor)
        )
    return _page(rows, more)


@router.get("/items/{item_id}/answers")
async def read_answers(
    queue_id: Id, item_id: Id, request: Request, database: Database, person: Asking
) -> Response:
    """Show what everybody said of a question, once all have said it."""
    async with database() as session:
        queue = await queues.find_for(session, queue_id, person)
        row = await find_item(session, queue_id, item_id)
        await consensus.require_seeing(session, queue, row, person)
        items = await shown(
            session,
            queue_id,
            [item_id],
            person.person if person else "",
            root=root_path(request),
            lease_seconds=queue.lease_seconds,
        )
        said = await consensus.answers_of(session, [item_id])
        decided = await consensus.consensus_of(session, [item_id])
    return json_answer(
        {
            "item": items[0],
            "answers": said.get(item_id, []),
            "consensus": decided.get(item_id),
        }
    )


@router.put("/items/{item_id}/consensus", dependencies=[NOT_LOCKED])
async def decide(
    queue_id: Id,
    item_id: Id,
    body: NewConsensus,
    request: Request,
    database: Database,
    person: Asking,
) -> Response:
    """Keep what holds of an answer, here and in Phoenix."""

    async def work(session: AsyncSession, changes: Changes) -> dict[str, Any]:
        queue = await _managed(session, queue_id, person)
        if person is not None:
            await people.remember(session, person)
        return await consensus.decide(
            session,
            queue,
            item_id,
            person,
            body.values,
            body.correction.kept() if body.correction else None,
            body.reason.strip(),
            changes,
        )

    return json_answer(await in_transaction(database, request, work))


@router.delete("/items/{item_id}/consensus", status_code=204, dependencies=[NOT_LOCKED])
async def withdraw(
    queue_id: Id, item_id: Id, request: Request, database: Database, person: Asking
) -> Response:
    """Take a consensus back, here and in Phoenix."""

    async def work(session: AsyncSession, changes: Changes) -> None:
        queue = await _managed(session, queue_id, person)
        await consensus.withdraw(session, queue, item_id, person, changes)

    await in_transaction(database, request, work)
    return Response(status_code=204)


@router.get("/download")
async def download(
    queue_id: Id,
    database: Database,
    person: Asking,
    kind: Annotated[Format, Query(alias="format")] = "csv",
) -> Response:
    """Give the results as a file: one row a question, one column for each person and label."""
    async with database() as session:
        queue = await _managed(session, queue_id, person)
    return StreamingResponse(
        file_of(database, queue, kind),
        media_type=MEDIA_TYPES[kind],
        headers={
            "Content-Disposition": content_disposition(file_name(queue.name, kind)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )
