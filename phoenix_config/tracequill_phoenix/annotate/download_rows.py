"""The rows of a download, read some at a time, each time in a transaction of its own.

What people said of an item is in the file once everybody has answered it, or the queue is
archived: before that nobody sees what others said.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import orjson
from phoenix.db import models
from phoenix.server.types import DbSessionFactory
from sqlalchemy import ColumnElement, Text, cast, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from tracequill_phoenix.annotate.conversation import conversation_of
from tracequill_phoenix.annotate.download import Decided, File, Format, Given, Item, Layout
from tracequill_phoenix.annotate.people import names_of
from tracequill_phoenix.annotate.queues import Queue
from tracequill_phoenix.annotate.tables import (
    answers,
    consensus,
    in_force,
    inputs,
    items,
    skips,
    slots,
)

# What is read at once keeps all others waiting, so it is little.
BATCH_ITEMS = 40
# Spans of questions that nobody has answered, at once; larger ones, as stored, stay unread.
_SPANS = 20
_SPAN_STORED_BYTES_MAX = 1024 * 1024
# What a copy keeps to be searched ends here; the whole text is in its source.
_KEPT_MAX = 20_000

_EXPLAINED = text(
    """
    SELECT DISTINCT label.key
    FROM (SELECT "values" FROM tracequill.annotation_answers
          WHERE queue_id = :queue_id AND undone_at IS NULL AND replaced_at IS NULL
          UNION ALL
          SELECT "values" FROM tracequill.annotation_consensus WHERE queue_id = :queue_id) AS said
    CROSS JOIN LATERAL jsonb_each(said."values") AS label
    WHERE label.value ? 'explanation'
    """
)


async def file_of(database: DbSessionFactory, queue: Queue, kind: Format) -> AsyncIterator[bytes]:
    """Give the file piece by piece, made in a thread: others get their turn meanwhile."""
    async with database() as session:
        layout = await layout_of(session, queue)
    file = File(kind, layout)
    yield file.begin()
    async for batch in batches(database, queue):
        yield await asyncio.to_thread(file.add, batch)
    yield await asyncio.to_thread(file.end)


async def layout_of(session: AsyncSession, queue: Queue) -> Layout:
    """Give the columns: everybody who has answered, by name."""
    people = await session.scalars(
        select(answers.c.person).where(answers.c.queue_id == queue.queue_id, in_force).distinct()
    )
    names = await names_of(session, people)
    explained = await session.scalars(_EXPLAINED, {"queue_id": queue.queue_id})
    ordered = sorted(names.items(), key=lambda person: (person[1].casefold(), person[0]))
    return Layout(queue.labels, ordered, frozenset(explained))


async def batches(database: DbSessionFactory, queue: Queue) -> AsyncIterator[list[Item]]:
    """Give all items in the order in which they were added."""
    after = (-1, -1)
    while True:
        async with database() as session:
            rows = (
                await session.execute(
                    select(items, inputs.c.question, inputs.c.answer)
                    .outerjoin(inputs, inputs.c.item_id == items.c.item_id)
                    .where(
                        items.c.queue_id == queue.queue_id,
                        tuple_(items.c.number, items.c.item_id) > after,
                    )
                    .order_by(items.c.number, items.c.item_id)
                    .limit(BATCH_ITEMS)
                )
            ).all()
            if not rows:
                return
            batch = await _items(session, queue, rows)
        yield batch
        after = (rows[-1].number, rows[-1].item_id)


async def _items(session: AsyncSession, queue: Queue, rows: Sequence[Any]) -> list[Item]:
    is_archived = queue.archived_at is not None
    shown = [row.item_id for row in rows if row.done_at is not None or is_archived]
    states = await _states(session, [row.item_id for row in rows if row.done_at is None])
    given = await _given(session, shown)
    decided = await _decided(session, shown)
    texts = await texts_of(session, [row.span_id for row in rows if row.question is None])
    whole = await _whole_texts(session, [row.item_id for row in rows if _is_cut(row)])
    found = []
    for row in rows:
        question, answer = row.question, row.answer
        if row.question is None:
            question, answer = texts.get(row.span_id, ("", ""))
        elif row.item_id in whole:
            question, answer = whole[row.item_id]
        found.append(
            Item(
                number=row.number,
                state="done" if row.done_at is not None else states.get(row.item_id, "open"),
                question=question,
                answer=answer,
                project=row.project,
                session_id=row.session_id,
                trace_id=row.trace_id,
                span_id=row.span_id,
                asked_at=row.asked_at,
                given=given.get(row.item_id, {}),
                decided=decided.get(row.item_id),
            )
        )
    return found


async def _states(session: AsyncSession, item_ids: list[int]) -> dict[int, str]:
    """Give what keeps questions from being done: asked about comes before skipped."""
    found = {}
    skipped = select(skips.c.item_id).where(skips.c.item_id.in_(item_ids))
    for item_id in await session.scalars(skipped):
        found[item_id] = "skipped"
    asked = select(slots.c.item_id).where(slots.c.item_id.in_(item_ids), slots.c.state == "flagged")
    for item_id in await session.scalars(asked):
        found[item_id] = "asked"
    return found


# Of a correction the text alone: its message and its diff say it again.
_GIVEN: tuple[ColumnElement[Any], ...] = (
    answers.c.item_id,
    answers.c.person,
    answers.c["values"].label("said"),
    answers.c.correction["text"].as_string().label("correction"),
    answers.c.shown_at,
    answers.c.first_key_at,
    answers.c.submitted_at,
    answers.c["keys"].label("keys_pressed"),
    answers.c.answered_at,
)


async def _given(session: AsyncSession, item_ids: list[int]) -> dict[int, dict[str, Given]]:
    found: dict[int, dict[str, Given]] = {}
    rows = await session.execute(select(*_GIVEN).where(answers.c.item_id.in_(item_ids), in_force))
    for row in rows:
        found.setdefault(row.item_id, {})[row.person] = Given(
            row.said,
            row.correction,
            _seconds(row.shown_at, row.submitted_at),
            _seconds(row.shown_at, row.first_key_at),
            row.keys_pressed,
            row.answered_at,
        )
    return found


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return max((end - start).total_seconds(), 0.0) if start and end else None


async def _decided(session: AsyncSession, item_ids: list[int]) -> dict[int, Decided]:
    rows = (await session.execute(select(consensus).where(consensus.c.item_id.in_(item_ids)))).all()
    names = await names_of(session, {row.decided_by for row in rows})
    return {
        row.item_id: Decided(
            row.values,
            row.correction["text"] if row.correction else None,
            row.reason,
            names.get(row.decided_by, ""),
            row.decided_at,
        )
        for row in rows
    }


def _is_cut(row: Any) -> bool:
    """Whether the texts that are kept to be searched may be the beginnings of longer ones."""
    return row.question is not None and _KEPT_MAX in (len(row.question), len(row.answer))


async def _whole_texts(session: AsyncSession, item_ids: list[int]) -> dict[int, tuple[str, str]]:
    """Read question and answer from the copies of what was judged."""
    texts: dict[int, tuple[str, str]] = {}
    for item_id in item_ids:
        source = await session.scalar(
            select(cast(inputs.c.source, Text)).where(inputs.c.item_id == item_id)
        )
        if source is not None:
            texts[item_id] = await asyncio.to_thread(_texts, source)
    return texts


async def texts_of(session: AsyncSession, span_ids: list[str]) -> dict[str, tuple[str, str]]:
    """Read question and answer of spans that nobody has judged, so that there is no copy yet."""
    texts: dict[str, tuple[str, str]] = {}
    for start in range(0, len(span_ids), _SPANS):
        spans = (
            await session.execute(
                select(
                    models.Span.span_id,
                    cast(models.Span.attributes, Text).label("attributes"),
                    models.Span.name,
                    models.Span.start_time,
                    models.Span.end_time,
                ).where(
                    models.Span.span_id.in_(span_ids[start : start + _SPANS]),
                    func.pg_column_size(models.Span.attributes) <= _SPAN_STORED_BYTES_MAX,
                )
            )
        ).all()
        texts |= await asyncio.to_thread(_read, spans)
    return texts


def _read(spans: Sequence[Any]) -> dict[str, tuple[str, str]]:
    texts = {}
    for span in spans:
        arguments = {
            "attributes": orjson.loads(span.attributes),
            "name": span.name,
            "start_time": span.start_time.isoformat(),
            "end_time": span.end_time.isoformat(),
        }
        texts[span.span_id] = _of_conversation(arguments)
    return texts


def _texts(source: str) -> tuple[str, str]:
    return _of_conversation(orjson.loads(source))


def _of_conversation(arguments: dict[str, Any]) -> tuple[str, str]:
    conversation = conversation_of(**arguments)
    return str(conversation["question"]), str(conversation["answer"]["text"])
