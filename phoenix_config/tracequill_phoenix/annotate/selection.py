"""A selection meets Phoenix's tables: count what it finds, show some, put it into a queue.

By default one item is the final answer of each trace: of its LLM spans that did not fail the one
that ended last. A trace whose last call is a check of the answer is asked about that check; every
LLM span on request. What is in the queue already is left out, always.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from phoenix.db import models
from phoenix.trace.dsl.filter import SpanFilter, SpanFilterError
from sqlalchemy import ColumnElement, Select, and_, exists, func, insert, literal, or_, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from tracequill_phoenix.annotate.errors import QueueError, invalid, not_found
from tracequill_phoenix.annotate.selection_form import Order, Selection
from tracequill_phoenix.annotate.tables import items, slots

# Counting stops here: the form must answer, and a queue has thousands of items, not millions.
COUNT_MAX = 100_000
_PREVIEW_SECONDS = 20
_ADD_SECONDS = 300
_CANCELLED = "57014"
# Values that are wrong, expressions that do not fit together, and those that are too complex.
_FILTERS_FAULTS = ("22", "42", "54")

# One = that is not part of ==, !=, <= or >=.
_LONE_EQUALS = re.compile(r"(?<![=!<>])=(?!=)")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What a selection finds: how many are new, how many the queue has, and some of the new."""

    count: int
    already: int
    counted_all: bool
    span_rowids: list[int]


def is_final_answer(span: Any = models.Span) -> ColumnElement[bool]:
    """The condition that *span* is the LLM call that ended last in its trace, without error."""
    later = aliased(models.Span)
    ends_later = or_(
        later.end_time > span.end_time, and_(later.end_time == span.end_time, later.id > span.id)
    )
    return and_(
        span.span_kind == "LLM",
        span.status_code != "ERROR",
        ~exists().where(
            later.trace_rowid == span.trace_rowid,
            later.span_kind == "LLM",
            later.status_code != "ERROR",
            ends_later,
        ),
    )


async def preview(
    session: AsyncSession, selection: Selection, where: str, queue_id: int | None, limit: int
) -> Found:
    """Count what *selection*, whose filter is *where*, finds; and find some of it."""
    matching = await _matching(session, selection, where)
    known = exists().where(items.c.queue_id == queue_id, items.c.span_id == models.Span.span_id)
    new = matching.where(~known) if queue_id is not None else matching
    try:
        await _limit_time(session, _PREVIEW_SECONDS)
        count = await _count(session, new)
        already = await _count(session, matching.where(known)) if queue_id is not None else 0
        newest = new.order_by(models.Span.start_time.desc(), models.Span.id.desc()).limit(limit)
        span_rowids = list(await session.scalars(newest))
    except DBAPIError as error:
        raise _unevaluable(where, error) from error
    counted = min(count, COUNT_MAX)
    if selection.sample is not None:
        counted = min(counted, selection.sample)
    return Found(counted, already, count <= COUNT_MAX, span_rowids)


async def add(
    session: AsyncSession,
    queue_id: int,
    selection: Selection,
    where: str,
    *,
    order: Order,
    overlap: int,
) -> tuple[int, int]:
    """Put what *selection* finds into the queue; give how many came and how many were there.

    The caller holds the queue's row locked: additions come one after the other.
    """
    matching = await _matching(session, selection, where)
    known = exists().where(items.c.queue_id == queue_id, items.c.span_id == models.Span.span_id)
    chosen = matching.where(~known)
    if selection.sample is not None:
        chosen = chosen.order_by(func.random()).limit(selection.sample)
    try:
        await _limit_time(session, _ADD_SECONDS)
        already = await _count(session, matching.where(known))
        added = await _insert(session, queue_id, chosen, order=order, overlap=overlap)
    except DBAPIError as error:
        raise _unevaluable(where, error) from error
    return added, already


async def add_spans(
    session: AsyncSession, queue_id: int, span_ids: Sequence[str], *, order: Order, overlap: int
) -> tuple[int, int]:
    """Put the spans of these OpenTelemetry ids into the queue."""
    wanted = set(span_ids)
    found = set(
        await session.scalars(select(models.Span.span_id).where(models.Span.span_id.in_(wanted)))
    )
    if missing := sorted(wanted - found):
        raise invalid(f"there is no span {missing[0]!r}; nothing was added.")
    known = exists().where(items.c.queue_id == queue_id, items.c.span_id == models.Span.span_id)
    chosen = select(models.Span.id).where(models.Span.span_id.in_(wanted), ~known)
    added = await _insert(session, queue_id, chosen, order=order, overlap=overlap)
    return added, len(wanted) - added


async def _insert(
    session: AsyncSession, queue_id: int, chosen: Select[Any], *, order: Order, overlap: int
) -> int:
    """Write items and their slots, wholly within the database."""
    last = await session.scalar(
        select(func.coalesce(func.max(items.c.number), 0)).where(items.c.queue_id == queue_id)
    )
    assert last is not None
    ids = chosen.cte("chosen")
    rank = rank_of(order, models.Span.start_time).label("rank")
    rows = (
        select(
            models.Span.id,
            models.Span.span_id,
            models.Trace.trace_id,
            models.Project.name.label("project"),
            models.ProjectSession.session_id,
            models.Span.start_time,
            rank,
        )
        .join(ids, ids.c.id == models.Span.id)
        .join(models.Trace, models.Trace.id == models.Span.trace_rowid)
        .join(models.Project, models.Project.id == models.Trace.project_rowid)
        .outerjoin(
            models.ProjectSession, models.ProjectSession.id == models.Trace.project_session_rowid
        )
        .subquery("found")
    )
    columns = {
        "queue_id": literal(queue_id, items.c.queue_id.type),
        "number": last + func.row_number().over(order_by=(rows.c.rank, rows.c.id)),
        "rank": rows.c.rank,
        "span_rowid": rows.c.id,
        "span_id": rows.c.span_id,
        "trace_id": rows.c.trace_id,
        "project": rows.c.project,
        "session_id": rows.c.session_id,
        "asked_at": rows.c.start_time,
    }
    await session.execute(
        insert(items).from_select(list(columns), select(*columns.values()), include_defaults=False)
    )
    await session.execute(
        insert(slots).from_select(
            ["item_id", "slot", "queue_id", "rank"],
            select(
                items.c.item_id,
                func.generate_series(1, overlap),
                items.c.queue_id,
                items.c.rank,
            ).where(items.c.queue_id == queue_id, items.c.number > last),
            include_defaults=False,
        )
    )
    added = await session.scalar(
        select(func.count()).where(items.c.queue_id == queue_id, items.c.number > last)
    )
    return added or 0


def rank_of(order: Order, time: Any) -> ColumnElement[float]:
    """Give what items are sorted by, so that later additions find their place among the others."""
    if order == "random":
        return func.random()
    seconds = func.date_part("epoch", time)
    return -seconds if order == "newest" else seconds


async def _matching(session: AsyncSession, selection: Selection, where: str) -> Select[Any]:
    project_id = await session.scalar(
        select(models.Project.id).where(models.Project.name == selection.project)
    )
    if project_id is None:
        raise await _no_project(session, selection.project)
    spans = (
        select(models.Span.id)
        .join(models.Trace, models.Trace.id == models.Span.trace_rowid)
        .where(models.Trace.project_rowid == project_id)
    )
    if selection.which == "final_answers":
        spans = spans.where(is_final_answer())
    else:
        spans = spans.where(models.Span.span_kind == "LLM")
    return _filtered(spans, where)


async def _no_project(session: AsyncSession, name: str) -> QueueError:
    names = sorted(await session.scalars(select(models.Project.name)))
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"There is: {', '.join(names[:10])}."
    return not_found(f"there is no project {name!r}. {hint}")


def nothing_found(selection: Selection, where: str) -> QueueError:
    """Refuse to make a queue of nothing."""
    project = selection.project
    if not where:
        return invalid(f"nothing was found for this queue: the project {project!r} has no answers.")
    return invalid(
        f"nothing was found for this queue: no answer in the project {project!r} matches "
        f"the filter {where}. Check the names and the values in it."
    )


def _filtered(spans: Select[Any], where: str) -> Select[Any]:
    try:
        filtered: Select[Any] = SpanFilter(where)(spans)
        filtered.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    except SpanFilterError as error:
        hint = ". Two values are compared with ==" if _LONE_EQUALS.search(where) else ""
        raise invalid(f"the filter is not valid: {error}{_at_end(error)}{hint}") from error
    except Exception as error:  # a gap in Phoenix's compiler; its own validation masks it as well
        _log.exception("Phoenix cannot compile a span filter")
        raise invalid("the filter is not one that Phoenix knows.") from error
    return filtered


def _at_end(error: SpanFilterError) -> str:
    """Say where a filter breaks off: a place behind its last character is told as none."""
    cause = error.__cause__
    return " at its end" if isinstance(cause, SyntaxError) and cause.offset == 0 else ""


async def _count(session: AsyncSession, spans: Select[Any]) -> int:
    capped = spans.limit(COUNT_MAX + 1).subquery()
    return await session.scalar(select(func.count()).select_from(capped)) or 0


async def _limit_time(session: AsyncSession, seconds: int) -> None:
    await session.execute(
        text("SELECT set_config('statement_timeout', :value, true)"), {"value": f"{seconds}s"}
    )


def _unevaluable(where: str, error: DBAPIError) -> Exception:
    """Give what to raise: *error* itself where it says nothing of the filter."""
    state = getattr(error.orig, "sqlstate", None) or ""
    if state == _CANCELLED:
        return invalid("looking through this much takes too long. Choose fewer days, or a filter.")
    if state[:2] in _FILTERS_FAULTS:
        return invalid(
            f"the filter {where!r} cannot be evaluated: it compares what does not compare."
        )
    return error
