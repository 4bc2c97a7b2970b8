"""Phoenix's own code, asked over a pipe: one JSON question a line in, one JSON answer a line out.

A process of its own, because importing Phoenix takes 17 s and warns. See ``oracle.py``.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import phoenix.db
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from phoenix.db.bulk_inserter import BulkInserter
from phoenix.db.engines import _dumps, create_engine
from phoenix.server.api.routers.v1.traces import _add_spans
from phoenix.server.app import _db
from phoenix.server.cost_tracking.regex_specificity import score
from phoenix.server.cost_tracking.span_cost_calculator import SpanCostCalculator
from phoenix.server.daemons.generative_model_store import GenerativeModelStore
from phoenix.server.types import DbSessionFactory
from phoenix.trace.attributes import unflatten
from starlette.datastructures import State


class Ingestion:
    """Phoenix's own way from a request into one database, with the prices of its first use."""

    def __init__(self, database: str) -> None:
        engine = create_engine(database, migrate=False)
        self._db = DbSessionFactory(db=_db(engine), dialect=engine.dialect.name)
        self._prices = GenerativeModelStore(self._db)
        self._is_new = True

    async def ingest(self, requests: list[tuple[str, str | None]]) -> None:
        """Store *requests*, each with its x-project-name, in order, as the server would."""
        if self._is_new:
            await self._prices._fetch_models()
            self._is_new = False
        inserter = BulkInserter(
            self._db,
            event_queue=SimpleNamespace(put=lambda event: None),
            span_cost_calculator=SpanCostCalculator(self._prices),
            sleep=0.001,
            shutdown_drain_sec=600,
        )
        async with inserter as (_, enqueue_span, _):
            for payload, project_name in requests:
                request = ExportTraceServiceRequest.FromString(base64.b64decode(payload))
                await _add_spans(request, State({"enqueue_span": enqueue_span}), project_name)


ingestions: dict[str, Ingestion] = {}


def ingest(database: str, requests: list[tuple[str, str | None]]) -> None:
    """Store *requests* in *database*; its connections stay open until somebody drops it."""
    if database not in ingestions:
        ingestions[database] = Ingestion(database)
    runner.run(ingestions[database].ingest(requests))


def migrate(database: str, revision: str) -> str:
    """Let Phoenix's own migrations bring *database* to *revision* and give where it is then."""
    engine = create_engine(database, migrate=False)
    scripts = Path(phoenix.db.__file__).parent / "migrations"
    config = Config(str(scripts.with_name("alembic.ini")))
    config.set_main_option("script_location", str(scripts))

    def run(connection: Any) -> str:
        config.attributes["connection"] = connection
        (command.upgrade if revision == "head" else command.downgrade)(config, revision)
        return str(MigrationContext.configure(connection).get_current_revision())

    async def connect() -> str:
        async with engine.connect() as connection:
            found = await connection.run_sync(run)
        await engine.dispose()
        return found

    return runner.run(connect())


def nest(cases: list[list[tuple[str, Any]]]) -> list[Any]:
    """Nest the pairs of each case; an error is its name."""
    nested: list[Any] = []
    for pairs in cases:
        try:
            nested.append(json.loads(_dumps(unflatten(pairs))))
        except Exception as error:
            nested.append(type(error).__name__)
    return nested


def answer(question: dict[str, Any]) -> Any:
    match question:
        case {"ingest": requests, "database": database}:
            return ingest(database, requests)
        case {"migrate": revision, "database": database}:
            return migrate(database, revision)
        case {"unflatten": cases}:
            return nest(cases)
        case {"specificity": patterns}:
            return [score(pattern) for pattern in patterns]
    raise ValueError(question)


runner = asyncio.Runner()

# Whatever Phoenix prints must not get between the answers.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
answers.write("ready\n")
answers.flush()
for line in sys.stdin:
    answers.write(json.dumps(answer(json.loads(line))) + "\n")
    answers.flush()
