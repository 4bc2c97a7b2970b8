"""Answers to one label, out of the database as a table of numbers.

A queue can hold a hundred thousand answers and more. Postgres numbers people and values, and packs
what was said into one string of bytes, so that no row of it is handled here one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tracequill_phoenix.annotate.labels import Label
from tracequill_phoenix.annotate.ratings import Ratings, arranged, level_of, value_in

# What was said of an item, in the order of the columns of _SAID.
_SAID = np.dtype([("item", ">i8"), ("person", ">i4"), ("code", ">i4")])
_READ = text(
    """
    WITH said AS MATERIALIZED (
        SELECT item_id, person, "values" -> (:name)::text -> (:key)::text AS value
        FROM tracequill.annotation_answers
        WHERE queue_id = :queue_id AND undone_at IS NULL AND replaced_at IS NULL
    ), people AS (
        SELECT person, (row_number() OVER ())::integer - 1 AS place
        FROM (SELECT DISTINCT person FROM said WHERE value NOT IN ('null', '[]')) AS each
    ), known AS (
        SELECT value, (row_number() OVER ())::integer - 1 AS code
        FROM (SELECT DISTINCT value FROM said WHERE value NOT IN ('null', '[]')) AS each
    )
    SELECT (SELECT array_agg(person ORDER BY place) FROM people) AS people,
        (SELECT jsonb_agg(value ORDER BY code)::text FROM known) AS known,
        (SELECT string_agg(int8send(item_id) || int4send(place) || int4send(code), '')
         FROM said JOIN people USING (person) JOIN known USING (value)) AS said
    """
)


@dataclass(frozen=True, slots=True)
class Found:
    """Answers as they were read: *known* is a JSON list of values, *said* are rows of _SAID."""

    people: list[str]
    known: str
    said: bytes


async def found(session: AsyncSession, queue_id: int, label: Label) -> Found:
    """Read all answers to *label* that are in force."""
    if level_of(label) == "text":
        return Found([], "[]", b"")
    key = "labels" if label.multiple else "score" if label.kind == "CONTINUOUS" else "label"
    values: dict[str, Any] = {"queue_id": queue_id, "name": label.name, "key": key}
    row = (await session.execute(_READ, values)).one()
    return Found(list(row.people or ()), row.known or "[]", bytes(row.said or b""))


def table_of(label: Label, read: Found) -> Ratings:
    """Arrange what was read in a table."""
    values = [value_in(label, value) for value in orjson.loads(read.known)]
    said = np.frombuffer(read.said, dtype=_SAID)
    return arranged(
        label,
        read.people,
        values,
        said["item"].astype(np.int64),
        said["person"].astype(np.int64),
        said["code"].astype(np.int64),
    )
