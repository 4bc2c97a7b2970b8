"""``/tracequill/api/datasets``: a Phoenix dataset from the spans that a filter finds.

In comes a project and a filter in Phoenix's own language; out comes a dataset whose examples
point to their spans and hold what Phoenix's "add spans to dataset" would have put there, less the
annotators' e-mail addresses. All in one transaction, a bounded batch of spans at a time.
"""

from __future__ import annotations

import difflib
import logging
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request
from openinference.semconv.trace import SpanAttributes
from phoenix.db import models
from phoenix.server.api.helpers.dataset_helpers import (
    get_dataset_example_input,
    get_dataset_example_output,
)
from phoenix.server.bearer_auth import PhoenixUser
from phoenix.server.dml_event import DatasetInsertEvent
from phoenix.trace.dsl.filter import SpanFilter, SpanFilterError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Select, exists, func, insert, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import load_only
from strawberry.relay import GlobalID

from tracequill_phoenix.api.access import NOT_LOCKED, Database

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/datasets", tags=["datasets"])

# Spans in memory at once. An LLM span is a few kilobytes, one with images a few megabytes: the
# stored size decides, which is compressed.
BATCH_SPANS = 200
BATCH_STORED_BYTES = 2 * 1024 * 1024
BATCH_IDS = 10_000

# Postgres stores no NUL, and Python's parser refuses it.
_Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
_Name = Annotated[_Text, StringConstraints(strip_whitespace=True, min_length=1)]


class BuildDataset(BaseModel):
    """What a dataset is to be made of."""

    model_config = ConfigDict(extra="forbid")

    name: _Name
    project: _Name
    where: _Text = Field("", description="Phoenix's span filter; empty takes every span.")
    limit: int | None = Field(None, ge=1, description="At most so many spans, the newest.")
    append: bool = Field(False, description="Add to the dataset if it exists.")


class BuiltDataset(BaseModel):
    """What was made."""

    name: str
    dataset_id: str
    version_id: str
    created: bool
    added: int
    skipped: int = Field(description="Spans that match and that the dataset had already.")


class BuildDatasetResponse(BaseModel):
    """Phoenix's own REST answers are wrapped in ``data``, and so is this."""

    data: BuiltDataset


@router.post("", dependencies=[NOT_LOCKED])
async def build_dataset(
    body: BuildDataset, request: Request, database: Database
) -> BuildDatasetResponse:
    """Make a dataset, or a new version of one, of the spans that match."""
    matches = _filter(body.where)
    user = request.user if request.app.state.authentication_enabled else None
    user_id = int(user.identity) if isinstance(user, PhoenixUser) else None
    async with database() as session:
        project_id = await _project(session, body.project)
        dataset_id, created = await _dataset(session, body, user_id)
        spans = matches(
            select(models.Span.id, func.pg_column_size(models.Span.attributes))
            .join(models.Trace, models.Trace.id == models.Span.trace_rowid)
            .where(models.Trace.project_rowid == project_id)
        )
        try:
            matching, skipped = await _matches(session, spans, dataset_id, body.limit)
        except DBAPIError as error:  # the filter compares what cannot be compared
            raise HTTPException(422, f"the filter {body.where!r} cannot be evaluated.") from error
        if not matching.ids:
            raise HTTPException(409, _nothing(body, skipped))
        version_id = await _version(session, dataset_id, body, user_id)
        added = 0
        for batch in matching.batches():
            added += await _add_spans(session, batch, dataset_id, version_id)
    request.state.event_queue.put(DatasetInsertEvent((dataset_id,)))
    built = BuiltDataset(
        name=body.name,
        dataset_id=str(GlobalID("Dataset", str(dataset_id))),
        version_id=str(GlobalID("DatasetVersion", str(version_id))),
        created=created,
        added=added,
        skipped=skipped,
    )
    return BuildDatasetResponse(data=built)


def _filter(where: str) -> SpanFilter:
    try:
        span_filter = SpanFilter(where)
        compiled = span_filter(select(models.Span.id))
        compiled.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    except SpanFilterError as error:
        raise HTTPException(422, f"the filter {where!r} is not valid: {error}") from error
    except Exception as error:  # a gap in Phoenix's compiler; its own validation masks it as well
        logger.exception("Phoenix cannot compile a span filter")
        raise HTTPException(422, f"the filter {where!r} is not one that Phoenix knows.") from error
    return span_filter


def _nothing(body: BuildDataset, skipped: int) -> str:
    which = f"matches {body.where!r}" if body.where.strip() else "is there"
    if skipped:
        return (
            f"nothing new for the dataset {body.name!r}: all {skipped} spans of the project "
            f"{body.project!r} that match are in it already."
        )
    return f"no span of the project {body.project!r} {which}; no dataset was changed."


async def _project(session: AsyncSession, name: str) -> int:
    project_id = await session.scalar(select(models.Project.id).where(models.Project.name == name))
    if project_id is None:
        names = (await session.scalars(select(models.Project.name))).all()
        near = difflib.get_close_matches(name, names, n=1)
        hint = (
            f"Did you mean {near[0]!r}?" if near else f"There is: {', '.join(sorted(names)[:10])}."
        )
        raise HTTPException(404, f"there is no project {name!r}. {hint}")
    return project_id


async def _dataset(
    session: AsyncSession, body: BuildDataset, user_id: int | None
) -> tuple[int, bool]:
    """Find or create the dataset; say which."""
    taken = HTTPException(
        409,
        f"a dataset {body.name!r} exists already. Choose another name, or add to it with --append.",
    )
    existing = await session.scalar(
        # Two builds at once add one after the other, so that neither adds the other's spans again.
        select(models.Dataset.id).where(models.Dataset.name == body.name).with_for_update()
    )
    if existing is not None:
        if not body.append:
            raise taken
        return existing, False
    try:
        dataset_id = await session.scalar(
            insert(models.Dataset)
            .values(name=body.name, metadata_={}, user_id=user_id)
            .returning(models.Dataset.id)
        )
    except IntegrityError as error:
        raise taken from error
    assert dataset_id is not None
    return dataset_id, True


class _Matching:
    """Spans to add, oldest first: eight bytes each for id and stored size, however many."""

    def __init__(self) -> None:
        self.ids, self.stored_bytes = array("q"), array("q")

    def batches(self) -> Iterator[Sequence[int]]:
        """Cut the ids where their spans would be too much together."""
        start, size = 0, 0
        for position, stored_bytes in enumerate(self.stored_bytes):
            full = position - start == BATCH_SPANS or size + stored_bytes > BATCH_STORED_BYTES
            if full and position > start:
                yield self.ids[start:position]
                start, size = position, 0
            size += stored_bytes
        if start < len(self.ids):
            yield self.ids[start:]


async def _matches(
    session: AsyncSession, spans: Select[int, int], dataset_id: int, limit: int | None
) -> tuple[_Matching, int]:
    """Find the spans to add, oldest first; and how many match that are in it already."""
    # An example that somebody deleted keeps its row: the span is not added again.
    known = exists().where(
        models.DatasetExample.dataset_id == dataset_id,
        models.DatasetExample.span_rowid == models.Span.id,
    )
    newest = (
        spans.where(~known)
        .order_by(models.Span.start_time.desc(), models.Span.id.desc())
        .limit(limit)
    )
    matching = _Matching()
    async for rows in (await session.stream(newest)).partitions(BATCH_IDS):
        matching.ids.extend(row[0] for row in rows)
        matching.stored_bytes.extend(row[1] for row in rows)
    matching.ids.reverse()
    matching.stored_bytes.reverse()
    skipped = await session.scalar(select(func.count()).select_from(spans.where(known).subquery()))
    return matching, skipped or 0


async def _version(
    session: AsyncSession, dataset_id: int, body: BuildDataset, user_id: int | None
) -> int:
    where = f" where {body.where.strip()}" if body.where.strip() else ""
    version_id: int | None = await session.scalar(
        insert(models.DatasetVersion)
        .values(
            dataset_id=dataset_id,
            description=f"Spans of {body.project}{where}",
            metadata_={"project": body.project, "where": body.where, "limit": body.limit},
            user_id=user_id,
        )
        .returning(models.DatasetVersion.id)
    )
    assert version_id is not None
    return version_id


async def _add_spans(
    session: AsyncSession, span_ids: Sequence[int], dataset_id: int, version_id: int
) -> int:
    found = {
        span.id: span
        for span in await session.scalars(
            select(models.Span)
            .where(models.Span.id.in_(span_ids))
            .options(load_only(models.Span.span_kind, models.Span.attributes))
        )
    }
    spans = [found[span_id] for span_id in span_ids if span_id in found]
    annotations = await _annotations(session, span_ids)
    example_ids = (
        await session.scalars(
            insert(models.DatasetExample).returning(
                models.DatasetExample.id, sort_by_parameter_order=True
            ),
            [{"dataset_id": dataset_id, "span_rowid": span.id} for span in spans],
        )
    ).all()
    await session.execute(
        insert(models.DatasetExampleRevision),
        [
            {
                "dataset_example_id": example_id,
                "dataset_version_id": version_id,
                "input": get_dataset_example_input(span),
                "output": get_dataset_example_output(span),
                "metadata_": _metadata(span, annotations.get(span.id, {})),
                "revision_kind": "CREATE",
            }
            for example_id, span in zip(example_ids, spans, strict=True)
        ],
    )
    session.expunge_all()
    return len(spans)


def _metadata(span: models.Span, annotations: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    metadata = span.attributes.get(SpanAttributes.METADATA)
    return {
        **(metadata if isinstance(metadata, Mapping) else {}),
        "span_kind": span.span_kind,
        "annotations": annotations,
    }


async def _annotations(
    session: AsyncSession, span_ids: Sequence[int]
) -> dict[int, dict[str, list[dict[str, Any]]]]:
    """The annotations of spans by name. Who gave one is said by user id, not by name or e-mail:
    what is in a dataset is downloaded and passed on."""
    found: dict[int, dict[str, list[dict[str, Any]]]] = {}
    annotation = models.SpanAnnotation
    rows = await session.scalars(
        select(annotation)
        .where(annotation.span_rowid.in_(span_ids))
        .order_by(annotation.span_rowid, annotation.name, annotation.id)
    )
    for row in rows:
        user_id = str(GlobalID("User", str(row.user_id))) if row.user_id is not None else None
        found.setdefault(row.span_rowid, {}).setdefault(row.name, []).append(
            {
                "label": row.label,
                "score": row.score,
                "explanation": row.explanation,
                "metadata": row.metadata_,
                "annotator_kind": row.annotator_kind,
                "user_id": user_id,
            }
        )
    return found
