"""What managers see of a queue: progress, agreement, who has which question.

Reads rows and hands them to the pure parts (``progress``, ``agreement``), which calculate in a
thread: a page of somebody who annotates does not wait for a page of figures.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from phoenix.server.types import DbSessionFactory
from sqlalchemy import ARRAY, Table, Text, and_, bindparam, case, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from tracequill_phoenix.annotate.agreement import LabelAgreement, agreement_in
from tracequill_phoenix.annotate.labels import Label
from tracequill_phoenix.annotate.people import names_of
from tracequill_phoenix.annotate.progress import (
    Answered,
    Pace,
    Progress,
    progress_of,
    seconds_left,
)
from tracequill_phoenix.annotate.queues import Queue
from tracequill_phoenix.annotate.ratings_read import Found, found, table_of
from tracequill_phoenix.annotate.tables import answers, flags, in_force, items, skips, slots

# Agreement takes a second and a few hundred megabytes where there is most to compare.
_ONE_AT_A_TIME = asyncio.Semaphore(1)

# All answers as one string of bytes: a hundred thousand rows, one by one, would hold up all pages.
_ANSWERED = text(
    """
    WITH said AS MATERIALIZED (
        SELECT person, extract(epoch FROM answered_at)::double precision AS at,
            coalesce(extract(epoch FROM submitted_at - shown_at), 'NaN')::double precision AS took
        FROM tracequill.annotation_answers
        WHERE queue_id = :queue_id AND undone_at IS NULL AND replaced_at IS NULL
    ), people AS (
        SELECT person, (row_number() OVER ())::integer - 1 AS place
        FROM (SELECT DISTINCT person FROM said) AS each
    )
    SELECT (SELECT array_agg(person ORDER BY place) FROM people) AS people,
        (SELECT string_agg(int4send(place) || float8send(at) || float8send(took), '')
         FROM said JOIN people USING (person)) AS said
    """
)
_ANSWERED_ROW = struct.Struct("!idd")
# Of few questions a count tells what somebody said: only those that everybody has answered count.
_SAID = """
    FROM tracequill.annotation_answers AS a
    JOIN tracequill.annotation_items AS i
        ON i.item_id = a.item_id AND (i.done_at IS NOT NULL OR :is_archived)
    CROSS JOIN LATERAL jsonb_each(a."values") AS label
"""
_COUNTS = text(
    f"""
    SELECT label.key AS name, said.choice, count(*) AS times
    {_SAID}
    CROSS JOIN LATERAL (
        SELECT label.value ->> 'label' AS choice WHERE label.value ? 'label'
        UNION ALL
        SELECT jsonb_array_elements_text(label.value -> 'labels') WHERE label.value ? 'labels'
    ) AS said
    WHERE a.queue_id = :queue_id AND a.undone_at IS NULL AND a.replaced_at IS NULL
    GROUP BY 1, 2
    """
)
# Whoever has a slot of an item, or has passed it by, is not given another.
_LEFT = text(
    """
    WITH free AS (
        SELECT DISTINCT item_id FROM tracequill.annotation_slots
        WHERE queue_id = :queue_id
          AND (state = 'open' OR state = 'leased' AND leased_until < clock_timestamp())
    ), met AS (
        SELECT person, item_id FROM tracequill.annotation_slots
        WHERE queue_id = :queue_id AND person = ANY(:people)
        UNION
        SELECT person, item_id FROM tracequill.annotation_skips
        WHERE queue_id = :queue_id AND person = ANY(:people)
    ), held AS (
        SELECT person, count(*) AS items FROM tracequill.annotation_slots
        WHERE queue_id = :queue_id AND state IN ('leased', 'returned', 'flagged')
        GROUP BY person
    )
    SELECT p.person, (SELECT count(*) FROM free) + coalesce(held.items, 0)
        - (SELECT count(*) FROM met JOIN free USING (item_id) WHERE met.person = p.person) AS items
    FROM unnest(:people) AS p (person) LEFT JOIN held ON held.person = p.person
    """
).bindparams(bindparam("people", type_=ARRAY(Text)))
_MEANS = text(
    f"""
    SELECT label.key AS name, avg((label.value ->> 'score')::double precision) AS mean
    {_SAID}
    WHERE a.queue_id = :queue_id AND a.undone_at IS NULL AND a.replaced_at IS NULL
      AND label.key = ANY(:names) AND label.value ? 'score'
    GROUP BY 1
    """
).bindparams(bindparam("names", type_=ARRAY(Text)))


async def progress(session: AsyncSession, queue: Queue) -> dict[str, Any]:
    """Give the progress of *queue* as the API shows it."""
    queue_id = queue.queue_id
    row = (await session.execute(_ANSWERED, {"queue_id": queue_id})).one()
    found = await asyncio.to_thread(_progress, row.people or [], bytes(row.said or b""))
    counted = (
        await session.execute(
            select(func.count().label("items"), func.count(items.c.done_at).label("done")).where(
                items.c.queue_id == queue_id
            )
        )
    ).one()
    needed = (
        await session.execute(
            select(
                func.count().label("slots"),
                func.count(case((slots.c.state != "answered", 1))).label("left"),
            ).where(slots.c.queue_id == queue_id)
        )
    ).one()
    each = await _each_person(session, queue_id)
    names = await names_of(session, {*each, *found.people, *queue.members})
    shown = sorted(names, key=lambda person: (names[person].casefold(), person))
    for row in await session.execute(_LEFT, {"queue_id": queue_id, "people": shown}):
        each.setdefault(row.person, {})["left"] = row.items
    return {
        "items": counted.items,
        "done": counted.done,
        "answers": found.together.answers,
        "answers_needed": needed.slots,
        "remaining": needed.left,
        "flags_open": sum(one.get("open", 0) for one in each.values()),
        "skips": sum(one.get("skips", 0) for one in each.values()),
        "per_hour": found.together.per_hour,
        "median_seconds": found.together.median_seconds,
        "eta_seconds": seconds_left(needed.left, found.together.per_hour),
        "days": [{"day": day.isoformat(), "answers": number} for day, number in found.days],
        "people": [_person(person, names, found, each.get(person, {})) for person in shown],
        "labels": await _label_counts(session, queue),
    }


def _progress(people: Sequence[str], said: bytes) -> Progress:
    return progress_of(
        Answered(
            people[place],
            datetime.fromtimestamp(at, UTC),
            None if math.isnan(took) else max(took, 0.0),
        )
        for place, at, took in _ANSWERED_ROW.iter_unpack(said)
    )


def _person(
    person: str, names: Mapping[str, str], found: Progress, counts: Mapping[str, int]
) -> dict[str, Any]:
    pace = found.people.get(person, Pace())
    kept = ("left", "skips", "flags", "undone", "corrections", "leased")
    return {
        "person": person,
        "name": names[person],
        "answers": pace.answers,
        "median_seconds": pace.median_seconds,
        "per_hour": pace.per_hour,
        "first_at": pace.first_at,
        "last_at": pace.last_at,
        **{name: counts.get(name, 0) for name in kept},
    }


async def _each_person(session: AsyncSession, queue_id: int) -> dict[str, dict[str, int]]:
    """Count for each person what they did beside answering, and what they hold."""
    is_open = and_(flags.c.replied_at.is_(None), flags.c.withdrawn_at.is_(None))
    is_held = and_(slots.c.state == "leased", slots.c.leased_until > func.clock_timestamp())
    counted: list[tuple[Table, dict[str, Any]]] = [
        (answers, {"undone": case((answers.c.undone_at.is_not(None), 1))}),
        (answers, {"corrections": case((and_(in_force, answers.c.correction.is_not(None)), 1))}),
        (skips, {"skips": skips.c.item_id}),
        (flags, {"flags": case((flags.c.withdrawn_at.is_(None), 1)), "open": case((is_open, 1))}),
        (slots, {"leased": case((is_held, 1))}),
    ]
    each: dict[str, dict[str, int]] = {}
    for table, counts in counted:
        columns = [func.count(expression).label(name) for name, expression in counts.items()]
        rows = await session.execute(
            select(table.c.person, *columns)
            .where(table.c.queue_id == queue_id, table.c.person.is_not(None))
            .group_by(table.c.person)
        )
        for row in rows.mappings():
            each.setdefault(row["person"], {}).update({name: row[name] for name in counts})
    return each


async def _label_counts(session: AsyncSession, queue: Queue) -> list[dict[str, Any]]:
    """How often each choice was taken, and the means of numbers."""
    taken: dict[str, dict[str, int]] = {}
    values = {"queue_id": queue.queue_id, "is_archived": queue.archived_at is not None}
    for row in await session.execute(_COUNTS, values):
        taken.setdefault(row.name, {})[row.choice] = row.times
    numbers = [label.name for label in queue.labels if label.kind == "CONTINUOUS"]
    means = {
        row.name: row.mean for row in await session.execute(_MEANS, values | {"names": numbers})
    }
    return [
        {
            "name": label.name,
            "counts": _counts(label, taken.get(label.name, {})),
            "mean": means.get(label.name),
        }
        for label in queue.labels
    ]


def _counts(label: Label, taken: Mapping[str, int]) -> dict[str, int] | None:
    if label.kind != "CATEGORICAL":
        return None
    return {choice.label: 0 for choice in label.values} | dict(taken)


async def agreement(database: DbSessionFactory, queue: Queue) -> dict[str, Any]:
    """Give the agreement about each label of *queue* as the API shows it."""
    async with _ONE_AT_A_TIME:
        async with database() as session:
            said = [(label, await found(session, queue.queue_id, label)) for label in queue.labels]
            names = await names_of(session, {person for _, one in said for person in one.people})
        compared = await asyncio.to_thread(_agreement, said)
    return {"labels": [_agreement_json(label, names) for label in compared]}


def _agreement(said: Sequence[tuple[Label, Found]]) -> list[LabelAgreement]:
    share = 1 / len(said)
    return [agreement_in(label, table_of(label, one), share_of_time=share) for label, one in said]


def _agreement_json(label: LabelAgreement, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": label.name,
        "kind": label.kind,
        "level": label.level,
        "items": label.items,
        "people": label.people,
        **{name: score.to_json() for name, score in label.scores.items()},
        "pairs": [
            {
                "a": {"person": pair.people[0], "name": names[pair.people[0]]},
                "b": {"person": pair.people[1], "name": names[pair.people[1]]},
                "items": pair.items,
                **{name: score.to_json() for name, score in pair.scores.items()},
            }
            for pair in label.pairs
        ],
    }
