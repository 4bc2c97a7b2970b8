"""The forked Phoenix with the real collector behind it: what is sent to its port is read there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.databases import fetch_value, run
from tests.integration.fixtures_phoenix import PhoenixServer, clean_environment
from tests.ports import free_port
from tracequill_collector.stack.child import die_with_parent

pytestmark = pytest.mark.integration


@pytest.fixture
def collected(phoenix_server: PhoenixServer, tmp_path: Path) -> Iterator[PhoenixServer]:
    """The server with receiver and exporter in the place of the stand-in."""
    stub = phoenix_server.collector
    stub.stop()
    environment = clean_environment() | {
        "TRACEQUILL_DATABASE_URL": phoenix_server.database_url,
        "TRACEQUILL_DATA_DIR": str(tmp_path / "data"),
        "TRACEQUILL_OTLP_GRPC_PORT": str(free_port()),
        "TRACEQUILL_OTLP_HTTP_PORT": str(stub.port),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"tracequill_collector.service.{name}"],
            cwd=tmp_path,
            env=environment,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
        for name in ("receiver", "exporter")
    ]
    wait_until(lambda: is_ready(stub.base_url), 20)
    yield phoenix_server
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(20)
    stub.start()


def is_ready(base_url: str) -> bool:
    try:
        return httpx.get(f"{base_url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def wait_until(holds: Any, seconds: float) -> float:
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if holds():
            return time.monotonic() - started
        time.sleep(0.05)
    raise AssertionError(f"not so after {seconds} s")


def stored_spans(client: httpx.Client, project: str) -> list[dict[str, Any]]:
    answer = client.get(f"/v1/projects/{project}/spans")
    return list(answer.json()["data"]) if answer.status_code == 200 else []


def test_spans_written_by_rest_are_read_back_as_they_were_written(
    collected: PhoenixServer,
) -> None:
    trace_id, span_id = os.urandom(16).hex(), os.urandom(8).hex()
    span = {
        "name": "answer",
        "context": {"trace_id": trace_id, "span_id": span_id},
        "parent_id": os.urandom(8).hex(),
        "span_kind": "LLM",
        "start_time": "2026-03-04T05:06:07.123457+00:00",
        "end_time": "2026-03-04T05:06:08+00:00",
        "status_code": "ERROR",
        "status_message": "it failed",
        "attributes": {
            "llm.model_name": "m",
            "llm.token_count.prompt": 3,
            "llm.input_messages.0.message.content": "¿qué?",
            "session.id": "conversation",
            "metadata": {"a.b": [1, None, {"c": 2.5}]},
            "custom": {"dotted.key": [], "none": None, "big": 2**53 + 1},
        },
        "events": [
            {
                "name": "note",
                "timestamp": "2026-03-04T05:06:07.500000+00:00",
                "attributes": {"k": "v"},
            }
        ],
    }

    with collected.client() as client:
        answer = client.post("/v1/projects/über 1/spans", json={"data": [span]})
        assert answer.status_code == 202, answer.text
        wait_until(lambda: stored_spans(client, "über 1"), 10)
        (stored,) = stored_spans(client, "über 1")
        again = client.post("/v1/projects/über 1/spans", json={"data": [span]})

    for name in ("name", "context", "parent_id", "status_code", "status_message", "span_kind"):
        assert stored[name] == span[name], name
    for name in ("start_time", "end_time"):
        assert stored[name] == span[name], name
    attributes = f"SELECT attributes FROM spans WHERE span_id = '{span_id}'"
    assert json.loads(run(fetch_value(collected.database_url, attributes))) == {
        "openinference": {"span": {"kind": "LLM"}},
        "llm": {
            "model_name": "m",
            "token_count": {"prompt": 3},
            "input_messages": [{"message": {"content": "¿qué?"}}],
        },
        "session": {"id": "conversation"},
        "metadata": {"a.b": [1, None, {"c": 2.5}]},
        "custom": {"dotted.key": [], "none": None, "big": 2**53 + 1},
    }
    assert stored["events"][0]["attributes"] == {"k": "v"}
    assert again.status_code == 400 and "duplicate" in again.text


def test_what_is_sent_to_phoenix_refreshes_its_open_pages(collected: PhoenixServer) -> None:
    span = {
        "name": "answer",
        "context": {"trace_id": os.urandom(16).hex(), "span_id": os.urandom(8).hex()},
        "span_kind": "CHAIN",
        "start_time": "2026-03-04T05:06:07+00:00",
        "end_time": "2026-03-04T05:06:08+00:00",
        "status_code": "OK",
    }
    query = "query($id: ID!) { node(id: $id) { ... on Project { streamingLastUpdatedAt } } }"
    asked = {"query": query, "variables": {"id": "UHJvamVjdDox"}}  # Project:1, "default"

    with collected.client() as client:
        before = client.post("/graphql", json=asked).json()
        client.post("/v1/projects/default/spans", json={"data": [span]}).raise_for_status()

        wait_until(lambda: client.post("/graphql", json=asked).json() != before, 10)
