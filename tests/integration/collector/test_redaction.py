"""Redaction through real processes: receiver, queue, exporter, Postgres."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.integration.collector.exporting import export, record_of
from tests.integration.collector.generated import generated_requests
from tests.integration.collector.test_exporter_process import ExporterProcess
from tests.integration.receiver_rig import ReceiverProcess, wait_until
from tests.unit.collector.processor.planted import CARD_NUMBER, SECRETS, every_place, pair
from tracequill.settings import Settings
from tracequill_collector.processor.decode import decode
from tracequill_collector.processor.detectors import NAMES
from tracequill_collector.processor.policy import Policy
from tracequill_collector.processor.redact import Redaction
from tracequill_collector.service.policies import policy_of

pytestmark = pytest.mark.integration

_MIB = 1024 * 1024
_PASSWORD = "correct horse battery"
_MAPPING = """
redaction:
  detectors: [api_key, card, iban, email, phone]
  keys: [password]
  patterns:
    ticket: 'TICK-[0-9]+'
limits:
  attribute_max_bytes: 100000
"""


def pieces() -> list[str]:
    """Give what must be nowhere: parts of the secrets, since a cut or a line may part them."""
    secrets = [*SECRETS.values(), _PASSWORD, "TICK-12345", str(CARD_NUMBER), "card 4111"]
    return [*secrets, "jane.doe", "example.com", "0532 0130", "90182", "1234567890abcdef"]


def planted_requests() -> list[ExportTraceServiceRequest]:
    """Give a request for each secret; the first has a span without an id as well."""
    requests = []
    for number, secret in enumerate([*SECRETS.values(), "TICK-12345"], start=1):
        request = every_place(secret)
        (span,) = request.resource_spans[0].scope_spans[0].spans
        span.trace_id, span.span_id = number.to_bytes(16, "big"), number.to_bytes(8, "big")
        span.attributes.append(pair("tool.card", CARD_NUMBER))
        span.attributes.append(pair("tool.password", _PASSWORD))
        span.attributes.append(pair("tool.arguments", json.dumps({"a": [{"password": _PASSWORD}]})))
        requests.append(request)
    bad = requests[0].resource_spans[0].scope_spans[0].spans.add()
    bad.CopyFrom(requests[0].resource_spans[0].scope_spans[0].spans[0])
    bad.span_id = bytes(8)
    return requests


async def all_rows(database: str) -> str:
    """Give every row of every table as text, base64 undone where a value is that."""
    connection = await asyncpg.connect(database)
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        rows = [
            row["line"]
            for table in tables
            for row in await connection.fetch(f"SELECT t::text AS line FROM {table['name']} AS t")
        ]
        broken = await connection.fetch("SELECT attributes #>> '{bytes,broken}' AS b FROM spans")
    finally:
        await connection.close()
    decoded = [base64.b64decode(row["b"]).decode("latin-1") for row in broken if row["b"]]
    return "\n".join([*rows, *decoded])


async def test_no_secret_is_in_a_column_a_log_line_or_a_metric_and_dead_letters_are_whole(
    phoenix_database: str, tmp_path: Path
) -> None:
    (tmp_path / "tracequill.yaml").write_text(_MAPPING)
    variables = {
        "TRACEQUILL_CONFIG": str(tmp_path / "tracequill.yaml"),
        "TRACEQUILL_LOG_LEVEL": "DEBUG",
    }
    receiver = ReceiverProcess(tmp_path, variables)
    receiver.start()
    exporter = ExporterProcess(tmp_path / "data", phoenix_database)
    exporter.environment |= variables
    exporter.start()
    requests = planted_requests()
    try:
        for request in requests:
            body = gzip.compress(request.SerializeToString())
            headers = {"content_encoding": "gzip", "x_project_name": f"of {SECRETS['email']}"}
            assert receiver.post(body, **headers).status == 200
        async with asyncio.timeout(60):
            status = await exporter.says(
                lambda status: status.values["exported_records"] == len(requests)
            )
            await asyncio.to_thread(
                wait_until,
                lambda: 'rule="ticket"' in receiver.request("GET", "/metrics").body.decode(),
            )
        metrics = receiver.request("GET", "/metrics").body.decode()
    finally:
        assert exporter.stop() == 0, exporter.log
        _, received = receiver.stop()

    assert status.values["stored_spans"] == len(requests)
    places = {
        "rows": await all_rows(phoenix_database),
        "exporter's log": exporter.log,
        "receiver's log": received,
        "metrics": metrics,
        "status": (tmp_path / "data/collector/exporter.status.json").read_text(),
    }
    for place, content in places.items():
        for piece in pieces():
            assert piece not in content, f"{piece!r} is in {place}"
    for rule in (*SECRETS, "ticket", "key"):
        assert f"[redacted:{rule}]" in places["rows"]
        assert f'rule="{rule}"' in places["metrics"]
    assert "of [redacted:email]" in places["rows"]

    (letter,) = exporter.dead_letters.list()
    found = exporter.dead_letters.show(letter.letter_id)
    assert found is not None
    assert SECRETS["card"].encode() in found[1].payload
    assert not any(piece in letter.reason for piece in pieces())


async def test_with_a_wrong_rule_the_exporter_ends_with_one_sentence(tmp_path: Path) -> None:
    exporter = ExporterProcess(tmp_path, "postgresql://someone@127.0.0.1:1/app")
    exporter.environment["TRACEQUILL_REDACTION_DETECTORS"] = "cards"
    exporter.start()
    assert exporter.process

    assert exporter.process.wait(20) == 2
    assert "there is no detector 'cards'" in exporter.log
    assert "Traceback" not in exporter.log


async def test_rows_without_a_hit_are_the_same_bytes_with_redaction_and_without(
    new_database: Callable[[], str], requests: list[bytes]
) -> None:
    assert policy_of(Settings.model_validate({})) is None
    payloads = generated_requests(31, traces=40, requests=6)
    # What holds no text that any rule could mean: the corpus has addresses and telephones.
    rules = Policy(Redaction(detectors=NAMES, phone_regions=["DE"], keys=["password"]))
    clean = [
        payload
        for payload in requests
        if not rules.apply(ExportTraceServiceRequest.FromString(payload)).counts
    ]
    records = [record_of(payload) for payload in (*payloads, *clean)]
    assert clean

    stored = []
    for policy in (None, Policy(), rules):
        database = new_database()
        decoded = [decode(record, max_bytes=64 * _MIB, policy=policy) for record in records]
        await export(database, *(content.spans for content in decoded))
        stored.append(await _content_of(database))

    assert stored[0] and stored[0] == stored[1] == stored[2]


async def _content_of(database: str) -> list[str]:
    """Give all rows, but for when they were made."""
    connection = await asyncpg.connect(database)
    try:
        return [
            row["line"]
            for table in ("projects", "project_sessions", "traces", "spans", "span_costs")
            for row in await connection.fetch(
                f"SELECT (to_jsonb(t) - 'created_at' - 'updated_at')::text AS line "
                f"FROM {table} AS t ORDER BY id"
            )
        ]
    finally:
        await connection.close()
