"""Real spans, stored in the running Phoenix, and commands beside it.

The spans are made with the real clients, traced by the real instrumentors, decoded by the
collector and written by its exporter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from tests.exchange_cases import own_case
from tests.integration.databases import run
from tests.integration.datasets.rig import Command, Store, commands_of
from tests.integration.fixtures_phoenix import PhoenixServer
from tests.integration.sdk.replay import Applications, applications
from tracequill_collector.exporter.postgres import PostgresExporter
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.processor.decode import decode


@pytest.fixture(scope="package")
def apps() -> Iterator[Applications]:
    with applications() as running:
        yield running


@pytest.fixture
def client(phoenix_server: PhoenixServer) -> Iterator[httpx.Client]:
    with phoenix_server.client() as client:
        yield client


@pytest.fixture
def store(apps: Applications, phoenix_server: PhoenixServer) -> Store:
    """Make the calls of cases and store their spans in a project; give their ids."""

    def stored(project: str, *cases: str) -> list[str]:
        spans = [span for case in cases for span in apps.run(own_case(case))[0]]
        payload = encode_spans(spans).SerializeToString()
        record = Record(
            RecordKind.OTLP_TRACES, 0, payload, "application/x-protobuf", project_name=project
        )
        decoded = decode(record, max_bytes=1 << 30).spans
        run(_store(phoenix_server.database_url, decoded))
        return [json.loads(span.to_json())["context"]["span_id"][2:] for span in spans]

    return stored


async def _store(url: str, spans: Sequence[Any]) -> None:
    async def reject(rejected: Sequence[Any]) -> None:
        raise AssertionError(rejected)

    exporter = PostgresExporter(url, schema=None, reject=reject)
    await exporter.consume(spans)
    await exporter.close()


@pytest.fixture
def command(phoenix_server: PhoenixServer, tmp_path: Path) -> Command:
    """Run ``tracequill`` beside the server, in an empty folder."""
    return commands_of(phoenix_server, tmp_path)
