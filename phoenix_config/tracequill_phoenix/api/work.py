"""``/tracequill/api/queues/{queue_id}/…``: the work itself.

Questions are leased, shown, answered, skipped, flagged, undone and opened again. Each of these is
one transaction, and what the page sends twice is done once.
"""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Request
from phoenix.server.types import DbSessionFactory
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from tracequill_phoenix.annotate import answers, history, leases, people, queues
from tracequill_phoenix.annotate.answers import Submission
from tracequill_phoenix.annotate.clean import clean_json
from tracequill_phoenix.annotate.errors import QueueError, invalid
from tracequill_phoenix.annotate.figures import figures
from tracequill_phoenix.annotate.items_shown import find_item, flag_json, shown
from tracequill_phoenix.annotate.people import Person
from tracequill_phoenix.annotate.phoenix_labels import Changes
from tracequill_phoenix.annotate.queues import Queue
from tracequill_phoenix.annotate.selection_form import Text, Time
from tracequill_phoenix.api.access import NOT_LOCKED, Database
from tracequill_phoenix.api.annotation import (
    ID_MAX,
    Id,
    Me,
    QueueRoute,
    in_turn,
    json_answer,
    root_path,
)

router = APIRouter(prefix="/queues/{queue_id}", tags=["annotation work"], route_class=QueueRoute)

_CORRECTION_MAX = 1_000_000

T = TypeVar("T")

Json = Annotated[dict[str, Any], AfterValidator(clean_json)]
ItemIds = Annotated[
    list[Annotated[int, Field(ge=1, le=ID_MAX)]],
    Field(max_length=100),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Wanted(_Body):
    """How many questions, beside those that the page has; or one certain one."""

    count: int = Field(1, ge=1, le=10)
    have: ItemIds = Field(default_factory=list)
    item_id: Annotated[int, Field(ge=1, le=ID_MAX)] | None = None


class Held(_Body):
    """The questions that a page has."""

    have: ItemIds = Field(default_factory=list)


class Correction(BaseModel):
    """The answer as it should have been; a difference is the server's to find."""

    model_config = ConfigDict(extra="ignore")

    text: Annotated[Text, Field(max_length=_CORRECTION_MAX)]
    message: Json | None = None

    def kept(self) -> dict[str, Any]:
        """Give it as the table holds it."""
        return {"text": self.text, "message": self.message, "diff": None}


class Said(_Body):
    """What has been said so far."""

    values: Json = Field(default_factory=dict)
    correction: Correction | None = None

    def correction_kept(self) -> dict[str, Any] | None:
        """Give the correction as the table holds it."""
        return self.correction.kept() if self.correction else None


class Timing(BaseModel):
    """When a question was shown and answered, by the browser's clock."""

    model_config = ConfigDict(extra="ignore")

    shown_at: Time | None = None
    first_key_at: Time | None = None
    submitted_at: Time | None = None
    keys: Annotated[int, Field(ge=0, le=2_000_000_000)] | None = None


class NewAnswer(Said):
    """An answer with an id that the page has made: the same id again is the same answer."""

    answer_id: UUID
    timing: Timing = Timing()
    replaces: UUID | None = None


class NewFlag(Said):
    """A question to the manager; what was said so far is kept as a draft."""

    flag_id: UUID
    question: Annotated[Text, Field(min_length=1, max_length=10_000)]


class Undone(_Body):
    """Which one is to be undone; the newest where none is named."""

    item_id: Annotated[int, Field(ge=1, le=ID_MAX)] | None = None


@router.post("/lease", dependencies=[NOT_LOCKED])
async def lease(
    queue_id: Id, body: Wanted, request: Request, database: Database, me: Me
) -> Response:
    """Give the next questions to this person, and renew those that the page has."""

    async def work(session: AsyncSession, _: Changes) -> dict[str, Any]:
        queue = await _answering(session, queue_id, me)
        await people.remember(session, me)
        seconds = queue.lease_seconds
        renewed = await leases.renew(session, queue_id, me.person, body.have, seconds=seconds)
        if body.item_id is not None:
            await find_item(session, queue_id, body.item_id)
            one = await leases.take_one(session, body.item_id, me.person, seconds=seconds)
            if one is None:
                raise invalid("this question cannot be had now: others have it, or you did it.")
            taken = [one]
        else:
            taken = await leases.take(
                session,
                queue_id,
                me.person,
                count=body.count,
                overlap=queue.overlap,
                seconds=seconds,
                have=body.have,
            )
        left = await leases.waiting(session, queue_id, me.person)
        item_ids = [lease.item_id for lease in taken]
        return {
            "items": await _shown(session, queue, item_ids, me, request),
            "renewed": renewed,
            "lost": [item_id for item_id in body.have if item_id not in renewed],
            "waiting": left.items,
            "held_by_others": left.held_by_others,
        }

    return json_answer(await in_turn(database, request, work))


async def _shown(
    session: AsyncSession, queue: Queue, item_ids: list[int], me: Person, request: Request
) -> list[dict[str, Any]]:
    return await shown(
        session,
        queue.queue_id,
        item_ids,
        me.person,
        root=root_path(request),
        lease_seconds=queue.lease_seconds,
    )


async def _answering(session: AsyncSession, queue_id: Id, me: Person) -> Queue:
    queue = await queues.find_for(session, queue_id, me)
    queue.require_answering(me)
    return queue


async def _writing(session: AsyncSession, queue_id: Id, me: Person) -> Queue:
    """The queue for what is to be kept: nobody archives it, or unassigns this person, meanwhile."""
    await queues.unchanged(session, queue_id)
    return await _answering(session, queue_id, me)


async def _mine(session: AsyncSession, queue_id: Id, me: Person) -> Queue:
    """The queue for looking at one's own answers; an archived one as well."""
    return await queues.find_for(session, queue_id, me)


@router.get("/figures")
async def read_figures(queue_id: Id, database: Database, me: Me) -> Response:
    """Say how far the queue is; a page asks it every few seconds."""
    async with database() as session:
        return json_answer(await figures(session, await _mine(session, queue_id, me), me))


@router.post("/heartbeat", dependencies=[NOT_LOCKED])
async def heartbeat(
    queue_id: Id, body: Held, request: Request, database: Database, me: Me
) -> Response:
    """Keep the questions that the page has."""

    async def work(session: AsyncSession, _: Changes) -> list[int]:
        queue = await _answering(session, queue_id, me)
        seconds = queue.lease_seconds
        return await leases.renew(session, queue_id, me.person, body.have, seconds=seconds)

    renewed = await in_turn(database, request, work)
    lost = [item_id for item_id in body.have if item_id not in renewed]
    return json_answer({"renewed": renewed, "lost": lost})


@router.post("/release", dependencies=[NOT_LOCKED])
async def release(
    queue_id: Id, body: Held, request: Request, database: Database, me: Me
) -> Response:
    """Let go of questions, all of them where none is named."""

    async def work(session: AsyncSession, _: Changes) -> list[int]:
        await _mine(session, queue_id, me)
        return await leases.release(session, queue_id, me.person, body.have)

    return json_answer({"released": await in_turn(database, request, work)})


@router.get("/items/{item_id}")
async def read_item(
    queue_id: Id, item_id: Id, request: Request, database: Database, me: Me
) -> Response:
    """Show a question; it is not leased by this."""
    async with database() as session:
        queue = await _mine(session, queue_id, me)
        await find_item(session, queue_id, item_id)
        return json_answer((await _shown(session, queue, [item_id], me, request))[0])


@router.put("/items/{item_id}/draft", dependencies=[NOT_LOCKED])
async def save_draft(queue_id: Id, item_id: Id, body: Said, database: Database, me: Me) -> Response:
    """Keep what has been said so far."""
    async with database() as session:
        queue = await _answering(session, queue_id, me)
        saved_at = await _save_draft(session, queue, item_id, body, me)
    return json_answer({"saved_at": saved_at})


async def _save_draft(
    session: AsyncSession, queue: Queue, item_id: Id, body: Said, me: Person
) -> datetime:
    await find_item(session, queue.queue_id, item_id)
    values = answers.draft_values(queue.labels, body.values)
    return await answers.save_draft(session, item_id, me, values, body.correction_kept())


# The question was taken away, the person was, or the whole queue: what was said is not at fault.
_TAKEN_AWAY = ("lease_lost", "not_allowed", "not_found", "archived")


async def _or_draft(
    doing: Awaitable[T],
    queue_id: Id,
    item_id: Id,
    body: Said,
    me: Person,
    database: DbSessionFactory,
) -> T:
    """Wait for *doing*; where it comes too late, what is said is kept as a draft."""
    try:
        return await doing
    except QueueError as error:
        if error.code in _TAKEN_AWAY and (body.values or body.correction):
            async with database() as session:
                if await _keep_late(session, queue_id, item_id, body, me):
                    error.more["draft_kept"] = True
        raise


async def _keep_late(
    session: AsyncSession, queue_id: Id, item_id: Id, body: Said, me: Person
) -> bool:
    """Whether this person may have had the question, so that what they say of it is kept."""
    try:
        queue = await queues.find(session, queue_id)
        if not queue.may_see(me) and not await history.has_worked(session, queue_id, me):
            return False
        await _save_draft(session, queue, item_id, body, me)
    except QueueError:  # there is nothing that it could be a draft of
        return False
    return True


@router.delete("/items/{item_id}/draft", status_code=204, dependencies=[NOT_LOCKED])
async def drop_draft(queue_id: Id, item_id: Id, database: Database, me: Me) -> Response:
    """Forget what had been said so far."""
    async with database() as session:
        await _mine(session, queue_id, me)
        await find_item(session, queue_id, item_id)
        await answers.drop_draft(session, item_id, me)
    return Response(status_code=204)


@router.post("/items/{item_id}/answer", dependencies=[NOT_LOCKED])
async def answer(
    queue_id: Id, item_id: Id, body: NewAnswer, request: Request, database: Database, me: Me
) -> Response:
    """Keep an answer, here and in Phoenix."""
    submission = Submission(
        answer_id=body.answer_id,
        values=body.values,
        correction=body.correction_kept(),
        shown_at=body.timing.shown_at,
        first_key_at=body.timing.first_key_at,
        submitted_at=body.timing.submitted_at,
        keys=body.timing.keys,
        replaces=body.replaces,
    )

    async def work(session: AsyncSession, changes: Changes) -> dict[str, Any]:
        await queues.unchanged(session, queue_id)
        queue = await queues.find_for(session, queue_id, me)
        if not queue.may_answer(me):
            queue.require_answering(me)
        kept, repeated, more = await answers.submit(
            session, queue, item_id, me, submission, changes
        )
        return {"answer": kept, "repeated": repeated, "done_change": more}

    doing = in_turn(database, request, work)
    return json_answer(await _or_draft(doing, queue_id, item_id, body, me, database))


@router.post("/items/{item_id}/skip", dependencies=[NOT_LOCKED])
async def skip(queue_id: Id, item_id: Id, request: Request, database: Database, me: Me) -> Response:
    """Pass a question by."""

    async def work(session: AsyncSession, _: Changes) -> None:
        await history.skip(session, await _writing(session, queue_id, me), item_id, me)

    await in_turn(database, request, work)
    return json_answer({"skipped": True})


@router.post("/items/{item_id}/flag", dependencies=[NOT_LOCKED])
async def flag(
    queue_id: Id, item_id: Id, body: NewFlag, request: Request, database: Database, me: Me
) -> Response:
    """Ask the manager about a question."""

    async def work(session: AsyncSession, _: Changes) -> dict[str, Any]:
        queue = await _writing(session, queue_id, me)
        row = await history.flag(session, queue, item_id, me, body.flag_id, body.question)
        if body.values or body.correction:
            await _save_draft(session, queue, item_id, body, me)
        return {"flag": flag_json(row)}

    doing = in_turn(database, request, work)
    return json_answer(await _or_draft(doing, queue_id, item_id, body, me, database))


@router.post("/undo", dependencies=[NOT_LOCKED])
async def undo(
    queue_id: Id, body: Undone, request: Request, database: Database, me: Me
) -> Response:
    """Take something back, in Phoenix as well; its question is this person's again."""

    async def work(session: AsyncSession, changes: Changes) -> dict[str, Any]:
        queue = await _writing(session, queue_id, me)
        undone, item_id, more = await history.undo(session, queue, body.item_id, me, changes)
        (item,) = await _shown(session, queue, [item_id], me, request)
        return {"undone": undone, "item": item, "done_change": more}

    return json_answer(await in_turn(database, request, work))


@router.post("/items/{item_id}/open", dependencies=[NOT_LOCKED])
async def reopen(
    queue_id: Id, item_id: Id, request: Request, database: Database, me: Me
) -> Response:
    """Open one of one's own again."""

    async def work(session: AsyncSession, _: Changes) -> dict[str, Any]:
        queue = await _writing(session, queue_id, me)
        await history.reopen(session, queue, item_id, me)
        return (await _shown(session, queue, [item_id], me, request))[0]

    return json_answer(await in_turn(database, request, work))
