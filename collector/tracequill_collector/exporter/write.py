"""A batch becomes one transaction: rows enter, they are stored when it commits.

Runs the statements of ``queries.sql`` in their fixed order; what to write is decided in
``rows.py``. Knows nothing of retries.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from tracequill_collector.errors import RetryableError
from tracequill_collector.exporter import rows
from tracequill_collector.exporter.connection import Connection, transaction_settings
from tracequill_collector.exporter.cost import SpanCost
from tracequill_collector.exporter.queries import QUERIES
from tracequill_collector.exporter.replace import recount, rewrite_spans
from tracequill_collector.exporter.rows import Counts, Plan, Rejected, SpanRow, StoredTrace
from tracequill_collector.exporter.schema import SchemaError, schema_problem

_NO_TABLES = "Phoenix has not made its tables in this database yet. Start Phoenix: it makes them."


# Of a row of any table but those of costs, whose ids have eight bytes.
_MAX_ID = 2**31 - 1


def _no_ids_left() -> Exception:
    """Give the error of a sequence at its end: one that was made longer than its column ends so."""
    return asyncpg.SequenceGeneratorLimitExceededError("ids do not fit their column")


class OvertakenError(RetryableError):
    """Another exporter stored the same trace or span at the same moment; the next try sees it."""


@dataclass(slots=True)
class Written:
    """What one transaction stored."""

    spans: int = 0
    seen_before: int = 0
    replaced: int = 0
    project_ids: set[int] = field(default_factory=set)
    """The projects that have new or changed spans."""
    rejected: list[Rejected] = field(default_factory=list)


@asynccontextmanager
async def transaction(connection: Connection, schema: str | None) -> AsyncIterator[None]:
    """Commit what is done inside, with our settings; on an error nothing was done."""
    opened = connection.transaction()
    await opened.start()
    try:
        await connection.execute(transaction_settings(schema))
        yield
    except (TimeoutError, asyncio.CancelledError):
        # Nobody answers: a rollback would wait for an answer as long again, and no connection, no
        # transaction.
        connection.terminate()
        raise
    except BaseException:
        await opened.rollback()
        raise
    await opened.commit()


async def check_schema(connection: Connection) -> None:
    """Raise SchemaError unless the tables are known and the prices are there."""
    try:
        await connection.execute(QUERIES["lock_read_tables"])
        state = await connection.fetchrow(QUERIES["schema_state"])
    except asyncpg.UndefinedTableError:
        raise SchemaError(_NO_TABLES) from None
    assert state is not None
    if problem := schema_problem(state["revisions"], has_prices=state["has_prices"]):
        raise SchemaError(problem)


async def lock_schema(connection: Connection) -> None:
    """Keep migrations out until the end of the transaction, then check as ``check_schema``.

    In this order nobody can migrate between the check and the writing.
    """
    try:
        await connection.execute(QUERIES["lock_tables"])
    except asyncpg.UndefinedTableError:
        raise SchemaError(_NO_TABLES) from None
    await check_schema(connection)


async def write(
    connection: Connection, batch: Sequence[SpanRow], *, is_replacing: bool = False
) -> Written:
    """Store *batch* in the transaction that is open on *connection*, whose schema is locked.

    Spans that are stored already stay as they are, or are written anew where *is_replacing*.
    """
    trace_ids = sorted({row.span.trace_id for row in batch})
    stored = {
        record["trace_id"]: StoredTrace(*tuple(record)[1:])
        for record in await connection.fetch(QUERIES["lock_traces"], trace_ids)
    }
    span_ids = sorted({row.span.span_id for row in batch})
    known = await connection.fetch(QUERIES["known_spans"], span_ids)
    found = rows.sort_out(batch, {record["span_id"]: record["trace_id"] for record in known})
    plan = rows.plan(found.kept, stored)

    try:
        project_ids = await _projects(connection, plan)
        session_ids = await _sessions(connection, plan, project_ids)
        trace_rowids = await _traces(connection, plan, project_ids, session_ids)
    except asyncpg.NumericValueOutOfRangeError as error:
        # Their rows have no number but ids, so it is no span's fault.
        raise _no_ids_left() from error
    await _widen_sessions(connection, plan, session_ids)
    span_rowids = await _spans(connection, found.new, plan, trace_rowids)
    written = found.new
    changed = list(found.changed.values()) if is_replacing else []
    if changed:
        rewritten = await rewrite_spans(connection, changed)
        if len(rewritten) < len(changed):
            raise OvertakenError("a span was deleted while it was written anew.")
        span_rowids |= rewritten
        written = [row for row in written if row.span.span_id not in found.changed] + changed
    await _costs(connection, written, trace_rowids, span_rowids)
    if changed:
        await recount(connection, {trace_rowids[row.span.trace_id] for row in changed})
    replaced = len(written) - len(found.new)
    return Written(
        spans=len(found.new),
        seen_before=len(found.kept) - len(found.new) - replaced,
        replaced=replaced,
        project_ids={_project_id(plan.traces[row.span.trace_id], project_ids) for row in written},
        rejected=found.rejected,
    )


async def _projects(connection: Connection, plan: Plan) -> dict[str, int]:
    """Give the row ids of the projects of new traces, made where they are missing."""

    async def insert(missing: list[str]) -> list[asyncpg.Record]:
        colours = [rows.gradient(name) for name in missing]
        return await connection.fetch(
            QUERIES["insert_projects"],
            missing,
            [start for start, _ in colours],
            [end for _, end in colours],
        )

    names = {trace.project_name for trace in plan.new_traces}
    return await _find_or_insert(connection, "find_projects", names, insert)


async def _sessions(
    connection: Connection, plan: Plan, project_ids: Mapping[str, int]
) -> dict[str, int]:
    """Give the row ids of the sessions that traces get, made where they are missing."""

    async def insert(missing: list[str]) -> list[asyncpg.Record]:
        sessions = [plan.sessions[session_id] for session_id in missing]
        return await connection.fetch(
            QUERIES["insert_sessions"],
            missing,
            [_project_id(session.first_trace, project_ids) for session in sessions],
            [session.start_time for session in sessions],
            [session.end_time for session in sessions],
        )

    return await _find_or_insert(connection, "find_sessions", plan.sessions.keys(), insert)


async def _find_or_insert(
    connection: Connection, find: str, keys: Collection[str], insert: Any
) -> dict[str, int]:
    if not keys:
        return {}
    wanted = sorted(keys)
    found: dict[str, int] = {
        key: rowid for key, rowid in await connection.fetch(QUERIES[find], wanted)
    }
    if missing := [key for key in wanted if key not in found]:
        found.update((key, rowid) for key, rowid in await insert(missing))
    if missing := [key for key in missing if key not in found]:
        # Made by somebody else since: a statement that begins now sees it.
        found.update((key, rowid) for key, rowid in await connection.fetch(QUERIES[find], missing))
    if len(found) < len(wanted):
        raise OvertakenError("a project or session was made and deleted while it was looked for.")
    return found


def _project_id(trace: rows.TraceRow, project_ids: Mapping[str, int]) -> int:
    return trace.stored.project_id if trace.stored else project_ids[trace.project_name]


async def _traces(
    connection: Connection,
    plan: Plan,
    project_ids: Mapping[str, int],
    session_ids: Mapping[str, int],
) -> dict[str, int]:
    """Write the traces; give the row ids of all of them."""
    rowids = {trace_id: trace.stored.id for trace_id, trace in plan.traces.items() if trace.stored}
    if new := plan.new_traces:
        inserted = await connection.fetch(
            QUERIES["insert_traces"],
            [trace.trace_id for trace in new],
            [project_ids[trace.project_name] for trace in new],
            [session_ids.get(trace.session_id) for trace in new],
            [trace.start_time for trace in new],
            [trace.end_time for trace in new],
        )
        if len(inserted) < len(new):
            raise OvertakenError("another exporter began the same trace at the same moment.")
        rowids.update((record["trace_id"], record["id"]) for record in inserted)
    if changed := plan.changed_traces:
        await connection.execute(
            QUERIES["update_traces"],
            [rowids[trace.trace_id] for trace in changed],
            [session_ids.get(trace.session_id) for trace in changed],
            [trace.start_time for trace in changed],
            [trace.end_time for trace in changed],
        )
    return rowids


async def _widen_sessions(
    connection: Connection, plan: Plan, session_ids: Mapping[str, int]
) -> None:
    ranges = dict(plan.session_ranges)
    for session in plan.sessions.values():
        rowid = session_ids[session.session_id]
        start, end = ranges.get(rowid, (session.start_time, session.end_time))
        ranges[rowid] = min(start, session.start_time), max(end, session.end_time)
    if ranges:
        await connection.execute(
            QUERIES["widen_sessions"],
            list(ranges),
            [start for start, _ in ranges.values()],
            [end for _, end in ranges.values()],
        )


async def _spans(
    connection: Connection,
    new: Sequence[SpanRow],
    plan: Plan,
    trace_rowids: Mapping[str, int],
) -> dict[str, int]:
    """Write the new spans and what they add to their ancestors; give the row ids."""
    if not new:
        return {}
    below, ancestors = await _relatives(connection, new, plan)
    cumulative, gained = rows.roll_up(new, below, ancestors)
    rowids = await connection.fetchval(QUERIES["take_span_ids"], len(new))
    if rowids[-1] > _MAX_ID:
        raise _no_ids_left()
    # In the order of their ids, as other statements take their rows: whoever stores the same
    # span under another trace waits for us, and never we for him as well.
    ordered = sorted(new, key=_span_id)
    await _copy(
        connection,
        "spans",
        _SPAN_COLUMNS,
        [
            _span_values(row, rowid, trace_rowids[row.span.trace_id], cumulative[row.span.span_id])
            for row, rowid in zip(ordered, rowids, strict=True)
        ],
    )
    if gained:
        await connection.execute(
            QUERIES["add_to_ancestors"],
            list(gained),
            [counts.errors for counts in gained.values()],
            [counts.prompt_tokens for counts in gained.values()],
            [counts.completion_tokens for counts in gained.values()],
        )
    return {row.span.span_id: rowid for row, rowid in zip(ordered, rowids, strict=True)}


def _span_id(row: SpanRow) -> str:
    return row.span.span_id


async def _relatives(
    connection: Connection, new: Sequence[SpanRow], plan: Plan
) -> tuple[dict[str, Counts], list[rows.StoredSpan]]:
    """Fetch what is stored above and below the new spans; a new trace has nothing stored."""
    late = [row for row in new if plan.traces[row.span.trace_id].stored]
    if not late:
        return {}, []
    rowids = {trace_id: trace.stored.id for trace_id, trace in plan.traces.items() if trace.stored}
    trace_of = {row.span.span_id: row.span.trace_id for row in late}
    below = {
        record["parent_id"]: Counts(
            record["errors"], record["prompt_tokens"], record["completion_tokens"]
        )
        for record in await connection.fetch(
            QUERIES["counts_below"],
            sorted({rowids[trace] for trace in trace_of.values()}),
            list(trace_of),
        )
        if trace_of[record["parent_id"]] == record["trace_id"]
    }
    parents = {
        (rowids[row.span.trace_id], row.span.parent_id)
        for row in late
        if row.span.parent_id and row.span.parent_id not in trace_of
    }
    if not parents or not (any(any(row.own) for row in late) or any(map(any, below.values()))):
        return below, []
    found = await connection.fetch(
        QUERIES["ancestors"], [trace for trace, _ in parents], [parent for _, parent in parents]
    )
    return below, [rows.StoredSpan(*record) for record in found]


_SPAN_COLUMNS = (
    "id",
    "trace_rowid",
    "span_id",
    "parent_id",
    "name",
    "span_kind",
    "start_time",
    "end_time",
    "attributes",
    "events",
    "status_code",
    "status_message",
    "cumulative_error_count",
    "cumulative_llm_token_count_prompt",
    "cumulative_llm_token_count_completion",
    "llm_token_count_prompt",
    "llm_token_count_completion",
)


def _span_values(row: SpanRow, rowid: int, trace_rowid: int, cumulative: Counts) -> tuple[Any, ...]:
    """Give a row of ``spans``, in the order of ``_SPAN_COLUMNS``."""
    span = row.span
    return (
        rowid,
        trace_rowid,
        span.span_id,
        span.parent_id,
        span.name,
        span.span_kind,
        row.start_time,
        row.end_time,
        row.attributes_json,
        row.events_json,
        span.status_code,
        span.status_message,
        *cumulative,
        row.llm_token_count_prompt,
        row.llm_token_count_completion,
    )


async def _costs(
    connection: Connection,
    new: Sequence[SpanRow],
    trace_rowids: Mapping[str, int],
    span_rowids: Mapping[str, int],
) -> None:
    priced: list[tuple[SpanRow, SpanCost]] = [(row, row.cost) for row in new if row.cost]
    if not priced:
        return
    cost_ids = await connection.fetchval(QUERIES["take_cost_ids"], len(priced))
    costs = [
        (
            cost_id,
            span_rowids[row.span.span_id],
            trace_rowids[row.span.trace_id],
            row.start_time,
            cost.model_id,
            cost.total_cost,
            cost.total_tokens,
            cost.prompt_cost,
            cost.prompt_tokens,
            cost.completion_cost,
            cost.completion_tokens,
        )
        for cost_id, (row, cost) in zip(cost_ids, priced, strict=True)
    ]
    details = [
        (
            cost_id,
            detail.token_type,
            detail.is_prompt,
            detail.cost,
            detail.tokens,
            detail.cost_per_token,
        )
        for cost_id, (_, cost) in zip(cost_ids, priced, strict=True)
        for detail in cost.details
    ]
    await _copy(connection, "span_costs", _COST_COLUMNS, costs)
    await _copy(connection, "span_cost_details", _DETAIL_COLUMNS, details)


_COST_COLUMNS = (
    "id",
    "span_rowid",
    "trace_rowid",
    "span_start_time",
    "model_id",
    "total_cost",
    "total_tokens",
    "prompt_cost",
    "prompt_tokens",
    "completion_cost",
    "completion_tokens",
)
_DETAIL_COLUMNS = ("span_cost_id", "token_type", "is_prompt", "cost", "tokens", "cost_per_token")


async def _copy(
    connection: Connection, table: str, columns: Sequence[str], records: list[tuple[Any, ...]]
) -> None:
    """Append *records* to *table*: a quarter less work for Postgres than any INSERT of them.

    Raises as a statement does, also for what cannot even be sent.
    """
    try:
        await connection.copy_records_to_table(table, columns=columns, records=records)
    except OverflowError as error:
        raise asyncpg.NumericValueOutOfRangeError(f"a number of {table} is too large") from error
    except (TypeError, ValueError) as error:
        raise asyncpg.DataError(f"a value of {table} has the wrong form") from error
