"""Leases on a real Postgres: many people at once, none of whom gets what another holds."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from tests.integration.annotate.queue_database import engine_for, make_queue, migrate
from tests.integration.databases import database_url, execute, run
from tracequill_phoenix.annotate import leases
from tracequill_phoenix.annotate.tables import flags, metadata, skips, slots

pytestmark = pytest.mark.integration

PEOPLE = 50
ITEMS = 150
OVERLAP = 2


@pytest.fixture(scope="module")
def database(postgres_url: str) -> Iterator[str]:
    name = f"leases_{os.getpid()}"
    run(execute(postgres_url, f"CREATE DATABASE {name}"))
    url = database_url(postgres_url, name)
    run(_migrate(url))
    yield url
    run(execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def _migrate(url: str) -> None:
    async with engine_for(url, 1) as engine:
        await migrate(engine)


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    async with engine_for(database, PEOPLE) as engine:
        yield engine


class Person:
    """One person who works on a queue, each request a transaction of its own."""

    def __init__(self, engine: AsyncEngine, queue_id: int, name: str, overlap: int = 1) -> None:
        self.transaction = async_sessionmaker(engine).begin
        self.queue_id, self.name, self.overlap = queue_id, name, overlap

    async def take(self, count: int = 1, have: tuple[int, ...] = ()) -> list[int]:
        async with self.transaction() as session:
            return [lease.item_id for lease in await self._take(session, count, have)]

    async def take_leases(self, count: int) -> list[leases.Lease]:
        async with self.transaction() as session:
            return await self._take(session, count, ())

    async def _take(
        self, session: AsyncSession, count: int, have: tuple[int, ...]
    ) -> list[leases.Lease]:
        return await leases.take(
            session,
            self.queue_id,
            self.name,
            count=count,
            overlap=self.overlap,
            seconds=60,
            have=have,
        )

    async def renew(self, *item_ids: int) -> list[int]:
        async with self.transaction() as session:
            return await leases.renew(session, self.queue_id, self.name, item_ids, seconds=60)

    async def release(self, *item_ids: int) -> list[int]:
        async with self.transaction() as session:
            return await leases.release(session, self.queue_id, self.name, item_ids)

    async def waiting(self) -> leases.Waiting:
        async with self.transaction() as session:
            return await leases.waiting(session, self.queue_id, self.name)

    async def answer(self, item_id: int) -> None:
        async with self.transaction() as session:
            done = await session.execute(
                update(slots)
                .where(slots.c.item_id == item_id, slots.c.person == self.name)
                .values(state="answered", leased_until=None)
            )
            assert done.rowcount == 1  # type: ignore[attr-defined]


async def test_of_fifty_people_at_once_no_two_hold_one_slot_and_no_slot_is_lost(
    engine: AsyncEngine,
) -> None:
    queue_id = await make_queue(engine, "fifty", ITEMS, OVERLAP)
    holder: dict[tuple[int, int], str] = {}
    taken: Counter[str] = Counter()

    async def work(number: int) -> None:
        chance = random.Random(number)
        person = Person(engine, queue_id, f"person {number}", OVERLAP)
        mine: dict[int, tuple[int, int]] = {}
        while True:
            given = await person.take_leases(chance.randint(1, 5))
            for lease in given:
                slot = (lease.item_id, lease.slot)
                assert holder.setdefault(slot, person.name) == person.name, slot
                mine[lease.item_id] = slot
            assert len({lease.item_id for lease in given}) == len(given)
            taken[person.name] += len(given)
            if not mine:
                left = await person.waiting()
                if not left.items and not left.held_by_others:
                    return
                await asyncio.sleep(0.01)  # others hold the rest: the page asks again, too
                continue
            for item_id in list(mine):
                slot = mine.pop(item_id)
                if chance.random() < 0.3:
                    del holder[slot]  # before it is free: another may have it at once
                    assert await person.release(item_id) == [item_id]
                else:
                    await person.answer(item_id)

    async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
        for number in range(PEOPLE):
            tasks.create_task(work(number))

    async with engine.connect() as connection:
        rows = (await connection.execute(select(slots).where(slots.c.queue_id == queue_id))).all()
    people = defaultdict(set)
    for row in rows:
        assert row.state == "answered"
        assert holder[row.item_id, row.slot] == row.person
        people[row.item_id].add(row.person)
    assert len(rows) == ITEMS * OVERLAP
    assert [len(names) for names in people.values()] == [OVERLAP] * ITEMS
    assert len([name for name in taken if taken[name]]) > 1


async def test_items_come_in_order_several_at_once_and_each_once(engine: AsyncEngine) -> None:
    queue_id = await make_queue(engine, "order", 5, 2)
    ana, ben = Person(engine, queue_id, "Ana", 2), Person(engine, queue_id, "Ben", 2)

    first = await ana.take(3)
    second = await ana.take(3, have=tuple(first))

    assert first == sorted(first)
    assert first + second == await ben.take(9)
    assert await ana.take(9, have=tuple(first + second)) == []


async def test_what_a_person_holds_is_given_to_them_again_and_to_nobody_else(
    engine: AsyncEngine,
) -> None:
    queue_id = await make_queue(engine, "again", 2, 1)
    ana, ben = Person(engine, queue_id, "Ana"), Person(engine, queue_id, "Ben")
    held = await ana.take()

    assert await ana.take() == held
    assert not set(held) & set(await ben.take(2))
    assert (await ben.waiting()) == leases.Waiting(items=1, held_by_others=1)


async def test_a_lease_that_has_run_out_goes_to_whoever_asks_and_is_lost_for_its_holder(
    engine: AsyncEngine,
) -> None:
    queue_id = await make_queue(engine, "expiry", 1, 1)
    ana, ben = Person(engine, queue_id, "Ana"), Person(engine, queue_id, "Ben")
    (item_id,) = await ana.take()
    assert await ben.take() == []
    await _let_run_out(engine, queue_id)

    assert await ben.take() == [item_id]
    assert await ana.renew(item_id) == []
    assert await ana.take() == []


async def test_a_heartbeat_keeps_a_lease_even_one_that_ran_out_unnoticed(
    engine: AsyncEngine,
) -> None:
    queue_id = await make_queue(engine, "heartbeat", 1, 1)
    ana, ben = Person(engine, queue_id, "Ana"), Person(engine, queue_id, "Ben")
    (item_id,) = await ana.take()
    await _let_run_out(engine, queue_id)

    assert await ana.renew(item_id, 10**9) == [item_id]
    assert await ben.take() == []


async def test_what_is_released_is_free_for_others_and_nothing_else_is(engine: AsyncEngine) -> None:
    queue_id = await make_queue(engine, "release", 3, 1)
    ana, ben = Person(engine, queue_id, "Ana"), Person(engine, queue_id, "Ben")
    first, second, third = await ana.take(3)
    await ana.answer(third)

    assert await ben.release(first) == []
    assert await ana.release(second, third) == [second]
    assert await ben.take(3) == [second]
    assert await ana.release() == [first]


async def test_nobody_is_given_what_they_answered_or_skipped(engine: AsyncEngine) -> None:
    queue_id = await make_queue(engine, "answered", 2, 2)
    ana = Person(engine, queue_id, "Ana", 2)
    answered, skipped = await ana.take(2)
    await ana.answer(answered)
    await ana.release(skipped)
    async with ana.transaction() as session:
        await session.execute(
            skips.insert().values(item_id=skipped, person="Ana", queue_id=queue_id)
        )

    assert await ana.take(2) == []
    assert (await ana.waiting()).items == 0
    assert await Person(engine, queue_id, "Ben", 2).take(2) == [answered, skipped]


async def test_what_a_manager_replied_to_comes_back_first(engine: AsyncEngine) -> None:
    queue_id = await make_queue(engine, "returned", 3, 1)
    ana = Person(engine, queue_id, "Ana")
    first, second = await ana.take(2)
    async with ana.transaction() as session:
        await session.execute(
            update(slots)
            .where(slots.c.item_id == second)
            .values(state="returned", leased_until=None)
        )

    assert await Person(engine, queue_id, "Ben").take(3) == [second + 1]
    assert await ana.take(3) == [second, first]


async def test_requests_of_one_person_at_once_give_what_each_alone_would(
    engine: AsyncEngine,
) -> None:
    queue_id = await make_queue(engine, "two tabs", 40, 3)
    ana = Person(engine, queue_id, "Ana", 3)

    given = await asyncio.gather(*(ana.take(5) for _ in range(8)))

    async with engine.connect() as connection:
        held = (
            await connection.scalars(
                select(slots.c.item_id)
                .where(slots.c.queue_id == queue_id)
                .where(slots.c.person == "Ana")
            )
        ).all()
    assert given == [sorted(held)] * 8
    assert len(held) == 5


async def test_what_is_let_go_after_a_reply_stays_with_whoever_asked(engine: AsyncEngine) -> None:
    queue_id = await make_queue(engine, "replied", 2, 1)
    ana, ben = Person(engine, queue_id, "Ana"), Person(engine, queue_id, "Ben")
    replied, other = await ana.take(2)
    async with ana.transaction() as session:
        await session.execute(
            flags.insert().values(
                flag_id=uuid4(),
                queue_id=queue_id,
                item_id=replied,
                person="Ana",
                question="?",
                reply="!",
                replied_at=datetime.now(UTC),
            )
        )

    assert sorted(await ana.release()) == [replied, other]
    assert await ben.take(2) == [other]
    assert await ana.take(2) == [replied]


async def test_the_code_knows_the_tables_as_they_are(engine: AsyncEngine) -> None:
    columns = text(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'tracequill' AND table_name LIKE 'annotation%'"
    )
    async with engine.connect() as connection:
        there = {(row[0], row[1]) for row in await connection.execute(columns)}

    known = {(table.name, column.name) for table in metadata.tables.values() for column in table.c}
    assert known == there


async def _let_run_out(engine: AsyncEngine, queue_id: int) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "UPDATE tracequill.annotation_slots SET leased_until = now() - interval '1 s' "
                "WHERE queue_id = :queue_id AND state = 'leased'"
            ),
            {"queue_id": queue_id},
        )
