"""Asks Phoenix itself, and reads what a database holds so that two of them can be compared."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg

Rows = dict[str, list[tuple[Any, ...]]]

# What a row is and belongs to, without surrogate keys, creation times and gradient colours.
_ROWS = {
    "projects": "SELECT name, description, trace_retention_policy_id FROM projects",
    "project_sessions": """
        SELECT s.session_id, p.name, s.start_time, s.end_time
        FROM project_sessions s JOIN projects p ON p.id = s.project_id
    """,
    "traces": """
        SELECT t.trace_id, p.name, s.session_id, t.start_time, t.end_time
        FROM traces t
        JOIN projects p ON p.id = t.project_rowid
        LEFT JOIN project_sessions s ON s.id = t.project_session_rowid
    """,
    "spans": """
        SELECT s.span_id, t.trace_id, s.parent_id, s.name, s.span_kind, s.start_time, s.end_time,
            s.attributes::text, s.events::text, s.status_code, s.status_message,
            s.cumulative_error_count, s.cumulative_llm_token_count_prompt,
            s.cumulative_llm_token_count_completion, s.llm_token_count_prompt,
            s.llm_token_count_completion
        FROM spans s JOIN traces t ON t.id = s.trace_rowid
    """,
    "span_costs": """
        SELECT s.span_id, t.trace_id, c.span_start_time, m.name, m.provider, m.is_built_in,
            c.total_cost, c.total_tokens, c.prompt_cost, c.prompt_tokens, c.completion_cost,
            c.completion_tokens
        FROM span_costs c
        JOIN spans s ON s.id = c.span_rowid
        JOIN traces t ON t.id = c.trace_rowid
        LEFT JOIN generative_models m ON m.id = c.model_id
    """,
    "span_cost_details": """
        SELECT s.span_id, d.token_type, d.is_prompt, d.cost, d.tokens, d.cost_per_token
        FROM span_cost_details d
        JOIN span_costs c ON c.id = d.span_cost_id
        JOIN spans s ON s.id = c.span_rowid
    """,
}


EMPTY = """
    DELETE FROM traces; DELETE FROM project_sessions; DELETE FROM projects WHERE name <> 'default'
"""
"""Takes away all that was stored, but not the project and the prices that Phoenix begins with."""

NOT_COMPARED = {
    "projects": {"id", "created_at", "updated_at", "gradient_start_color", "gradient_end_color"},
    "project_sessions": {"id", "project_id"},
    "traces": {"id", "project_rowid", "project_session_rowid"},
    "spans": {"id", "trace_rowid"},
    "span_costs": {"id", "span_rowid", "trace_rowid", "model_id"},
    "span_cost_details": {"id", "span_cost_id"},
}
"""Surrogate keys, times of writing and colours; a foreign key is compared by what it leads to."""


async def compared_columns(database: str) -> dict[str, tuple[set[str], set[str]]]:
    """Give, for each table, all its columns and those that are compared."""
    connection = await asyncpg.connect(database)
    try:
        return {
            table: (
                {
                    record["column_name"]
                    for record in await connection.fetch(
                        "SELECT column_name FROM information_schema.columns "
                        "WHERE table_schema = current_schema() AND table_name = $1",
                        table,
                    )
                },
                {column.name for column in (await connection.prepare(query)).get_attributes()},
            )
            for table, query in _ROWS.items()
        }
    finally:
        await connection.close()


class Phoenix:
    """Phoenix's own code in a process of its own, for as long as the test run."""

    def __init__(self, folder: Path) -> None:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PHOENIX")},
            "PHOENIX_WORKING_DIR": str(folder),
        }
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("phoenix_oracle.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                text=True,
            )
        self._log = folder / "log"
        self._line()

    def ingest(self, database: str, requests: Sequence[tuple[bytes, str | None]]) -> None:
        """Store *requests* in order, each with its project header, by Phoenix's own ingestion."""
        self._ask(
            {
                "ingest": [
                    (base64.b64encode(payload).decode(), project) for payload, project in requests
                ],
                "database": database,
            }
        )

    def migrate(self, database: str, revision: str) -> str:
        """Run Phoenix's migrations to ``head``, or down to *revision*; give the revision then."""
        reached: str = self._ask({"migrate": revision, "database": database})
        return reached

    def unflatten(self, cases: Sequence[Sequence[tuple[str, Any]]]) -> list[Any]:
        """Nest the attributes of each case; the name of the error where Phoenix raises."""
        found: list[Any] = self._ask({"unflatten": cases})
        return found

    def specificity(self, patterns: Sequence[str]) -> list[int]:
        """Score name patterns."""
        found: list[int] = self._ask({"specificity": list(patterns)})
        return found

    def close(self) -> None:
        """End the process; to let it tidy up by itself would take seconds."""
        assert self._process.stdin and self._process.stdout
        self._process.kill()
        self._process.wait(30)
        self._process.stdin.close()
        self._process.stdout.close()

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._line())

    def _line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"Phoenix has ended:\n{self._log.read_text()[-4000:]}"
        return line


async def execute(statements: str, *databases: str) -> None:
    """Run *statements* in each of *databases*."""
    for url in databases:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statements)
        finally:
            await connection.close()


async def stored_rows(database: str) -> Rows:
    """Give all rows of the six tables in a form and an order that can be compared."""
    connection = await asyncpg.connect(database)
    try:
        return {
            table: sorted(
                (
                    tuple(_comparable(column, value) for column, value in record.items())
                    for record in await connection.fetch(query)
                ),
                key=repr,
            )
            for table, query in _ROWS.items()
        }
    finally:
        await connection.close()


def _comparable(column: str, value: Any) -> Any:
    # Phoenix walks attributes in the order of a set of strings, which differs from process to
    # process. So do the last digits of a sum of costs, and the order of keys in an input that it
    # writes as JSON.
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if column == "attributes":
        attributes = json.loads(value)
        given = attributes.get("input")
        if isinstance(given, dict) and given.get("mime_type") == "application/json":
            with suppress(KeyError, TypeError, ValueError):
                given["value"] = json.loads(given["value"])
        return json.dumps(attributes, sort_keys=True)
    return value


def assert_same_rows(ours: Rows, theirs: Rows) -> None:
    """Fail with the first rows of each table that only one of the two has."""
    differences = [
        f"{table}: {whose} {row}"
        for table in _ROWS
        for whose, left, right in (
            ("only ours  ", ours[table], theirs[table]),
            ("only theirs", theirs[table], ours[table]),
        )
        for row in [row for row in left if row not in right][:3]
    ]
    assert not differences, "\n".join(differences)
    assert ours == theirs
