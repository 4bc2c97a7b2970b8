"""A million spans in Phoenix's tables, in a minute or two.

Some thousand spans are sent to receiver and exporter, so that every row is as they write it. The
database then copies these rows, each copy with ids and times of its own, spread over two months:
conversations of four turns, each turn a trace of a retriever, an LLM call and their chain. What is
left out of copying is what people see in none of our pages: the details of costs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from bench.ingest.progress import until_stored, watched
from bench.ingest.sender import TEMPLATES, Order
from bench.ingest.sending import new_salt, sending
from bench.ingest.servers import (
    Connection,
    Databases,
    connected,
    running_collector,
    running_postgres,
)
from bench.ingest.spans import PROJECT, SPANS_A_TRACE, TRACES_A_SESSION

__all__ = ["PROJECT", "SPANS_A_TRACE", "TRACES_A_SESSION", "Spans", "running_spans"]

DAYS = 60
_TRACES = 168
_BASE_TRACES = TEMPLATES * _TRACES
BASE_SPANS = _BASE_TRACES * SPANS_A_TRACE
_BASE_SECONDS = 120.0
# Each backend copies on a core of its own.
_CONNECTIONS = 2

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Spans:
    """A Postgres with a database full of spans, to make working copies of."""

    databases: Databases
    count: int
    _source: str

    @contextlib.asynccontextmanager
    async def fresh(self, name: str) -> AsyncIterator[str]:
        """Give the URL of a database with all of the spans, which is dropped at the end."""
        drop = f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
        await _execute(self.databases, drop)
        copy = f"CREATE DATABASE {name} TEMPLATE {self._source} STRATEGY file_copy"
        await _execute(self.databases, copy)
        try:
            yield self.databases.url(name)
        finally:
            await _execute(self.databases, drop)


@contextlib.asynccontextmanager
async def running_spans(folder: Path, count: int, say: Say) -> AsyncIterator[Spans]:
    """Run a Postgres in *folder* whose database holds at least *count* spans.

    What a run before this one has left in *folder* is used again.
    """
    source = f"spans_{count}"
    async with running_postgres(folder) as databases:
        async with connected(databases.url("tracequill")) as connection:
            made = {row["datname"] for row in await connection.fetch(_DATABASES)}
        if source not in made:
            if "phoenix_template" not in made:
                say("making Phoenix's tables")
                await databases.make_template()
            began = time.monotonic()
            say(f"storing {count:,} spans")
            await _make(databases, folder, source, count)
            say(f"stored in {time.monotonic() - began:.0f} s")
        async with connected(databases.url(source)) as connection:
            stored = await connection.fetchval("SELECT count(*) FROM spans")
        yield Spans(databases, stored, source)


_DATABASES = "SELECT datname FROM pg_database"


async def _execute(databases: Databases, statement: str) -> None:
    async with connected(databases.url("tracequill")) as connection:
        await connection.execute(statement)


async def _make(databases: Databases, folder: Path, source: str, count: int) -> None:
    """Make the database under another name first: one that was given up is none."""
    async with databases.fresh("spans_unfinished") as url:
        await _store_base(url, folder)
        copies = -(-count // BASE_SPANS)
        async with connected(url) as connection:
            await connection.execute(_TAKE_BASE)
        async with asyncio.TaskGroup() as tasks:
            for first in range(_CONNECTIONS):
                tasks.create_task(_copy(url, range(first, copies, _CONNECTIONS), copies))
        async with connected(url) as connection:
            await _settle(connection)
        await _execute(databases, f"ALTER DATABASE spans_unfinished RENAME TO {source}")
        await _execute(databases, "CREATE DATABASE spans_unfinished")  # for its end to drop
        await _execute(databases, "CHECKPOINT")


async def _store_base(url: str, folder: Path) -> None:
    """Have receiver and exporter store the spans that are copied."""
    data_dir = folder / "collector"
    data_dir.mkdir(exist_ok=True)
    async with running_collector(data_dir, url) as collector, watched(url) as progress:
        order = Order(
            address=collector.grpc_address,
            salt=new_salt(),
            traces=_TRACES,
            in_flight=2,
            seconds=_BASE_SECONDS,
            spans=BASE_SPANS,
        )
        async with sending(order, folder) as sender:
            report = await sender.result()
        await until_stored(progress, report.acknowledged_spans, _BASE_SECONDS)


async def _copy(url: str, turns: range, copies: int) -> None:
    async with connected(url) as connection:
        # The rows that foreign keys point to are written by the same statements.
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("SET synchronous_commit = off")
        for turn in turns:
            values = (turn, DAYS * 86_400.0 * (turn / copies - 1))
            seconds = DAYS * 86_400.0 / (copies * _BASE_TRACES)
            await connection.execute(_COPY_SESSIONS, turn)
            await connection.execute(_COPY_TRACES, *values, seconds)
            await connection.execute(_COPY_SPANS, turn)
            await connection.execute(_COPY_COSTS, turn)


async def _settle(connection: Connection) -> None:
    for table in ("project_sessions", "traces", "spans", "span_costs"):
        await connection.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
        )
        await connection.execute(f"VACUUM (ANALYZE) {table}")
    await connection.execute("DROP SCHEMA base CASCADE")


# Places are numbers from 0 without a gap: a copy's ids follow from its turn and the place.
_TAKE_BASE = """
CREATE SCHEMA base;
CREATE TABLE base.sessions AS
    SELECT s.*, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS places
    FROM project_sessions AS s;
CREATE TABLE base.traces AS
    SELECT t.*, s.place AS session_place,
           row_number() OVER (ORDER BY s.place, t.start_time, t.id) - 1 AS place,
           count(*) OVER () AS places
    FROM traces AS t JOIN base.sessions AS s ON s.id = t.project_session_rowid;
CREATE TABLE base.spans AS
    SELECT s.*, t.place AS trace_place, s.start_time - t.start_time AS after,
           row_number() OVER (ORDER BY t.place, s.start_time, s.id) - 1 AS place,
           count(*) OVER () AS places
    FROM spans AS s JOIN base.traces AS t ON t.id = s.trace_rowid;
CREATE TABLE base.costs AS
    SELECT c.*, s.place AS span_place, s.trace_place,
           row_number() OVER (ORDER BY s.place) - 1 AS place, count(*) OVER () AS places
    FROM span_costs AS c JOIN base.spans AS s ON s.id = c.span_rowid;
ANALYZE base.sessions, base.traces, base.spans, base.costs;
TRUNCATE project_sessions, traces, spans, span_costs CASCADE;
"""
_COPY_SESSIONS = """
INSERT INTO project_sessions (id, session_id, project_id, start_time, end_time)
SELECT $1::int * places + place + 1, left(md5($1::int || session_id), 16), project_id, now(), now()
FROM base.sessions
"""
_COPY_TRACES = """
WITH copied AS (
    INSERT INTO traces (
        id, project_rowid, trace_id, start_time, end_time, project_session_rowid)
    SELECT $1::int * t.places + t.place + 1, t.project_rowid, md5($1::int || t.trace_id),
           now() + make_interval(secs => $2::float8 + t.place * $3::float8),
           now() + make_interval(secs => $2::float8 + t.place * $3::float8)
               + (t.end_time - t.start_time),
           $1::int * s.places + s.place + 1
    FROM base.traces AS t JOIN base.sessions AS s ON s.place = t.session_place
    RETURNING project_session_rowid, start_time, end_time)
UPDATE project_sessions AS s SET start_time = c.start_time, end_time = c.end_time
FROM (SELECT project_session_rowid AS id, min(start_time) AS start_time, max(end_time) AS end_time
      FROM copied GROUP BY project_session_rowid) AS c
WHERE s.id = c.id
"""
_COPY_SPANS = """
INSERT INTO spans (
    id, trace_rowid, span_id, parent_id, name, span_kind, start_time, end_time, attributes, events,
    status_code, status_message, cumulative_error_count, cumulative_llm_token_count_prompt,
    cumulative_llm_token_count_completion, llm_token_count_prompt, llm_token_count_completion)
SELECT $1::int * s.places + s.place + 1, t.id, left(md5($1::int || s.span_id), 16),
       left(md5($1::int || s.parent_id), 16), s.name, s.span_kind, t.start_time + s.after,
       t.start_time + s.after + (s.end_time - s.start_time),
       jsonb_set(s.attributes, '{session,id}',
                 to_jsonb(left(md5($1::int || (s.attributes #>> '{session,id}')), 16))),
       s.events, s.status_code, s.status_message, s.cumulative_error_count,
       s.cumulative_llm_token_count_prompt, s.cumulative_llm_token_count_completion,
       s.llm_token_count_prompt, s.llm_token_count_completion
FROM base.spans AS s
JOIN base.traces AS b ON b.place = s.trace_place
JOIN traces AS t ON t.id = $1::int * b.places + b.place + 1
"""
_COPY_COSTS = """
INSERT INTO span_costs (
    id, span_rowid, trace_rowid, model_id, span_start_time, total_cost, total_tokens, prompt_cost,
    prompt_tokens, completion_cost, completion_tokens)
SELECT $1::int * c.places + c.place + 1, s.id, s.trace_rowid, c.model_id, s.start_time,
       c.total_cost, c.total_tokens, c.prompt_cost, c.prompt_tokens, c.completion_cost,
       c.completion_tokens
FROM base.costs AS c
JOIN base.spans AS b ON b.place = c.span_place
JOIN spans AS s ON s.id = $1::int * b.places + b.place + 1
"""
