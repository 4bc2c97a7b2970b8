"""Labels and Phoenix's annotation configs: chosen among them, or made where there is none.

A label keeps a copy of its config, so that a change in Phoenix's settings does not change what
was asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from phoenix.db import models
from phoenix.db.types import annotation_configs as types
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from strawberry.relay import GlobalID

from tracequill_phoenix.annotate.errors import invalid
from tracequill_phoenix.annotate.labels import Choice, Kind, Label, check_label
from tracequill_phoenix.annotate.selection_form import Name, Text

# So many a refusal lists.
_NAMES_MAX = 20

Direction = Literal["MINIMIZE", "MAXIMIZE", "NONE"]


class WantedChoice(BaseModel):
    """One value of a label to be created."""

    model_config = ConfigDict(extra="forbid")

    label: Name
    score: Annotated[float, Field(allow_inf_nan=False)] | None = None


class WantedLabel(BaseModel):
    """A label of a queue: the name of an annotation config, or all that makes a new one."""

    model_config = ConfigDict(extra="ignore")  # what GET answered may be sent back

    name: Name
    required: bool = True
    multiple: bool = False
    kind: Kind | None = None
    description: Text | None = None
    values: list[WantedChoice] = Field(default_factory=list, max_length=100)
    lower_bound: Annotated[float, Field(allow_inf_nan=False)] | None = None
    upper_bound: Annotated[float, Field(allow_inf_nan=False)] | None = None
    direction: Direction | None = None


async def known_labels(session: AsyncSession) -> list[Label]:
    """Give every annotation config as the label it would be."""
    rows = await session.scalars(
        select(models.AnnotationConfig).order_by(models.AnnotationConfig.name)
    )
    return [_label(row) for row in rows]


async def labels_for(session: AsyncSession, wanted: Sequence[WantedLabel]) -> list[Label]:
    """Give the labels that *wanted* means; configs that are not there yet are created."""
    names = [want.name for want in wanted]
    rows = await session.scalars(
        select(models.AnnotationConfig).where(models.AnnotationConfig.name.in_(names))
    )
    known = {row.name: _label(row) for row in rows}
    return [await _one(session, want, known.get(want.name)) for want in wanted]


async def show_in_project(session: AsyncSession, labels: Sequence[Label], project: str) -> None:
    """Let Phoenix's own page offer these labels in *project*, so that both can be used."""
    project_id = await session.scalar(
        select(models.Project.id).where(models.Project.name == project)
    )
    names = [label.name for label in labels]
    ids = await session.scalars(
        select(models.AnnotationConfig.id).where(models.AnnotationConfig.name.in_(names))
    )
    if project_id is None:
        return
    for config_id in ids.all():
        await session.execute(
            insert(models.ProjectAnnotationConfig)
            .values(project_id=project_id, annotation_config_id=config_id)
            .on_conflict_do_nothing()
        )


async def _one(session: AsyncSession, want: WantedLabel, known: Label | None) -> Label:
    if known is not None:
        label = _settled(known, want)
        if want.kind not in (None, known.kind):
            raise invalid(
                f"there is an annotation config {want.name!r} already, and it is "
                f"{known.kind.lower()}; choose another name."
            )
        check_label(label)
        return label
    if want.kind is None:
        names = [label.name for label in await known_labels(session)]
        there = ", ".join(names[:_NAMES_MAX]) + (", …" if len(names) > _NAMES_MAX else "")
        raise invalid(
            f"there is no annotation config {want.name!r}. There is: {there or 'none yet'}. Make "
            "it in Phoenix's settings or with 'tracequill provision', or send its kind as well."
        )
    label = Label(
        want.name,
        want.kind,
        want.required,
        want.multiple,
        want.description or "",
        tuple(Choice(value.label, value.score) for value in want.values),
        want.lower_bound,
        want.upper_bound,
        want.direction or "NONE",
    )
    check_label(label)
    row = models.AnnotationConfig(name=label.name, config=_config(label))
    session.add(row)
    await session.flush()
    return _settled(_label(row), want)


def _settled(label: Label, want: WantedLabel) -> Label:
    return Label(
        label.name,
        label.kind,
        want.required,
        want.multiple,
        label.description,
        label.values,
        label.lower_bound,
        label.upper_bound,
        label.direction,
        label.config_id,
    )


def _label(row: models.AnnotationConfig) -> Label:
    config: Any = row.config
    kind = str(getattr(config.type, "value", config.type))
    type_name = f"{kind.capitalize()}AnnotationConfig"
    direction = config.optimization_direction
    return Label(
        row.name,
        kind,  # type: ignore[arg-type]
        description=config.description or "",
        values=tuple(
            Choice(value.label, value.score) for value in getattr(config, "values", None) or ()
        ),
        # A freeform config's bounds are those of an evaluator's score, not of a text.
        lower_bound=config.lower_bound if kind == "CONTINUOUS" else None,
        upper_bound=config.upper_bound if kind == "CONTINUOUS" else None,
        direction=str(getattr(direction, "value", direction or "NONE")),
        config_id=str(GlobalID(type_name, str(row.id))),
    )


def _config(label: Label) -> types.AnnotationConfigType:
    direction = types.OptimizationDirection(label.direction)
    description = label.description or None
    if label.kind == "CATEGORICAL":
        return types.CategoricalAnnotationConfig(
            type="CATEGORICAL",
            description=description,
            optimization_direction=direction,
            values=[
                types.CategoricalAnnotationValue(label=value.label, score=value.score)
                for value in label.values
            ],
        )
    if label.kind == "CONTINUOUS":
        return types.ContinuousAnnotationConfig(
            type="CONTINUOUS",
            description=description,
            optimization_direction=direction,
            lower_bound=label.lower_bound,
            upper_bound=label.upper_bound,
        )
    return types.FreeformAnnotationConfig(type="FREEFORM", description=description)
