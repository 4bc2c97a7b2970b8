"""The forked Phoenix as a whole, one running server without sign-in."""

from __future__ import annotations

import gzip
import os
import re
import socket
import struct
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.databases import execute, run
from tests.integration.fixtures_phoenix import REQUEST_MAX_BYTES, PhoenixServer

pytestmark = pytest.mark.integration

DEFAULT_PROJECT = "UHJvamVjdDox"  # base64 of Project:1
LISTENER = "application_name = 'tracequill live refresh' AND datname = current_database()"


@pytest.fixture
def server(phoenix_server: PhoenixServer) -> Iterator[PhoenixServer]:
    """The running server, its collector fresh."""
    phoenix_server.collector.forget()
    yield phoenix_server


@pytest.fixture
def client(server: PhoenixServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


# --- sockets ---------------------------------------------------------------------------


def test_the_only_listening_socket_is_the_one_for_pages_on_loopback(server: PhoenixServer) -> None:
    port = int(server.base_url.rpartition(":")[2])

    assert listening_addresses(server.process.pid) == {("127.0.0.1", port)}


def listening_addresses(pid: int) -> set[tuple[str, int]]:
    """Give address and port of every TCP socket that process *pid* listens on."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        if match := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor)):
            inodes.add(match[1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, _, port = fields[1].partition(":")
                found.add((address_text(address), int(port, 16)))
    return found


def address_text(digits: str) -> str:
    """Turn the kernel's form of an address, 32 bits at a time in host order, into text."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, packed)


# --- POST /v1/traces -------------------------------------------------------------------


def test_a_trace_request_reaches_the_collector_byte_for_byte(
    server: PhoenixServer, client: httpx.Client
) -> None:
    body = gzip.compress(os.urandom(5000))

    client.post(
        "/v1/traces",
        content=body,
        headers=[
            (b"Content-Type", b"application/x-protobuf"),
            (b"Content-Encoding", b"gzip"),
            (b"Authorization", b"Bearer key"),
            (b"X-Project-Name", "café".encode()),
            (b"X-Own", b"kept"),
        ],
    )

    (received,) = server.collector.received
    assert received.path == "/v1/traces"
    assert received.body == body
    assert received.header("content-type") == "application/x-protobuf"
    assert received.header("content-encoding") == "gzip"
    assert received.header("content-length") == str(len(body))
    assert received.header("authorization") == "Bearer key"
    assert received.header("x-own") == "kept"
    assert (received.header("x-project-name") or "").encode("latin-1") == "café".encode()
    assert received.header("host") == f"127.0.0.1:{server.collector.port}"


def test_a_streamed_trace_request_reaches_the_collector(
    server: PhoenixServer, client: httpx.Client
) -> None:
    client.post("/v1/traces", content=iter([b"one", b"two"]))

    assert [received.body for received in server.collector.received] == [b"onetwo"]


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (200, b"\x0a\x02\x08\x01", {"Content-Type": "application/x-protobuf"}),
        (429, b"full", {"Retry-After": "7", "Content-Type": "text/plain"}),
        (400, b"not OTLP", {"X-Reason": "cut off"}),
    ],
    ids=["accepted", "full", "refused"],
)
def test_the_answer_of_the_collector_is_the_answer(
    server: PhoenixServer, client: httpx.Client, status: int, body: bytes, headers: dict[str, str]
) -> None:
    server.collector.status, server.collector.body = status, body
    server.collector.headers = headers

    answer = client.post("/v1/traces", content=b"x")

    assert (answer.status_code, answer.content) == (status, body)
    assert {name: answer.headers[name] for name in headers} == headers


def test_without_a_collector_the_sender_is_told_to_come_again_in_a_second(
    server: PhoenixServer, client: httpx.Client
) -> None:
    server.collector.stop()
    try:
        traces = client.post("/v1/traces", content=b"x")
        spans = client.post("/v1/projects/p/spans", json={"data": [api_span()]})
    finally:
        server.collector.start()
    again = client.post("/v1/traces", content=b"x")

    assert (traces.status_code, traces.headers["Retry-After"]) == (503, "1")
    assert (spans.status_code, spans.headers["Retry-After"]) == (503, "1")
    assert again.status_code == 200


def test_a_request_past_the_limit_is_refused_and_not_held(
    server: PhoenixServer, client: httpx.Client
) -> None:
    chunks = [b"\0" * 100_000] * (REQUEST_MAX_BYTES // 100_000 + 1)

    announced = client.post("/v1/traces", content=b"".join(chunks))
    streamed = client.post("/v1/traces", content=iter(chunks))

    spans = client.post("/v1/projects/p/spans", content=iter(chunks))

    assert [a.status_code for a in (announced, streamed, spans)] == [413, 413, 413]
    assert str(REQUEST_MAX_BYTES) in announced.text
    assert server.collector.received == []


# --- POST /v1/projects/{p}/spans -------------------------------------------------------


def api_span(**changes: Any) -> dict[str, Any]:
    return {
        "name": "answer",
        "context": {"trace_id": os.urandom(16).hex(), "span_id": os.urandom(8).hex()},
        "span_kind": "LLM",
        "start_time": "2026-03-04T05:06:07.123457Z",
        "end_time": "2026-03-04T05:06:08Z",
        "status_code": "OK",
        "attributes": {"llm.model_name": "m", "session.id": "s"},
        **changes,
    }


def test_spans_written_by_rest_reach_the_collector_in_one_request(
    server: PhoenixServer, client: httpx.Client
) -> None:
    spans = [api_span(name="one"), api_span(name="two", parent_id=os.urandom(8).hex())]

    answer = client.post("/v1/projects/naïve ☃/spans", json={"data": spans})

    assert answer.status_code == 202
    assert answer.json() == {"total_received": 2, "total_queued": 2}
    (received,) = server.collector.received
    assert received.header("content-type") == "application/x-protobuf"
    (resource_spans,) = ExportTraceServiceRequest.FromString(received.body).resource_spans
    (project,) = resource_spans.resource.attributes
    assert project.key == "openinference.project.name"
    assert project.value.string_value == "naïve ☃"
    sent = resource_spans.scope_spans[0].spans
    assert [span.name for span in sent] == ["one", "two"]
    assert [span.span_id.hex() for span in sent] == [s["context"]["span_id"] for s in spans]
    assert sent[1].parent_span_id.hex() == spans[1]["parent_id"]
    started = datetime(2026, 3, 4, 5, 6, 7, 123457, UTC)
    assert sent[0].start_time_unix_nano == int(started.timestamp()) * 10**9 + 123_457_000
    assert {a.key: a.value.string_value for a in sent[0].attributes} == {
        "llm.model_name": "m",
        "session.id": "s",
        "openinference.span.kind": "LLM",
    }


def test_attributes_that_would_not_come_back_flat_are_sent_as_maps(
    server: PhoenixServer, client: httpx.Client
) -> None:
    attributes = {"nested": {"dotted.key": [], "none": None}, "metadata": '{"a": 1}'}

    answer = client.post("/v1/projects/p/spans", json={"data": [api_span(attributes=attributes)]})

    assert answer.status_code == 202
    request = ExportTraceServiceRequest.FromString(server.collector.received[0].body)
    sent = {a.key: a.value for a in request.resource_spans[0].scope_spans[0].spans[0].attributes}
    assert [pair.key for pair in sent["nested"].kvlist_value.values] == ["dotted.key", "none"]
    assert sent["metadata"].string_value == '"{\\"a\\": 1}"'


def test_one_span_that_otlp_cannot_carry_refuses_the_whole_request(
    server: PhoenixServer, client: httpx.Client
) -> None:
    wrong = api_span(context={"trace_id": "not-hex", "span_id": os.urandom(8).hex()})

    answer = client.post("/v1/projects/p/spans", json={"data": [api_span(), wrong]})

    assert answer.status_code == 400
    assert "'not-hex'" in answer.text
    assert server.collector.received == []


def test_spans_that_the_collector_refuses_are_not_called_accepted(
    server: PhoenixServer, client: httpx.Client
) -> None:
    partial = ExportTracePartialSuccess(rejected_spans=1, error_message="trace_id is all zeros.")
    server.collector.body = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
    refused = client.post("/v1/projects/p/spans", json={"data": [api_span()]})
    server.collector.forget()
    server.collector.status, server.collector.headers = 429, {"Retry-After": "9"}
    full = client.post("/v1/projects/p/spans", json={"data": [api_span()]})

    assert (refused.status_code, "all zeros" in refused.text) == (400, True)
    assert (full.status_code, full.headers["Retry-After"]) == (503, "9")


# --- live refresh ----------------------------------------------------------------------


def streaming_last_updated_at(client: httpx.Client) -> str:
    query = "query($id: ID!) { node(id: $id) { ... on Project { streamingLastUpdatedAt } } }"
    answer = client.post(
        "/graphql", json={"query": query, "variables": {"id": DEFAULT_PROJECT}}
    ).raise_for_status()
    return str(answer.json()["data"]["node"]["streamingLastUpdatedAt"])


def seconds_until_it_moves(client: httpx.Client, before: str, deadline: float) -> float:
    started = time.monotonic()
    while time.monotonic() - started < deadline:
        if streaming_last_updated_at(client) != before:
            return time.monotonic() - started
        time.sleep(0.05)
    raise AssertionError(f"still {before} after {deadline} s")


def notify(server: PhoenixServer, payload: str) -> None:
    run(execute(server.database_url, f"SELECT pg_notify('tracequill_spans', '{payload}')"))


def test_a_notification_refreshes_open_pages(server: PhoenixServer, client: httpx.Client) -> None:
    before = streaming_last_updated_at(client)

    notify(server, "[1]")

    seconds_until_it_moves(client, before, 10.0)


def test_a_notification_that_is_no_list_of_projects_changes_nothing(
    server: PhoenixServer, client: httpx.Client
) -> None:
    before = streaming_last_updated_at(client)

    for payload in ("", "1", '{"1": 1}', '["1"]', "[true]", "[" * 5000):
        notify(server, payload)
    time.sleep(0.3)  # longer than Phoenix takes to handle an event

    assert streaming_last_updated_at(client) == before


def test_after_the_listening_connection_is_lost_all_projects_count_as_changed(
    server: PhoenixServer, client: httpx.Client
) -> None:
    before = streaming_last_updated_at(client)
    terminate = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {LISTENER}"
    run(execute(server.database_url, terminate))
    seconds_until_it_moves(client, before, 10.0)
    again = streaming_last_updated_at(client)

    notify(server, "[1]")

    seconds_until_it_moves(client, again, 10.0)


def test_a_database_that_is_gone_for_a_while_stops_nothing_for_good(
    server: PhoenixServer, client: httpx.Client, postgres_url: str
) -> None:
    before = streaming_last_updated_at(client)
    name = server.database_url.partition("?")[0].rpartition("/")[2]
    run(execute(postgres_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
    try:
        ours = f"FROM pg_stat_activity WHERE datname = '{name}'"
        run(execute(postgres_url, f"SELECT pg_terminate_backend(pid) {ours}"))
        wait_for_status(client, "/readyz", 503)
        alive_without = client.get("/healthz").status_code
        live_without = metrics(client)["tracequill_phoenix_live_connected"]
    finally:
        run(execute(postgres_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))

    assert (alive_without, live_without) == (200, 0)
    wait_for_status(client, "/readyz", 200)
    seconds_until_it_moves(client, before, 10.0)


def wait_for_status(client: httpx.Client, path: str, status: int) -> None:
    for _ in range(200):
        if client.get(path).status_code == status:
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} never answered {status}")


# --- health, pages, what is off --------------------------------------------------------


def metrics(client: httpx.Client) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


def test_health_and_metrics_answer(client: httpx.Client) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200
    assert metrics(client)["tracequill_phoenix_live_connected"] == 1


def test_phoenix_page_carries_our_script_once_and_shows_what_is_off(client: httpx.Client) -> None:
    page = client.get("/projects").text

    assert page.count("/tracequill/static/navigation.js") == 1
    assert 'agentAssistantDisabled: Boolean("True" == "True")' in page
    assert 'mcpServerEnabled: Boolean("False" == "True")' in page
    assert 'allowExternalResources: Boolean("False" == "True")' in page
    for elsewhere in ("googleapis", "fullstory", "scarf.sh"):
        assert elsewhere not in page
    assert client.get("/tracequill/static/navigation.js").status_code == 200


def test_the_assistant_and_mcp_do_not_answer(client: httpx.Client) -> None:
    assert client.post("/mcp", json={}).status_code == 405
    assert client.post("/agents/assistant/chat", json={}).status_code == 405


def test_our_api_describes_itself_and_phoenix_own_description_stays_its_own(
    client: httpx.Client,
) -> None:
    ours = client.get("/tracequill/api/openapi.json").json()["paths"]
    theirs = client.get("/openapi.json").json()["paths"]

    assert ours and all(path.startswith("/tracequill/api/") for path in ours)
    assert all(path.startswith("/v1/") for path in theirs)
    assert "/v1/projects/{project_identifier}/spans" in theirs


def test_our_page_shows_where_to_send_and_runs_no_script(
    server: PhoenixServer, client: httpx.Client
) -> None:
    page = client.get("/tracequill/")

    assert page.status_code == 200
    assert f"{server.collector.base_url}/v1/traces" in page.text
    assert "takes spans" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "script" not in page.text
    assert client.get("/tracequill").headers["location"] == "/tracequill/"
    assert client.get("/tracequill/static/page.py").status_code == 404


def test_the_server_says_its_addresses_in_one_line_and_no_wrong_ones(
    server: PhoenixServer,
) -> None:
    log = server.log.read_text()

    assert log.count(f"pages {server.base_url}, spans to {server.collector.base_url}") == 1
    assert "gRPC" not in log
    assert "Traceback" not in log
