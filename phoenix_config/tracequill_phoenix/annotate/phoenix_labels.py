"""What a person said, as Phoenix's span annotations, in the transaction that keeps it here.

The identifier makes a person's rows their own: with authentication it is the one of Phoenix's
page, so that a row edited there is the row written here. What stood there before is handed back,
so that an undo can restore it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from phoenix.db import models
from phoenix.server.dml_event import SpanAnnotationInsertEvent, SpanInsertEvent
from sqlalchemy import BigInteger, Select, String, and_, bindparam, delete, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from tracequill_phoenix.annotate.fixed import fixed, named, storable
from tracequill_phoenix.annotate.labels import PhoenixRow

_KEPT = ("name", "label", "score", "explanation", "metadata_", "annotator_kind", "source")


@dataclass(slots=True)
class Changes:
    """What is to be told to Phoenix's pages once the transaction is through."""

    annotation_ids: list[int] = field(default_factory=list)
    project_ids: list[int] = field(default_factory=list)

    def tell(self, event_queue: Any) -> None:
        """Put the events that Phoenix's own mutations would have put."""
        if self.annotation_ids:
            event_queue.put(SpanAnnotationInsertEvent(tuple(self.annotation_ids)))
        if self.project_ids:  # of deleted rows nothing can be looked up: the project has changed
            event_queue.put(SpanInsertEvent(tuple(self.project_ids)))


async def write(
    session: AsyncSession,
    span_id: str,
    identifier: str,
    user_id: int | None,
    names: Sequence[str],
    rows: Sequence[PhoenixRow],
    changes: Changes,
) -> list[dict[str, Any]]:
    """Make *rows* the person's annotations of *names* on the span; give what stood there before.

    A span that retention has taken has no annotations any more: nothing is written then.
    """
    found = await _found(session, span_id, identifier, names)
    if found is None:
        return []
    span_rowid, project_id, before = found
    wanted = [
        {
            "name": row.name,
            "label": row.label,
            "score": row.score,
            "explanation": row.explanation,
            "metadata_": dict(row.metadata),
            "annotator_kind": "HUMAN",
            "source": "APP",
        }
        for row in rows
    ]
    await _replace(session, span_rowid, identifier, user_id, before, wanted, changes)
    changes.project_ids.append(project_id)
    return before


async def restore(
    session: AsyncSession,
    span_id: str,
    identifier: str,
    user_id: int | None,
    names: Sequence[str],
    before: Sequence[dict[str, Any]],
    changes: Changes,
) -> None:
    """Put back what ``write`` has handed back."""
    found = await _found(session, span_id, identifier, names)
    if found is None:
        return
    span_rowid, project_id, now = found
    await _replace(session, span_rowid, identifier, user_id, now, before, changes)
    changes.project_ids.append(project_id)


def _annotations() -> Select[Any]:
    """A span with the annotations of one identifier and some names, if it has any."""
    table = models.SpanAnnotation
    of_these = and_(
        table.span_rowid == models.Span.id,
        table.identifier == bindparam("identifier", type_=String),
        table.name == func.any(bindparam("names", type_=ARRAY(String))),
    )
    return (
        select(
            models.Span.id,
            models.Trace.project_rowid,
            *(getattr(table, name) for name in _KEPT),
        )
        .join(models.Trace, models.Trace.id == models.Span.trace_rowid)
        .outerjoin(table, of_these)
        .where(models.Span.span_id == bindparam("span_id", type_=String))
        .with_for_update(key_share=True, read=True, of=models.Span)
    )


_FOUND = fixed(_annotations())
_WRITE = text(
    f"""
    INSERT INTO {named(models.SpanAnnotation)} (
        span_rowid, identifier, user_id, name, label, score, explanation, metadata,
        annotator_kind, source)
    SELECT :span_rowid, :identifier, :user_id, name, label, score, explanation, metadata,
           annotator_kind, source
    FROM jsonb_to_recordset(:wanted) AS wanted(
        name text, label text, score double precision, explanation text, metadata jsonb,
        annotator_kind text, source text)
    ON CONFLICT (name, span_rowid, identifier) DO UPDATE SET
        label = excluded.label, score = excluded.score, explanation = excluded.explanation,
        metadata = excluded.metadata, annotator_kind = excluded.annotator_kind,
        source = excluded.source, user_id = excluded.user_id, updated_at = now()
    RETURNING id
    """
).bindparams(
    bindparam("span_rowid", type_=BigInteger),
    bindparam("identifier", type_=String),
    bindparam("user_id", type_=BigInteger),
    bindparam("wanted", type_=JSONB),
)


async def _found(
    session: AsyncSession, span_id: str, identifier: str, names: Sequence[str]
) -> tuple[int, int, list[dict[str, Any]]] | None:
    """Find the span, and keep it until the end of the transaction; its project; its annotations
    of these names."""
    values = {"span_id": span_id, "identifier": identifier, "names": list(names)}
    rows = (await session.execute(_FOUND, values)).all()
    if not rows:
        return None
    kept = [dict(zip(_KEPT, row[2:], strict=True)) for row in rows]
    before = [_storable(row) for row in kept if row["name"] is not None]
    return rows[0][0], rows[0][1], before


def _storable(row: dict[str, Any]) -> dict[str, Any]:
    """What stood in Phoenix is kept as JSON, which has no infinity and no NaN."""
    score = row["score"]
    is_storable = score is None or math.isfinite(score)
    metadata = storable(row["metadata_"])
    return {**row, "score": score if is_storable else None, "metadata_": metadata}


async def _replace(
    session: AsyncSession,
    span_rowid: int,
    identifier: str,
    user_id: int | None,
    now: Sequence[dict[str, Any]],
    wanted: Sequence[dict[str, Any]],
    changes: Changes,
) -> None:
    table = models.SpanAnnotation
    if gone := {row["name"] for row in now} - {row["name"] for row in wanted}:
        await session.execute(
            delete(table).where(
                table.span_rowid == span_rowid,
                table.identifier == identifier,
                table.name.in_(gone),
            )
        )
    if not wanted:
        return
    rows = [{("metadata" if k == "metadata_" else k): row[k] for k in row} for row in wanted]
    values = {
        "span_rowid": span_rowid,
        "identifier": identifier,
        "user_id": user_id,
        "wanted": rows,
    }
    changes.annotation_ids.extend(await session.scalars(_WRITE, values))
