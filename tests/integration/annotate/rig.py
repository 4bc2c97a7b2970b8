"""Spans to be judged, written straight into Phoenix's tables, and people who judge them."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import orjson

from tests.integration.databases import run
from tests.integration.fixtures_phoenix import PhoenixServer

API = "/tracequill/api"
QUALITY = {
    "name": "quality",
    "kind": "CATEGORICAL",
    "values": [{"label": "good", "score": 1}, {"label": "bad", "score": 0}],
    "direction": "MAXIMIZE",
}
START = datetime(2026, 1, 1, tzinfo=UTC)

Json = dict[str, Any]
_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Call:
    """One LLM call to be written, in a trace of its own or, by name, with others."""

    question: str = "Where is my order?"
    answer: str = "It is on its way."
    trace: str = ""
    session: str = ""
    model: str = "gpt-4o"
    user: str = ""
    kind: str = "LLM"
    status: str = "OK"
    attributes: Json | None = None
    """In place of those that question and answer would give."""


def write_calls(server: PhoenixServer, project: str, calls: Sequence[Call]) -> list[str]:
    """Store calls, each a minute after the one before it; give their span ids."""
    return run(_write(server.database_url, project, calls))


async def _write(url: str, project: str, calls: Sequence[Call]) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        project_id = await connection.fetchval(
            "INSERT INTO projects (name, gradient_start_color, gradient_end_color) "
            "VALUES ($1, '#000000', '#ffffff') "
            "ON CONFLICT (name) DO UPDATE SET name = EXCLUDED.name RETURNING id",
            project,
        )
        return [await _write_call(connection, project_id, project, call) for call in calls]
    finally:
        await connection.close()


async def _write_call(connection: Any, project_id: int, project: str, call: Call) -> str:
    number = next(_NUMBERS)
    start = START + timedelta(minutes=number)
    end = start + timedelta(seconds=2)
    session_rowid = None
    if call.session:
        session_rowid = await connection.fetchval(
            "INSERT INTO project_sessions (session_id, project_id, start_time, end_time) "
            "VALUES ($1, $2, $3, $4) "
            "ON CONFLICT (session_id) DO UPDATE SET end_time = $4 RETURNING id",
            call.session,
            project_id,
            start,
            end,
        )
    trace = f"{project} {call.trace or number}"
    trace_rowid = await connection.fetchval(
        "INSERT INTO traces (trace_id, project_rowid, project_session_rowid, start_time, end_time)"
        " VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (trace_id) DO UPDATE SET end_time = $5 RETURNING id",
        uuid.uuid5(uuid.NAMESPACE_OID, trace).hex,
        project_id,
        session_rowid,
        start,
        end,
    )
    span_id = uuid.uuid4().hex[:16]
    await connection.execute(
        "INSERT INTO spans (trace_rowid, span_id, name, span_kind, start_time, end_time, "
        "attributes, events, status_code, status_message, cumulative_error_count, "
        "cumulative_llm_token_count_prompt, cumulative_llm_token_count_completion) "
        "VALUES ($1, $2, 'ChatCompletion', $3, $4, $5, $6, '[]', $7, '', 0, 0, 0)",
        trace_rowid,
        span_id,
        call.kind,
        start,
        end,
        orjson.dumps(attributes_of(call)).decode(),
        call.status,
    )
    return span_id


def attributes_of(call: Call) -> Json:
    """Give the attributes that an instrumentor would have given the call."""
    if call.attributes is not None:
        return call.attributes
    attributes: Json = {
        "openinference": {"span": {"kind": call.kind}},
        "input": {"value": call.question},
        "output": {"value": call.answer},
        "llm": {
            "model_name": call.model,
            "input_messages": [{"message": {"role": "user", "content": call.question}}],
            "output_messages": [{"message": {"role": "assistant", "content": call.answer}}],
        },
    }
    if call.user:
        attributes["user"] = {"id": call.user}
    if call.session:
        attributes["session"] = {"id": call.session}
    return attributes


class Worker:
    """Somebody who works on queues, with a page's requests."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def call(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        """Give what is answered, below ``data``; all of it where it is refused as expected."""
        content = None if body is None else json.dumps(body)  # a lone surrogate stays escaped
        headers = {"Content-Type": "application/json"}
        answer = self.client.request(method, f"{API}{path}", content=content, headers=headers)
        assert answer.status_code == status, answer.text
        if status == 204:
            return None
        return answer.json()["data"] if answer.is_success else answer.json()

    def get(self, path: str, status: int = 200) -> Any:
        return self.call("GET", path, status=status)

    def post(self, path: str, body: object = None, status: int = 200) -> Any:
        return self.call("POST", path, body if body is not None else {}, status)

    def create(self, name: str, project: str, status: int = 201, **fields: Any) -> Json:
        """Make a queue of a project's final answers."""
        body = {"labels": [QUALITY], "selection": {"project": project}} | fields
        made: Json = self.post("/queues", {"name": name, **body}, status)
        return made

    def lease(self, queue: Json, count: int = 1, **fields: Any) -> list[Json]:
        """Take the next questions."""
        given = self.post(f"/queues/{queue['queue_id']}/lease", {"count": count, **fields})
        items: list[Json] = given["items"]
        return items

    def answer(self, item: Json, label: str = "good", status: int = 200, **fields: Any) -> Json:
        """Answer a question about quality."""
        body = {"answer_id": str(uuid.uuid4()), "values": {"quality": {"label": label}}} | fields
        answered: Json = self.post(f"{path_of(item)}/answer", body, status)
        return answered


def path_of(item: Json) -> str:
    """Give the path of a question."""
    return f"/queues/{item['queue_id']}/items/{item['item_id']}"


@contextmanager
def named(server: PhoenixServer, name: str) -> Iterator[Worker]:
    """Be somebody of this name, where nobody signs in."""
    with server.client() as client:
        worker = Worker(client)
        worker.call("PUT", "/me/name", {"name": name})
        yield worker


def rows(server: PhoenixServer, query: str, *values: Any) -> list[Json]:
    """Give what *query* finds in the server's database."""

    async def fetch() -> list[Json]:
        connection = await asyncpg.connect(server.database_url)
        try:
            return [dict(row) for row in await connection.fetch(query, *values)]
        finally:
            await connection.close()

    return run(fetch())


def span_annotations(server: PhoenixServer, span_id: str) -> list[Json]:
    """Give Phoenix's annotations of a span, as its table holds them."""
    found = rows(
        server,
        "SELECT a.name, a.label, a.score, a.explanation, a.metadata, a.annotator_kind, "
        "a.source, a.identifier, a.user_id FROM span_annotations AS a "
        "JOIN spans AS s ON s.id = a.span_rowid WHERE s.span_id = $1 ORDER BY a.name, a.identifier",
        span_id,
    )
    return [{**row, "metadata": orjson.loads(row["metadata"])} for row in found]
