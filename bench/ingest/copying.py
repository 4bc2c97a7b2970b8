"""The limit: the rows of a stored backlog, ready in binary form, by nothing but COPY.

Into tables of Phoenix's own making, with all their indexes and foreign keys, in transactions of as
many spans as the exporter's. What is left out is everything that makes rows of requests, and every
question of what is stored already.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bench.ingest.meter import BACKENDS, POSTGRES, Groups, Usage, metered
from bench.ingest.progress import count_spans
from bench.ingest.servers import BenchError, Connection, Databases, connected
from bench.ingest.spans import SPANS_A_TRACE
from tracequill_collector.exporter.postgres import MAX_BATCH_SPANS

_BEFORE = ("projects", "project_sessions")
_TABLES = ("traces", "spans", "span_costs", "span_cost_details")
# By whole traces, so that batches do not need each other.
_BATCH_TRACES = MAX_BATCH_SPANS // SPANS_A_TRACE
_WHERE = {
    "projects": "true",
    "project_sessions": "true",
    "traces": "id > {low} AND id <= {high}",
    "spans": "trace_rowid > {low} AND trace_rowid <= {high}",
    "span_costs": "trace_rowid > {low} AND trace_rowid <= {high}",
    "span_cost_details": "span_cost_id IN "
    "(SELECT id FROM span_costs WHERE trace_rowid > {low} AND trace_rowid <= {high})",
}
_COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = $1 AND is_generated = 'NEVER'
ORDER BY ordinal_position
"""


@dataclass(slots=True)
class Copied:
    """How fast Postgres took the rows, and what it took."""

    spans: int
    spans_per_second: float
    usage: Usage


Batch = dict[str, bytes]


async def measure_copy(
    databases: Databases, source_url: str, connection_counts: Sequence[int]
) -> list[Copied]:
    """COPY the rows of *source_url* into a fresh database, by each number of connections."""
    async with connected(source_url) as source:
        columns = {table: await _columns(source, table) for table in (*_BEFORE, *_TABLES)}
        highest = await source.fetchval("SELECT max(id) FROM traces")
        before = [await _read(source, columns, _BEFORE, 0, 0)]
        batches = [
            await _read(source, columns, _TABLES, low, low + _BATCH_TRACES)
            for low in range(0, highest, _BATCH_TRACES)
        ]
    expected = await count_spans(source_url)
    copied = []
    for count in connection_counts:
        async with databases.fresh("copied") as url:
            async with connected(url) as connection:
                await connection.execute("DELETE FROM projects")
                await _write(connection, columns, before)
            copied.append(await _copy(databases, url, columns, batches, expected, count))
            if await count_spans(url) != expected:
                raise BenchError("COPY has not stored all rows")
    return copied


async def _copy(
    databases: Databases,
    url: str,
    columns: dict[str, list[str]],
    batches: list[Batch],
    spans: int,
    connections: int,
) -> Copied:
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connected(url)) for _ in range(connections)]
        pids = [await connection.fetchval("SELECT pg_backend_pid()") for connection in opened]

        async def find() -> Groups:
            return {BACKENDS: pids, POSTGRES: [databases.postgres.pid]}

        async with metered(find) as usage:
            began = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                for place, connection in enumerate(opened):
                    tasks.create_task(_write(connection, columns, batches[place::connections]))
            seconds = time.monotonic() - began
    return Copied(spans, spans / seconds, usage)


async def _columns(connection: Connection, table: str) -> list[str]:
    return [record["column_name"] for record in await connection.fetch(_COLUMNS, table)]


async def _read(
    connection: Connection,
    columns: dict[str, list[str]],
    tables: tuple[str, ...],
    low: int,
    high: int,
) -> Batch:
    batch: Batch = {}
    for table in tables:
        content = io.BytesIO()
        where = _WHERE[table].format(low=low, high=high)
        await connection.copy_from_query(
            f"SELECT {', '.join(columns[table])} FROM {table} WHERE {where}",
            output=content,
            format="binary",
        )
        batch[table] = content.getvalue()
    return batch


async def _write(
    connection: Connection, columns: dict[str, list[str]], batches: list[Batch]
) -> None:
    for batch in batches:
        async with connection.transaction():
            await connection.execute("SET LOCAL synchronous_commit TO on")
            for table, content in batch.items():
                await connection.copy_to_table(
                    table, source=io.BytesIO(content), columns=columns[table], format="binary"
                )
