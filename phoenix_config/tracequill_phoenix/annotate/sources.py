"""What a person judges: the span behind an item, with the earlier turns of its session.

A source holds the arguments of ``conversation_of``. It comes from Phoenix's tables while the span
is there, and from our copy once one was made: everybody judges the same, and retention takes
nothing from what was judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from phoenix.db import models
from sqlalchemy import BigInteger, Select, String, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from tracequill_phoenix.annotate.conversation import conversation_of
from tracequill_phoenix.annotate.fixed import fixed, storable
from tracequill_phoenix.annotate.selection import is_final_answer

EARLIER_MAX = 20
BESIDE_MAX = 5
# As stored, which is compressed. Beyond it the oldest turns are left out.
_EARLIER_STORED_BYTES = 512 * 1024
TEXT_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Source:
    """The arguments of ``conversation_of`` for one item."""

    arguments: Mapping[str, Any]

    def conversation(self) -> dict[str, Any]:
        """Give what the page shows."""
        return conversation_of(**self.arguments)

    def fact(self, *path: str) -> str:
        """Give the text at *path* in the span's attributes, or an empty one."""
        value: Any = self.arguments["attributes"]
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value if isinstance(value, str) else ""


async def sources(session: AsyncSession, rows: Sequence[Any]) -> dict[int, Source]:
    """Give the sources of item *rows* by item id; none for one whose span is gone uncopied."""
    ids = [row.item_id for row in rows]
    copied = await session.execute(_COPIED, {"item_ids": ids})
    found = {row.item_id: Source(row.source) for row in copied}
    rest = {row.span_id: row for row in rows if row.item_id not in found}
    if not rest:
        return found
    for span in (await session.execute(_SPANS, {"span_ids": list(rest)})).all():
        earlier = await _earlier(session, span.project_session_rowid, span.trace_start)
        beside = await session.execute(
            _BESIDE, {"trace_rowid": span.trace_rowid, "before": span.end_time}
        )
        found[rest[span.span_id].item_id] = Source(
            {
                **_arguments(span),
                "earlier": earlier,
                "beside": [_arguments(one) for one in beside.all()][::-1],
            }
        )
    return found


async def _earlier(
    session: AsyncSession, session_rowid: int | None, before: datetime
) -> list[dict[str, Any]]:
    """The final answers of the traces before this one in its session, oldest first."""
    if session_rowid is None:
        return []
    turns = await session.execute(_EARLIER, {"session_rowid": session_rowid, "before": before})
    return [_arguments(turn) for turn in turns.all()][::-1]


_CONTENT = (
    models.Span.attributes,
    models.Span.name,
    models.Span.start_time,
    models.Span.end_time,
)
_COPIED = text(
    "SELECT item_id, source FROM tracequill.annotation_inputs WHERE item_id = ANY(:item_ids)"
).bindparams(bindparam("item_ids", type_=ARRAY(BigInteger)))
_SPANS = fixed(
    select(
        models.Span.span_id,
        models.Span.trace_rowid,
        *_CONTENT,
        models.Trace.project_session_rowid,
        models.Trace.start_time.label("trace_start"),
    )
    .join(models.Trace, models.Trace.id == models.Span.trace_rowid)
    .where(models.Span.span_id == func.any(bindparam("span_ids", type_=ARRAY(String))))
)


def _turns_before() -> Select[Any]:
    """The newest first, as many as are bounded by number and size."""
    final = aliased(models.Span)
    last = (
        select(
            final.attributes,
            final.name,
            final.start_time,
            final.end_time,
            func.sum(func.pg_column_size(final.attributes))
            .over(order_by=(models.Trace.start_time.desc(), models.Trace.id.desc()))
            .label("stored_bytes"),
        )
        .join(models.Trace, models.Trace.id == final.trace_rowid)
        .where(
            models.Trace.project_session_rowid == bindparam("session_rowid", type_=BigInteger),
            models.Trace.start_time < bindparam("before", type_=models.UtcTimeStamp),
            is_final_answer(final),
        )
        .order_by(models.Trace.start_time.desc(), models.Trace.id.desc())
        .limit(EARLIER_MAX)
        .subquery()
    )
    return select(last).where(last.c.stored_bytes <= _EARLIER_STORED_BYTES)


def _looked_up_before() -> Select[Any]:
    """What was looked up in the trace before the answer was there, the newest first."""
    looked_up = (
        select(
            *_CONTENT,
            func.sum(func.pg_column_size(models.Span.attributes))
            .over(order_by=(models.Span.start_time.desc(), models.Span.id.desc()))
            .label("stored_bytes"),
        )
        .where(
            models.Span.trace_rowid == bindparam("trace_rowid", type_=BigInteger),
            models.Span.span_kind == "RETRIEVER",
            models.Span.start_time < bindparam("before", type_=models.UtcTimeStamp),
        )
        .order_by(models.Span.start_time.desc(), models.Span.id.desc())
        .limit(BESIDE_MAX)
        .subquery()
    )
    return select(looked_up).where(looked_up.c.stored_bytes <= _EARLIER_STORED_BYTES)


_EARLIER = fixed(_turns_before())
_BESIDE = fixed(_looked_up_before())


def _arguments(span: Any) -> dict[str, Any]:
    return {
        "attributes": storable(span.attributes),
        "name": span.name,
        "start_time": _time(span.start_time),
        "end_time": _time(span.end_time),
    }


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()


async def copy(
    session: AsyncSession, item_id: int, source: Source, conversation: Mapping[str, Any]
) -> None:
    """Keep what was judged, once for each item."""
    await session.execute(
        _COPY,
        {
            "item_id": item_id,
            "source": dict(source.arguments),
            "question": str(conversation["question"])[:TEXT_MAX],
            "answer": str(conversation["answer"]["text"])[:TEXT_MAX],
        },
    )


_COPY = text(
    """
    INSERT INTO tracequill.annotation_inputs (item_id, source, question, answer)
    VALUES (:item_id, :source, :question, :answer) ON CONFLICT DO NOTHING
    """
).bindparams(bindparam("source", type_=JSONB))
