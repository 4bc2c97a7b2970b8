"""Small spans, made by hand, and a look at what became of them."""

from __future__ import annotations

from tracequill_collector.exporter.connection import Connection
from tracequill_collector.pipeline import Span

SECOND = 1_000_000_000
BEGIN = 1_770_000_000 * SECOND


def span(number: int, *, trace: int = 1, parent: int = 0, tokens: int = 0, **given: object) -> Span:
    """Give a span of ten seconds; with *tokens* it is a call of a model that has prices."""
    fields: dict[str, object] = {
        "trace_id": f"{trace:032x}",
        "span_id": f"{number:016x}",
        "parent_id": f"{parent:016x}" if parent else None,
        "name": "before",
        "span_kind": "LLM" if tokens else "CHAIN",
        "start_time_unix_ns": BEGIN + number * SECOND,
        "end_time_unix_ns": BEGIN + (number + 10) * SECOND,
        "attributes": llm(tokens) if tokens else {},
        "events": [],
        "status_code": "OK",
        "status_message": "",
        "project_name": "app",
    }
    return Span(**(fields | given))  # type: ignore[arg-type]


def llm(tokens: int) -> dict[str, object]:
    """Give the attributes of a call with *tokens* on each side."""
    return {
        "openinference": {"span": {"kind": "LLM"}},
        "llm": {"model_name": "gpt-4o", "token_count": {"prompt": tokens, "completion": tokens}},
    }


def session(name: str) -> dict[str, object]:
    """Give the attributes of a span of session *name*."""
    return {"session": {"id": name}}


async def rows_of(database: Connection, query: str, *arguments: object) -> list[tuple[object, ...]]:
    """Give what *query* finds."""
    return [tuple(record) for record in await database.fetch(query, *arguments)]
