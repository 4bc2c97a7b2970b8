"""Two exporters on one database, the same traces and sessions: nothing lost, all sums right."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from tests.integration.collector.exporting import RejectedSpans, export, record_of, spans_of
from tests.integration.collector.generated import generated_requests
from tests.integration.collector.oracle import assert_same_rows, stored_rows
from tests.integration.collector.test_exporter_process import running
from tracequill_collector.errors import RetryableError
from tracequill_collector.exporter.postgres import (
    ExporterCounts,
    PostgresExporter,
    UnforeseenError,
)
from tracequill_collector.pipeline import Record, Span

pytestmark = pytest.mark.integration

_ROUNDS = 4


def some_records(seed: int, *, traces: int) -> list[Record]:
    """Give records whose rows are the same in every order, some spans in several of them."""
    payloads = generated_requests(seed, traces=traces, requests=40, is_settled=True)
    return [record_of(payload) for payload in payloads]


async def insist(
    database: str, batches: Sequence[Sequence[Span]], *, is_replacing: bool = False
) -> ExporterCounts:
    """Store *batches* as the exporter's process does, trying again what must be tried again."""
    rejected = RejectedSpans()
    exporter = PostgresExporter(database, schema=None, reject=rejected.take)
    chance = random.Random(1)
    try:
        for batch in batches:
            while True:
                try:
                    await exporter.consume(batch, is_replacing=is_replacing)
                    break
                except UnforeseenError:
                    raise
                except RetryableError:
                    await asyncio.sleep(chance.uniform(0, 0.05))
    finally:
        await exporter.close()
    assert rejected == []
    return exporter.counts


def cut(spans: Sequence[Span], seed: int) -> list[list[Span]]:
    """Give two thirds of *spans* in an order of their own, in batches of all sizes."""
    chance = random.Random(seed)
    mine = chance.sample(spans, len(spans) * 2 // 3)
    batches = []
    while mine:
        size = chance.choice([1, 5, 30, 300])
        batches.append(mine[:size])
        mine = mine[size:]
    return batches


@pytest.mark.parametrize("is_replacing", [False, True], ids=["storing", "one writes anew"])
async def test_the_rows_are_those_of_one_exporter(
    phoenix_database: str, new_database: Callable[[], str], is_replacing: bool
) -> None:
    everything: list[Span] = []
    counted: list[ExporterCounts] = []
    for seed in range(_ROUNDS):
        spans = spans_of(some_records(100 + seed, traces=60))
        first, second = cut(spans, seed), cut(spans, seed + 50)
        rest = {id(span) for batch in first + second for span in batch}
        first.append([span for span in spans if id(span) not in rest])
        async with asyncio.TaskGroup() as tasks:
            both = [
                tasks.create_task(insist(phoenix_database, first)),
                tasks.create_task(insist(phoenix_database, second, is_replacing=is_replacing)),
            ]
        counted += [task.result() for task in both]
        everything += spans
    alone = new_database()
    await export(alone, everything)

    assert_same_rows(await stored_rows(phoenix_database), await stored_rows(alone))
    stored = sum(counts.stored_spans for counts in counted)
    assert stored == len({span.span_id for span in everything})


async def test_two_processes_with_a_queue_each(
    phoenix_database: str, new_database: Callable[[], str], tmp_path: Path
) -> None:
    records = some_records(7, traces=80)
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()

    async with (
        running(folders[0], phoenix_database) as (first, first_queue),
        running(folders[1], phoenix_database) as (second, second_queue),
    ):
        # Both start with a backlog of the same spans, the other way around.
        for record, last in zip(records, records[::-1], strict=True):
            await first_queue.consume(record)
            await second_queue.consume(last)
        for exporter in (first, second):
            await exporter.says(lambda status: status.values["exported_records"] == len(records))
    alone = new_database()
    await export(alone, spans_of(records))

    assert_same_rows(await stored_rows(phoenix_database), await stored_rows(alone))
    assert first.dead_letters.list() == second.dead_letters.list() == []
    assert " ERROR " not in first.log + second.log


async def test_what_people_delete_meanwhile_makes_no_dead_letters(phoenix_database: str) -> None:
    spans = spans_of(some_records(31, traces=60))
    done = asyncio.Event()

    async def store() -> None:
        await insist(phoenix_database, cut(spans, 1))
        await insist(phoenix_database, cut(spans, 2), is_replacing=True)
        await insist(phoenix_database, cut(spans, 3), is_replacing=True)
        done.set()

    async with asyncio.TaskGroup() as tasks:
        storing = tasks.create_task(store())
        deleting = tasks.create_task(_delete_until(done, phoenix_database))
    await storing
    await insist(phoenix_database, [spans])

    assert await deleting > 0
    stored = {row[0] for row in (await stored_rows(phoenix_database))["spans"]}
    assert stored == {span.span_id for span in spans}


async def _delete_until(done: asyncio.Event, database: str) -> int:
    """Delete projects, sessions, traces and spans, a few each time, as Phoenix's pages do."""
    chance = random.Random(1)
    deleted = 0
    connection = await asyncpg.connect(database)
    try:
        while not done.is_set():
            table = chance.choice(["projects", "project_sessions", "traces", "spans"])
            with suppress(asyncpg.DeadlockDetectedError):  # told to whoever deletes
                status = await connection.execute(
                    f"DELETE FROM {table} WHERE id IN "
                    f"(SELECT id FROM {table} ORDER BY random() LIMIT 3)"
                )
                deleted += int(status.split()[1])
    finally:
        await connection.close()
    return deleted
