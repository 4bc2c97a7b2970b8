"""Prompts, answers, keys and headers stand in the queue and the database, and nowhere else."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import asyncpg
import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from tests.exchange_cases import own_case
from tests.integration.collector.processes_rig import Processes, processes
from tests.integration.collector.replay_rig import execute
from tests.integration.receiver_rig import EXPORT
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.queue.writer import QueueWriter

pytestmark = pytest.mark.integration

# Each way in has a word of its own, so that a failure says which one leaks.
_CANARY = "canary"
_SERVICES = ("receiver", "exporter", "recorder")


def canary(where: str) -> str:
    """Give the word that is planted at *where*."""
    return f"{_CANARY}-{where}-{where[::-1]}"


def text(key: str, value: str) -> KeyValue:
    """Give an attribute."""
    return KeyValue(key=key, value=AnyValue(string_value=value))


def spans(name: str, *ids: bytes, trace_id: bytes = b"t" * 16) -> ExportTraceServiceRequest:
    """Give a request with a word in every text that a sender has."""
    found = [
        Span(
            trace_id=trace_id,
            span_id=span_id,
            name=canary(f"{name}.name"),
            start_time_unix_nano=1,
            attributes=[
                text("input.value", canary(f"{name}.prompt") + " person@example.com"),
                text("output.value", canary(f"{name}.answer")),
                text("gen_ai.prompt.0.content", canary(f"{name}.genai")),
                text(canary(f"{name}.key"), "x"),
                text("session.id", canary(f"{name}.session")),
                text("llm.invocation_parameters", '{"api_key": "' + canary(f"{name}.json")),
            ],
            events=[
                Span.Event(
                    name="exception",
                    attributes=[text("exception.message", canary(f"{name}.exception"))],
                )
            ],
            status=Status(message=canary(f"{name}.status"), code=Status.STATUS_CODE_ERROR),
        )
        for span_id in ids
    ]
    surrounding = ResourceSpans(scope_spans=[ScopeSpans(spans=found)])
    surrounding.resource.attributes.append(text("host.name", canary(f"{name}.resource")))
    surrounding.scope_spans[0].scope.name = canary(f"{name}.scope")
    return ExportTraceServiceRequest(resource_spans=[surrounding])


@contextmanager
def backend() -> Iterator[str]:
    """Run a backend that refuses what it gets, and repeats it in its answer."""

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = canary("backend.answer").encode()
            self.send_response(400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def raw(stack: Processes, *lines: str) -> None:
    """Send lines that are no HTTP."""
    with socket.create_connection(("127.0.0.1", stack.http_port), timeout=10) as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode("utf-8", "surrogateescape"))
        while connection.recv(4096):
            pass


def send_everything(stack: Processes) -> None:
    """Send good requests and bad ones, by HTTP and gRPC, with words in all of them."""
    good = spans("good", b"goodspan", b"another1")
    secret = {
        "authorization": f"Bearer {canary('authorization')}",
        "api_key": canary("api-key"),
        "x_custom": canary("header"),
        "user_agent": canary("agent"),
        "x_project_name": canary("project"),
    }
    assert stack.post(good.SerializeToString(), **secret).status == 200
    assert stack.post(spans("bad-id", bytes(8)).SerializeToString(), **secret).status == 200
    twin = spans("twin", b"goodspan", trace_id=b"u" * 16)
    assert stack.post(twin.SerializeToString(), **secret).status == 200
    broken_json = json.dumps(MessageToDict(spans("json", b"jsonspan")))
    for body, content_type in (
        (broken_json[:-1], "application/json"),
        (broken_json.replace('"name"', '"startTimeUnixNano"', 1), "application/json"),
        (f'"{canary("json.text")}"', "application/json"),
        (f"\x00{canary('protobuf')}", "application/x-protobuf"),
        (canary("form"), f"text/{canary('content-type')}"),
    ):
        # The ids of the second are base64: its span is rejected alone.
        assert stack.post(body.encode(), **secret, **{"content-type": content_type}).status != 500
    zipped = gzip.compress(good.SerializeToString())[:-9] + canary("gzip").encode()
    assert stack.post(zipped, **secret, content_encoding="gzip").status == 400
    assert stack.post(b"", **secret, content_encoding=canary("encoding")).status >= 400
    stack.request("POST", f"/{canary('path')}?{canary('query')}", b"x", {})
    raw(stack, canary("request-line"))
    raw(stack, "POST /v1/traces HTTP/1.1", "Host: x", f"Bad Header {canary('bad-header')}: y")
    raw(stack, "POST /v1/traces HTTP/1.1", "Host: x", f"Content-Length: {canary('length')}")
    with grpc.insecure_channel(f"127.0.0.1:{stack.grpc_port}") as channel:
        call = channel.unary_unary(EXPORT, bytes, bytes)
        metadata = (("authorization", canary("grpc.key")), ("x-project-name", canary("grpc.name")))
        call(spans("grpc", b"grpcspan").SerializeToString(), timeout=10, metadata=metadata)
        with pytest.raises(grpc.RpcError):
            call(canary("grpc.bad").encode(), timeout=10, metadata=metadata)
        unknown = channel.unary_unary(f"/{canary('service')}/X", bytes, bytes)
        with pytest.raises(grpc.RpcError):
            unknown(b"", timeout=10, metadata=metadata)


async def forward_calls(queue: Path) -> None:
    """Queue exchanges as the proxy does: one that can be interpreted, and two that cannot."""
    good = own_case("openai-chat").exchange(
        project_name=canary("call.project"),
        session_id=canary("call.session"),
        metadata=canary("call.metadata"),
        request_headers=(("x-custom", canary("call.header")),),
        request_body=json.dumps({"messages": canary("call.prompt")}).encode(),
        response_body=canary("call.answer").encode(),
    )
    bad = own_case("openai-chat").exchange(
        span_id=canary("call.span-id"), request_body=canary("call.bad").encode()
    )
    writer = await QueueWriter.open(queue, max_bytes=64 * 1024 * 1024)
    for payload in (good.to_bytes(), bad.to_bytes(), canary("call.broken").encode()):
        await writer.consume(Record(RecordKind.EXCHANGE, time.time_ns(), payload))
    await writer.close()


def told(stack: Processes) -> dict[str, str]:
    """Give all that a stack says of itself, by where it says it."""
    said = {f"log of the {name}": stack.log(name) for name in _SERVICES}
    for pattern in ("collector/exporter.*", "proxy/recorder.*"):
        said |= {path.name: path.read_text() for path in stack.data_dir.glob(pattern)}
    said["metrics"] = stack.metrics()
    return said


def wait_for_files(stack: Processes) -> None:
    """Wait until each file in which a process tells of itself says what is true by now."""
    since_ns = time.time_ns()
    names = ("collector/exporter.status.json", "collector/exporter.metrics")
    files = [stack.data_dir / name for name in (*names, "proxy/recorder.status.json")]
    stack.wait_for(lambda: all(file.stat().st_mtime_ns > since_ns for file in files))


def leaks(said: dict[str, str]) -> list[str]:
    """Give each line with a word that was planted."""
    return [
        f"{where}: {line[:300]}"
        for where, content in said.items()
        for line in content.splitlines()
        if _CANARY in line
    ]


async def refuse_a_row(database_url: str) -> None:
    """Make Postgres refuse the next spans, and quote them in its error."""
    await execute(
        database_url,
        "ALTER TABLE spans ADD CONSTRAINT no_more CHECK (name NOT LIKE '%quoted%') NOT VALID",
    )


def test_no_log_status_or_metric_tells_what_was_sent(phoenix_database: str, tmp_path: Path) -> None:
    with backend() as url:
        (tmp_path / "tracequill.yaml").write_text(
            json.dumps(
                {
                    "exporters": {
                        "far": {"endpoint": url, "headers": {"x-key": canary("far.key")}}
                    },
                    "redaction": {"detectors": ["email"]},
                }
            )
        )
        with processes(
            tmp_path,
            "receiver",
            "exporter",
            TRACEQUILL_DATABASE_URL=phoenix_database,
            TRACEQUILL_LOG_LEVEL="DEBUG",
            TRACEQUILL_LOG_FORMAT="json",
        ) as stack:
            stack.environment["TRACEQUILL_COLLECTOR_URL"] = f"http://127.0.0.1:{stack.http_port}"
            stack.start("recorder")
            send_everything(stack)
            asyncio.run(forward_calls(stack.data_dir / "proxy" / "queue"))
            letters = DeadLetters(stack.data_dir / "dead_letters")
            stack.wait_for(lambda: len(letters.list()) >= 5)
            stack.wait_for(lambda: _stored(phoenix_database) == 4)
            asyncio.run(refuse_a_row(phoenix_database))
            assert stack.post(spans("quoted", b"quoted01").SerializeToString()).status == 200
            stack.wait_for(lambda: "spans are kept in the queue" in stack.log("exporter"))
            stack.wait_for(lambda: "spans are not sent on now" in stack.log("exporter"))
            wait_for_files(stack)
            said = told(stack)

    said |= {f"log of the {name} to its end": stack.log(name) for name in _SERVICES}
    assert leaks(said) == []
    assert {"exporter.status.json", "exporter.metrics", "recorder.status.json"} <= said.keys()
    # The test would find a word: it stands in the dead letters.
    assert any(canary("twin.prompt").encode() in _payload(letters, one) for one in letters.list())
    for name in _SERVICES:
        entries = [json.loads(line) for line in stack.log(name).splitlines()]
        assert entries
        assert all({"time", "level", "logger", "message"} <= entry.keys() for entry in entries)


def _payload(letters: DeadLetters, letter: object) -> bytes:
    found = letters.show(getattr(letter, "letter_id", ""))
    assert found is not None
    return found[1].payload


def _stored(database_url: str) -> int:
    async def count() -> int:
        connection = await asyncpg.connect(database_url)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM spans"))
        finally:
            await connection.close()

    return asyncio.run(count())
