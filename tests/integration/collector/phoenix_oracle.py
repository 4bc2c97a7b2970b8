"""Phoenix's own code, asked over a pipe: one JSON question a line in, one JSON answer a line out.

A process of its own, because importing Phoenix takes 17 s and warns. See ``oracle.py``.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from types import SimpleNamespace
from typing import Any

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


async def ingest(database: str, requests: list[tuple[str, str | None]]) -> None:
    """Store *requests*, each with its x-project-name, in order, as the server would."""
    engine = create_engine(database, migrate=False)
    db = DbSessionFactory(db=_db(engine), dialect=engine.dialect.name)
    prices = GenerativeModelStore(db)
    await prices._fetch_models()
    inserter = BulkInserter(
        db,
        event_queue=SimpleNamespace(put=lambda event: None),
        span_cost_calculator=SpanCostCalculator(prices),
        shutdown_drain_sec=600,
    )
    async with inserter as (_, enqueue_span, _):
        for payload, project_name in requests:
            request = ExportTraceServiceRequest.FromString(base64.b64decode(payload))
            await _add_spans(request, State({"enqueue_span": enqueue_span}), project_name)
    await engine.dispose()


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
            return asyncio.run(ingest(database, requests))
        case {"unflatten": cases}:
            return nest(cases)
        case {"specificity": patterns}:
            return [score(pattern) for pattern in patterns]
    raise ValueError(question)


# Whatever Phoenix prints must not get between the answers.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
answers.write("ready\n")
answers.flush()
for line in sys.stdin:
    answers.write(json.dumps(answer(json.loads(line))) + "\n")
    answers.flush()
