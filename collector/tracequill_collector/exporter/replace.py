"""Stored spans are written anew, in place: rows enter, and sums and ranges are right afterwards.

Runs inside a transaction whose traces are locked. A span keeps its row id, and with it what people
have attached to it; the project and the session of its trace stay.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tracequill_collector.exporter import rows
from tracequill_collector.exporter.connection import Connection
from tracequill_collector.exporter.queries import QUERIES
from tracequill_collector.exporter.rows import CountedSpan, Counts, SpanRow


async def rewrite_spans(connection: Connection, changed: Sequence[SpanRow]) -> dict[str, int]:
    """Write *changed* over what is stored, without their costs; give the row ids by span id."""
    written = await connection.fetch(
        QUERIES["rewrite_spans"],
        [row.span.span_id for row in changed],
        [row.span.parent_id for row in changed],
        [row.span.name for row in changed],
        [row.span.span_kind for row in changed],
        [row.start_time for row in changed],
        [row.end_time for row in changed],
        [row.attributes_json for row in changed],
        [row.events_json for row in changed],
        [row.span.status_code for row in changed],
        [row.span.status_message for row in changed],
        [row.llm_token_count_prompt for row in changed],
        [row.llm_token_count_completion for row in changed],
    )
    rowids = {record["span_id"]: record["id"] for record in written}
    await connection.execute(QUERIES["delete_costs"], list(rowids.values()))
    return rowids


async def recount(connection: Connection, trace_rowids: Collection[int]) -> None:
    """Sum and measure these traces anew, from their spans; and their sessions."""
    wanted = sorted(trace_rowids)
    stored = [
        CountedSpan(
            id=record["id"],
            span_id=record["span_id"],
            parent_id=record["parent_id"],
            trace_rowid=record["trace_rowid"],
            own=Counts(record["errors"], record["prompt_tokens"], record["completion_tokens"]),
            cumulative=Counts(
                record["all_errors"], record["all_prompt_tokens"], record["all_completion_tokens"]
            ),
        )
        for record in await connection.fetch(QUERIES["counted_spans"], wanted)
    ]
    sums = rows.recount(stored)
    if wrong := [span for span in stored if sums[span.id] != span.cumulative]:
        await connection.execute(
            QUERIES["set_sums"],
            [span.id for span in wrong],
            [sums[span.id].errors for span in wrong],
            [sums[span.id].prompt_tokens for span in wrong],
            [sums[span.id].completion_tokens for span in wrong],
        )
    measured = await connection.fetch(QUERIES["measure_traces"], wanted)
    sessions = sorted({rowid for (rowid,) in measured if rowid is not None})
    if sessions:
        await connection.execute(QUERIES["lock_traces_of_sessions"], sessions)
        await connection.execute(QUERIES["lock_sessions"], sessions)
        await connection.execute(QUERIES["measure_sessions"], sessions)
