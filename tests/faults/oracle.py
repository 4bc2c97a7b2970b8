"""Conservation: what was promised is stored once and unchanged, and nothing else is.

The oracle reads Postgres and the ledger of the load. It is never stopped, and uses none of the
code it judges.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from tests.faults.load import PROJECT, Ledger, Plan

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_SPANS = """
SELECT s.*, t.trace_id, t.start_time AS trace_start, t.end_time AS trace_end,
    t.project_session_rowid, p.name AS project_name
FROM spans AS s
JOIN traces AS t ON t.id = s.trace_rowid
JOIN projects AS p ON p.id = t.project_rowid
"""
_COSTS = """
SELECT c.*, (SELECT count(*) FROM span_cost_details AS d WHERE d.span_cost_id = c.id) AS details
FROM span_costs AS c
"""


async def missing(connection: asyncpg.Connection[Any], ledger: Ledger) -> set[str]:
    """The obligations that are not stored yet."""
    stored = await connection.fetch("SELECT span_id FROM spans")
    return ledger.obligations - {row["span_id"] for row in stored}


async def judge(connection: asyncpg.Connection[Any], ledger: Ledger) -> list[str]:
    """Give every way in which the database and the ledger differ, as sentences."""
    rows = await connection.fetch(_SPANS)
    return [
        *_kept(rows, ledger),
        *_unchanged(rows, ledger),
        *_summed(rows),
        *_ranges(rows),
        *_sessions(rows, await connection.fetch("SELECT * FROM project_sessions"), ledger),
        *_costs(rows, await connection.fetch(_COSTS), ledger),
        *(ledger.refusals),
    ]


def _kept(rows: Sequence[asyncpg.Record], ledger: Ledger) -> Iterable[str]:
    stored = [row["span_id"] for row in rows]
    if lost := ledger.obligations - set(stored):
        yield f"{len(lost)} of {len(ledger.obligations)} obligations are lost, as {min(lost)}"
    if invented := set(stored) - ledger.sent.keys():
        yield f"{len(invented)} spans are stored that nobody sent, as {min(invented)}"
    if len(stored) != len(set(stored)):
        yield f"{len(stored) - len(set(stored))} spans are stored twice"


def _unchanged(rows: Sequence[asyncpg.Record], ledger: Ledger) -> Iterable[str]:
    for row in rows:
        plan = ledger.sent.get(row["span_id"])
        if plan is None:
            continue
        found = {name: row[name] for name in _expected(plan)}
        found["attributes"] = json.loads(row["attributes"])
        found["events"] = json.loads(row["events"])
        for name, value in _expected(plan).items():
            if found[name] != value:
                yield f"{row['span_id']}: {name} is {found[name]!r}, sent was {value!r}"


def _expected(plan: Plan) -> dict[str, Any]:
    return {
        "trace_id": plan.trace_id,
        "parent_id": plan.parent_id,
        "name": plan.name,
        "span_kind": "LLM" if plan.is_llm else "CHAIN",
        "start_time": _moment(plan.start_time_unix_ns),
        "end_time": _moment(plan.end_time_unix_ns),
        "attributes": plan.attributes,
        "events": [],
        "status_code": "ERROR" if plan.is_error else "OK",
        "status_message": "",
        "llm_token_count_prompt": plan.prompt_tokens if plan.is_llm else None,
        "llm_token_count_completion": plan.completion_tokens if plan.is_llm else None,
        "project_name": PROJECT,
    }


def _summed(rows: Sequence[asyncpg.Record]) -> Iterable[str]:
    """Each span counts itself and all that hangs below it."""
    children: dict[str, list[asyncpg.Record]] = defaultdict(list)
    for row in rows:
        if row["parent_id"]:
            children[row["parent_id"]].append(row)
    for row in rows:
        below, waiting = [row], [row]
        while waiting:
            found = children[waiting.pop()["span_id"]]
            below += found
            waiting += found
        sums = (
            sum(item["status_code"] == "ERROR" for item in below),
            sum(item["llm_token_count_prompt"] or 0 for item in below),
            sum(item["llm_token_count_completion"] or 0 for item in below),
        )
        stored = (
            row["cumulative_error_count"],
            row["cumulative_llm_token_count_prompt"],
            row["cumulative_llm_token_count_completion"],
        )
        if stored != sums:
            yield f"{row['span_id']}: errors and tokens below are {stored}, should be {sums}"


def _ranges(rows: Sequence[asyncpg.Record]) -> Iterable[str]:
    """Each trace reaches from its first span to its last."""
    traces: dict[str, list[asyncpg.Record]] = defaultdict(list)
    for row in rows:
        traces[row["trace_id"]].append(row)
    for trace_id, spans in traces.items():
        wanted = (min(row["start_time"] for row in spans), max(row["end_time"] for row in spans))
        if (spans[0]["trace_start"], spans[0]["trace_end"]) != wanted:
            yield f"trace {trace_id} has not the range of its spans"


def _sessions(
    rows: Sequence[asyncpg.Record], sessions: Sequence[asyncpg.Record], ledger: Ledger
) -> Iterable[str]:
    """Each session is there once, with the traces that named it and their range."""
    named: dict[str, list[asyncpg.Record]] = defaultdict(list)
    for row in rows:
        if plan := ledger.sent.get(row["span_id"]):
            named[plan.session_id].append(row)
    stored = {row["session_id"]: row for row in sessions}
    if stored.keys() != named.keys() or len(stored) != len(sessions):
        yield f"{len(sessions)} sessions are stored, {len(named)} were sent"
    for session_id, spans in named.items():
        session = stored.get(session_id)
        if session is None:
            continue
        if {row["project_session_rowid"] for row in spans} != {session["id"]}:
            yield f"{session_id} has not all of its traces"
        wanted = (min(row["start_time"] for row in spans), max(row["end_time"] for row in spans))
        if (session["start_time"], session["end_time"]) != wanted:
            yield f"{session_id} has not the range of its traces"


def _costs(
    rows: Sequence[asyncpg.Record], costs: Sequence[asyncpg.Record], ledger: Ledger
) -> Iterable[str]:
    """Each LLM span has one cost, of its own tokens."""
    found: dict[int, list[asyncpg.Record]] = defaultdict(list)
    for cost in costs:
        found[cost["span_rowid"]].append(cost)
    for row in rows:
        plan = ledger.sent.get(row["span_id"])
        if plan is None:
            continue
        own = found.pop(row["id"], [])
        wanted = [(plan.prompt_tokens, plan.completion_tokens, 2)] if plan.is_llm else []
        stored = [
            (cost["prompt_tokens"], cost["completion_tokens"], cost["details"]) for cost in own
        ]
        if stored != wanted:
            yield f"{row['span_id']}: its costs are {stored}, should be {wanted}"
        if any(not cost["total_cost"] for cost in own):
            yield f"{row['span_id']}: its cost is none"
    if found:
        yield f"{len(found)} costs belong to no span"


def _moment(unix_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=unix_ns // 1000)
