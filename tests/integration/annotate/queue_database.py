"""A queue in a database with our tables alone, for tests of what needs no Phoenix."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tracequill_phoenix.annotate.tables import items, queues, slots
from tracequill_phoenix.migrations import upgrade

_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@asynccontextmanager
async def engine_for(url: str, connections: int) -> AsyncIterator[AsyncEngine]:
    """Give an engine with up to *connections* connections."""
    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://"),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=120,
    )
    try:
        yield engine
    finally:
        await engine.dispose()


async def migrate(engine: AsyncEngine) -> None:
    """Create our tables."""
    async with engine.connect() as connection:
        await connection.run_sync(upgrade)


async def make_queue(engine: AsyncEngine, name: str, number_of_items: int, overlap: int) -> int:
    """Write a queue with its items and free slots; give its id."""
    async with engine.begin() as connection:
        statement = insert(queues).values(name=name, overlap=overlap).returning(queues.c.queue_id)
        queue_id = int(await connection.scalar(statement))
        rows = [
            {
                "queue_id": queue_id,
                "number": number,
                "rank": float(number),
                "span_rowid": number,
                "span_id": f"{number:016x}",
                "trace_id": f"{number:032x}",
                "project": "p",
                "asked_at": _NOON,
            }
            for number in range(1, number_of_items + 1)
        ]
        item_ids = (
            await connection.scalars(
                insert(items).returning(items.c.item_id, sort_by_parameter_order=True), rows
            )
        ).all()
        await connection.execute(
            insert(slots),
            [
                {"item_id": item_id, "slot": slot, "queue_id": queue_id, "rank": row["rank"]}
                for item_id, row in zip(item_ids, rows, strict=True)
                for slot in range(1, overlap + 1)
            ],
        )
    return queue_id
