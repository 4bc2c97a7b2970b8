"""Our copies of answers go when their time is over, in batches, and nothing else does."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from tests.integration.annotate.queue_database import engine_for, make_queue, migrate
from tracequill_phoenix.annotate.retention import Transaction, delete_old, keep_within
from tracequill_phoenix.annotate.tables import (
    answers,
    consensus,
    drafts,
    flags,
    inputs,
    items,
    queues,
    skips,
    slots,
)

pytestmark = pytest.mark.integration

TABLES = (answers, consensus, drafts, flags, inputs, items, slots, skips)
NOW = datetime.now(UTC)


@pytest.fixture
async def engine(phoenix_database: str) -> AsyncIterator[AsyncEngine]:
    async with engine_for(phoenix_database, 3) as engine:
        await migrate(engine)
        yield engine


def transactions(engine: AsyncEngine) -> Transaction:
    """Give sessions as Phoenix gives them: a transaction each."""
    make = async_sessionmaker(engine)

    @asynccontextmanager
    async def transaction() -> AsyncIterator[AsyncSession]:
        async with make.begin() as session:
            yield session

    return transaction


async def fill(engine: AsyncEngine, queue_id: int, days: float) -> None:
    """Let everything be said of every item of a queue, so many days ago."""
    then = NOW - timedelta(days=days)
    async with engine.begin() as connection:
        item_ids = (
            await connection.scalars(select(items.c.item_id).where(items.c.queue_id == queue_id))
        ).all()
        for item_id in item_ids:
            both = {"item_id": item_id, "queue_id": queue_id}
            said = {"values": {"quality": {"label": "good"}}}
            for person in ("tracequill:Ana", "tracequill:Ben"):
                await connection.execute(
                    insert(answers).values(
                        answer_id=uuid.uuid4(), slot=1, person=person, answered_at=then,
                        phoenix_before=[], **both, **said,
                    )
                )  # fmt: skip
            await connection.execute(
                insert(consensus).values(decided_at=then, reason="", **both, **said)
            )
            await connection.execute(
                insert(flags).values(
                    flag_id=uuid.uuid4(), person="tracequill:Ana", question="?", asked_at=then,
                    **both,
                )
            )  # fmt: skip
            await connection.execute(
                insert(drafts).values(
                    item_id=item_id, person="tracequill:Ana", saved_at=then, **said
                )
            )
            await connection.execute(
                insert(inputs).values(
                    item_id=item_id, source={}, question="?", answer="!", copied_at=then
                )
            )
            await connection.execute(insert(skips).values(person="tracequill:Cy", **both))


async def counts(engine: AsyncEngine, queue_id: int) -> dict[str, int]:
    found = {}
    async with engine.connect() as connection:
        for table in TABLES:
            statement = select(func.count()).select_from(table)
            if "queue_id" in table.c:
                statement = statement.where(table.c.queue_id == queue_id)
            else:
                of_queue = select(items.c.item_id).where(items.c.queue_id == queue_id)
                statement = statement.where(table.c.item_id.in_(of_queue))
            name = table.name.removeprefix("annotation_")
            found[name] = await connection.scalar(statement) or 0
    return found


async def keep_days(engine: AsyncEngine, queue_id: int, days: int) -> None:
    async with engine.begin() as connection:
        statement = update(queues).where(queues.c.queue_id == queue_id)
        await connection.execute(statement.values(keep_days=days))


async def test_what_is_too_old_goes_and_the_items_stay(engine: AsyncEngine) -> None:
    queue_id = await make_queue(engine, "old", 7, 1)
    await fill(engine, queue_id, days=31)
    before = await counts(engine, queue_id)

    deleted = await delete_old(transactions(engine), 30, batch_rows=3)

    assert deleted == {"drafts": 7, "answers": 14, "consensus": 7, "flags": 7, "inputs": 7}
    gone = dict.fromkeys(("answers", "consensus", "drafts", "flags", "inputs"), 0)
    assert await counts(engine, queue_id) == before | gone
    assert (before["items"], before["skips"]) == (7, 7)


async def test_what_is_young_enough_stays(engine: AsyncEngine) -> None:
    queue_id = await make_queue(engine, "young", 3, 1)
    await fill(engine, queue_id, days=29)
    before = await counts(engine, queue_id)

    assert sum((await delete_old(transactions(engine), 30)).values()) == 0
    assert await counts(engine, queue_id) == before


async def test_without_a_time_everything_stays_for_ever(engine: AsyncEngine) -> None:
    queue_id = await make_queue(engine, "for ever", 3, 1)
    await fill(engine, queue_id, days=5000)

    assert sum((await delete_old(transactions(engine), 0)).values()) == 0


async def test_a_queue_that_says_its_own_time_keeps_to_it(engine: AsyncEngine) -> None:
    short = await make_queue(engine, "short", 2, 1)
    long = await make_queue(engine, "long", 2, 1)
    for queue_id, days in ((short, 5), (long, 100)):
        await fill(engine, queue_id, days=40)
        await keep_days(engine, queue_id, days)
    kept = await counts(engine, long)

    await delete_old(transactions(engine), 30)

    assert (await counts(engine, short))["answers"] == 0
    assert await counts(engine, long) == kept

    await keep_days(engine, long, 39)
    await delete_old(transactions(engine), 0)

    assert (await counts(engine, long))["inputs"] == 0


async def test_a_time_beyond_all_calendars_does_not_stop_other_queues(engine: AsyncEngine) -> None:
    endless = await make_queue(engine, "endless", 1, 1)
    other = await make_queue(engine, "other", 1, 1)
    for queue_id, days in ((endless, 2**31 - 1), (other, 30)):
        await fill(engine, queue_id, days=40)
        await keep_days(engine, queue_id, days)

    await delete_old(transactions(engine), 0)

    assert (await counts(engine, endless))["answers"] == 2
    assert (await counts(engine, other))["answers"] == 0


async def test_what_was_judged_stays_as_long_as_an_answer_about_it(engine: AsyncEngine) -> None:
    queue_id = await make_queue(engine, "judged", 1, 2)
    await fill(engine, queue_id, days=40)
    async with engine.begin() as connection:
        await connection.execute(
            update(answers).where(answers.c.person == "tracequill:Ben").values(answered_at=NOW)
        )

    await delete_old(transactions(engine), 30)

    left = await counts(engine, queue_id)
    assert (left["answers"], left["inputs"], left["consensus"]) == (1, 1, 0)


async def test_two_servers_at_once_delete_everything_once(engine: AsyncEngine) -> None:
    queue_id = await make_queue(engine, "twice", 20, 1)
    await fill(engine, queue_id, days=40)

    async with asyncio.TaskGroup() as tasks:
        both = [
            tasks.create_task(delete_old(transactions(engine), 30, batch_rows=4)) for _ in range(2)
        ]
    await delete_old(transactions(engine), 30)

    assert (await counts(engine, queue_id))["answers"] == 0
    assert sum(task.result()["answers"] for task in both) <= 40


async def test_a_database_that_is_away_does_not_end_it(
    engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    queue_id = await make_queue(engine, "away", 1, 1)
    await fill(engine, queue_id, days=40)
    good = transactions(engine)
    tries = 0

    @asynccontextmanager
    async def first_away() -> AsyncIterator[AsyncSession]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ConnectionError("the database is away")
        async with good() as session:
            yield session

    task = asyncio.ensure_future(keep_within(first_away, 30, pause_seconds=0.01))
    for _ in range(2000):
        if not (await counts(engine, queue_id))["inputs"]:
            break
        await asyncio.sleep(0.01)
    task.cancel()

    assert (await counts(engine, queue_id))["inputs"] == 0
    assert "the database is away" in caplog.text
