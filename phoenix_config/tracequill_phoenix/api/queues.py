"""``/tracequill/api/queues`` and what its form needs: who one is, labels, projects, a preview."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

from fastapi import APIRouter, Request
from phoenix.db import models
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response
from strawberry.relay import GlobalID

from tracequill_phoenix.annotate import configs, leases, people, queues, selection
from tracequill_phoenix.annotate.configs import WantedLabel
from tracequill_phoenix.annotate.errors import QueueError, invalid, not_allowed
from tracequill_phoenix.annotate.history import short
from tracequill_phoenix.annotate.labels import label_names
from tracequill_phoenix.annotate.people import Person
from tracequill_phoenix.annotate.person_name import COOKIE, checked_name, to_cookie
from tracequill_phoenix.annotate.phoenix_labels import Changes
from tracequill_phoenix.annotate.queues import Queue
from tracequill_phoenix.annotate.selection_form import Name, Order, Selection, Text, expression
from tracequill_phoenix.annotate.sources import Source
from tracequill_phoenix.annotate.tables import queues as queue_table
from tracequill_phoenix.api.access import NOT_LOCKED, Database
from tracequill_phoenix.api.annotation import (
    ID_MAX,
    Asking,
    Id,
    QueueRoute,
    base_url,
    in_transaction,
    json_answer,
    root_path,
)

router = APIRouter(tags=["annotation queues"], route_class=QueueRoute)

_YEAR_SECONDS = 365 * 24 * 3600
_INSTRUCTIONS_MAX = 50_000
_FACETS_SPANS = 5_000
_FACETS_MAX = 50
_WAITING_MAX = 1000


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewName(_Body):
    """Who somebody says they are, where nobody signs in."""

    name: Text


class QueueFields(_Body):
    """What can be set when a queue is made, and changed later."""

    instructions: Annotated[Text, Field(max_length=_INSTRUCTIONS_MAX)] = ""
    overlap: int = Field(1, ge=1, le=20, description="How many people answer each question.")
    order: Order = "newest"
    assigned_only: bool = False
    members: list[Name] = Field(default_factory=list, max_length=500)
    advance_on_digit: bool = False
    lease_seconds: int = Field(300, ge=15, le=86_400)
    keep_days: int | None = Field(None, ge=1, le=36_500)


class NewQueue(QueueFields):
    """A queue to be made, and what goes into it."""

    name: Name
    labels: list[WantedLabel] = Field(min_length=1, max_length=20)
    selection: Selection | None = None
    allow_empty: bool = False


class ChangedQueue(QueueFields):
    """What is to be changed; what is not named stays."""

    name: Name = ""
    labels: list[WantedLabel] = Field(default_factory=list, max_length=20)
    archived: bool = False


class Asked(Selection):
    """A selection with what "not yet labelled" asks for."""

    labels: list[Name] = Field(default_factory=list)


class Previewed(Asked):
    """A selection to look at; *queue_id* leaves out what is in that queue."""

    queue_id: Annotated[int, Field(ge=1, le=ID_MAX)] | None = None
    limit: int = Field(5, ge=0, le=50)


class Addition(_Body):
    """More for a queue: these spans."""

    span_ids: list[Name] = Field(min_length=1, max_length=10_000)


@router.get("/me")
async def read_me(request: Request, database: Database, person: Asking) -> Response:
    """Say who asks and how much waits for them; the navigation asks this, too."""
    async with database() as session:
        return json_answer(await _me(session, request, person))


@router.put("/me/name", dependencies=[NOT_LOCKED])
async def give_name(body: NewName, request: Request, database: Database) -> Response:
    """Remember in a cookie who somebody says they are."""
    if request.app.state.authentication_enabled:
        raise QueueError(409, "not_allowed", "you are signed in; your name is that of your user.")
    try:
        name = checked_name(body.name)
    except ValueError as error:
        raise invalid(str(error)) from error

    async def work(session: AsyncSession, _: Changes) -> tuple[Person, dict[str, Any]]:
        person = await people.give_name(session, name)
        return person, await _me(session, request, person)

    person, me = await in_transaction(database, request, work)
    answer = json_answer(me)
    answer.set_cookie(
        COOKIE,
        to_cookie(person.name),
        max_age=_YEAR_SECONDS,
        path=f"{root_path(request)}/",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return answer


async def _me(session: AsyncSession, request: Request, person: Person | None) -> dict[str, Any]:
    authentication = request.app.state.authentication_enabled
    waiting = 0
    if person is not None:
        if not request.app.state.db.should_not_insert_or_update:
            person = await people.remember(session, person)
        for queue in await queues.find_all(session, archived=False):
            if queue.may_answer(person):
                found = await leases.waiting(session, queue.queue_id, person.person)
                waiting += found.items
            if waiting >= _WAITING_MAX:
                break
    return {
        "person": person.to_json() if person else None,
        "needs_name": person is None,
        "authentication": authentication,
        "can_create": person is None or person.role != "viewer",
        "waiting": min(waiting, _WAITING_MAX),
    }


def _require_creating(person: Person | None) -> None:
    if person is not None and person.role == "viewer":
        raise not_allowed("viewers answer the queues that they are assigned to, and no more.")


@router.get("/people")
async def list_people(
    request: Request, database: Database, person: Asking, search: str = ""
) -> Response:
    """List whom one may assign to a queue."""
    _require_creating(person)
    authentication = request.app.state.authentication_enabled
    async with database() as session:
        return json_answer(await people.choices(session, search, authentication=authentication))


@router.get("/label-configs")
async def list_labels(database: Database, person: Asking) -> Response:
    """List Phoenix's annotation configs, as the labels they would be."""
    _require_creating(person)
    async with database() as session:
        return json_answer([label.to_json() for label in await configs.known_labels(session)])


@router.get("/projects")
async def list_projects(database: Database, person: Asking) -> Response:
    """List the projects to choose from."""
    _require_creating(person)
    async with database() as session:
        rows = await session.execute(
            select(models.Project.id, models.Project.name).order_by(models.Project.name)
        )
        return json_answer(
            [
                {"name": row.name, "project_id": str(GlobalID("Project", str(row.id)))}
                for row in rows
            ]
        )


@router.get("/projects/{name}/facets")
async def list_facets(name: Text, database: Database, person: Asking) -> Response:
    """List the models and users of a project's newest calls, the most frequent first."""
    _require_creating(person)
    async with database() as session:
        newest = (
            select(
                models.Span.attributes[["llm", "model_name"]].as_string().label("model"),
                models.Span.attributes[["user", "id"]].as_string().label("user"),
            )
            .join(models.Trace, models.Trace.id == models.Span.trace_rowid)
            .join(models.Project, models.Project.id == models.Trace.project_rowid)
            .where(models.Project.name == name, models.Span.span_kind == "LLM")
            .order_by(models.Span.start_time.desc())
            .limit(_FACETS_SPANS)
            .cte("newest")
        )
        found = {}
        for facet, column in (("models", newest.c.model), ("users", newest.c.user)):
            values = select(column).where(column.is_not(None)).group_by(column)
            most = values.order_by(func.count().desc(), column).limit(_FACETS_MAX)
            found[facet] = list(await session.scalars(most))
        return json_answer(found)


@router.post("/selection/expression")
async def show_expression(body: Asked, person: Asking) -> Response:
    """Say which filter a form means."""
    _require_creating(person)
    return json_answer({"where": expression(body, body.labels)})


@router.post("/selection/preview")
async def show_preview(body: Previewed, database: Database, person: Asking) -> Response:
    """Count what would be added, and show some of it; nothing is changed."""
    _require_creating(person)
    async with database() as session:
        names = list(body.labels)
        if body.queue_id is not None:
            queue = await queues.find_for(session, body.queue_id, person)
            names = names or label_names(queue.labels)
        where = expression(body, names)
        found = await selection.preview(session, body, where, body.queue_id, body.limit)
        some = [await _previewed(session, rowid) for rowid in found.span_rowids]
    return json_answer(
        {
            "where": where,
            "count": found.count,
            "already": found.already,
            "counted_all": found.counted_all,
            "items": some,
        }
    )


async def _previewed(session: AsyncSession, span_rowid: int) -> dict[str, Any]:
    span = await session.get_one(models.Span, span_rowid)
    trace_id = await session.scalar(
        select(models.Trace.trace_id).where(models.Trace.id == span.trace_rowid)
    )
    source = Source(
        {
            "attributes": span.attributes,
            "name": span.name,
            "start_time": span.start_time.isoformat(),
            "end_time": span.end_time.isoformat(),
        }
    )
    conversation = source.conversation()
    return {
        "span_id": span.span_id,
        "trace_id": trace_id,
        "asked_at": span.start_time,
        "model": source.fact("llm", "model_name"),
        "user": source.fact("user", "id"),
        "question": short(conversation["question"]),
        "answer": short(conversation["answer"]["text"]),
    }


@router.get("/queues")
async def list_queues(database: Database, person: Asking, archived: bool = False) -> Response:
    """List queues; a viewer sees those that they are assigned to."""
    async with database() as session:
        found = await queues.find_all(session, archived=archived)
        visible = [queue for queue in found if queue.may_see(person)]
        return json_answer(await queues.to_json(session, visible, person, base_url()))


@router.get("/queues/{queue_id}")
async def read_queue(queue_id: Id, database: Database, person: Asking) -> Response:
    """Show one queue."""
    async with database() as session:
        return await _shown(session, await queues.find_for(session, queue_id, person), person)


async def _shown(
    session: AsyncSession, queue: Queue, person: Person | None, status: int = 200
) -> Response:
    (shown,) = await queues.to_json(session, [queue], person, base_url())
    return json_answer(shown, status)


@router.post("/queues", status_code=201, dependencies=[NOT_LOCKED])
async def create_queue(
    body: NewQueue, request: Request, database: Database, person: Asking
) -> Response:
    """Make a queue with what a selection finds, all in one transaction."""
    _require_creating(person)

    async def work(session: AsyncSession, _: Changes) -> Response:
        if person is not None:
            await people.remember(session, person)
        labels = await configs.labels_for(session, body.labels)
        assigned = await _assigned(session, request, body.members)
        values = _values(body) | {"name": body.name}
        queue_id = await queues.create(session, person, values, labels, assigned)
        queue = await queues.find(session, queue_id, lock=True)
        if body.selection is not None:
            added, _already = await _add(session, queue, body.selection)
            if not added and not body.allow_empty:
                where = expression(body.selection, label_names(queue.labels))
                raise selection.nothing_found(body.selection, where)
        return await _shown(session, await queues.find(session, queue_id), person, 201)

    return await in_transaction(database, request, work)


@router.patch("/queues/{queue_id}", dependencies=[NOT_LOCKED])
async def change_queue(
    queue_id: Id, body: ChangedQueue, request: Request, database: Database, person: Asking
) -> Response:
    """Change what is named in the body; its manager only."""
    named = body.model_fields_set

    async def work(session: AsyncSession, _: Changes) -> Response:
        queue = await _managed(session, queue_id, person)
        values = {key: value for key, value in _values(body).items() if _FIELDS[key] in named}
        if "name" in named:
            values["name"] = body.name
        if "archived" in named:
            values["archived_at"] = func.clock_timestamp() if body.archived else None
        labels = await configs.labels_for(session, body.labels) if "labels" in named else None
        assigned = None
        if "members" in named:
            assigned = await _assigned(session, request, body.members, queue.members)
        await queues.change(session, queue, values, labels, assigned)
        return await _shown(session, await queues.find(session, queue_id), person)

    return await in_transaction(database, request, work)


@router.delete("/queues/{queue_id}", status_code=204, dependencies=[NOT_LOCKED])
async def delete_queue(
    queue_id: Id, request: Request, database: Database, person: Asking
) -> Response:
    """Delete a queue in which nobody has answered."""

    async def work(session: AsyncSession, _: Changes) -> None:
        await queues.remove(session, await _managed(session, queue_id, person))

    await in_transaction(database, request, work)
    return Response(status_code=204)


@router.post("/queues/{queue_id}/items", dependencies=[NOT_LOCKED])
async def add_items(
    queue_id: Id, body: Addition | Selection, request: Request, database: Database, person: Asking
) -> Response:
    """Add what a selection finds; what is in the queue is left out."""

    async def work(session: AsyncSession, _: Changes) -> dict[str, Any]:
        queue = await _managed(session, queue_id, person)
        queue.require_active()
        if isinstance(body, Selection):
            added, already = await _add(session, queue, body)
        else:
            added, already = await selection.add_spans(
                session,
                queue_id,
                body.span_ids,
                order=queue.item_order,
                overlap=queue.overlap,
            )
        (shown,) = await queues.to_json(session, [queue], person, base_url())
        return {"added": added, "already": already, "items": shown["items"]}

    return json_answer(await in_transaction(database, request, work))


async def _managed(session: AsyncSession, queue_id: Id, person: Person | None) -> Queue:
    """The queue, locked against other changes, if *person* manages it."""
    queue = await queues.find(session, queue_id, lock=True)
    if not queue.may_see(person):
        raise QueueError(404, "not_found", "there is no such queue.")
    queue.require_managing(person)
    return queue


async def _add(session: AsyncSession, queue: Queue, chosen: Selection) -> tuple[int, int]:
    where = expression(chosen, label_names(queue.labels))
    added, already = await selection.add(
        session, queue.queue_id, chosen, where, order=queue.item_order, overlap=queue.overlap
    )
    await session.execute(
        update(queue_table)
        .where(queue_table.c.queue_id == queue.queue_id)
        .values(project=chosen.project, condition=where)
    )
    await configs.show_in_project(session, queue.labels, chosen.project)
    return added, already


async def _assigned(
    session: AsyncSession, request: Request, whom: list[str], already: Collection[str] = ()
) -> list[str]:
    """Those who are assigned already stay so, even where nobody knows them any more."""
    authentication = request.app.state.authentication_enabled
    new = [one for one in whom if one not in already]
    found = await people.resolve(session, new, authentication=authentication)
    return [one for one in whom if one in already] + [person.person for person in found]


_FIELDS = {
    "instructions": "instructions",
    "overlap": "overlap",
    "item_order": "order",
    "assigned_only": "assigned_only",
    "advance_on_digit": "advance_on_digit",
    "lease_seconds": "lease_seconds",
    "keep_days": "keep_days",
}


def _values(body: QueueFields) -> dict[str, Any]:
    return {column: getattr(body, field) for column, field in _FIELDS.items()}
