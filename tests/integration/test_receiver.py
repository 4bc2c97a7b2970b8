"""The receiver process as its senders meet it: real exporters, raw bytes, signals."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpExporter,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tests.integration.receiver_rig import (
    EXPORT,
    PROTOBUF,
    ReceiverProcess,
    free_port,
    request_of,
    span,
    wait_until,
)

pytestmark = pytest.mark.integration

JSON = "application/json"
MAX_BYTES = 2_000_000


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReceiverProcess]:
    """A receiver for tests that leave it running; their spans lie side by side in its queue."""
    receiver = ReceiverProcess(
        tmp_path_factory.mktemp("receiver"), {"TRACEQUILL_REQUEST_MAX_BYTES": str(MAX_BYTES)}
    )
    receiver.start()
    yield receiver
    receiver.kill()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[ReceiverProcess]:
    """A receiver of the test's own, not started."""
    process = ReceiverProcess(tmp_path)
    yield process
    process.kill()


def _trailers(error: grpc.RpcError) -> dict[str, bytes]:
    return {item.key: item.value for item in error.trailing_metadata()}


def _names(receiver: ReceiverProcess) -> set[str]:
    return {item.name for item in receiver.spans()}


# --- real clients -----------------------------------------------------------------------


def _grpc_exporter(receiver: ReceiverProcess, compression: str) -> SpanExporter:
    return GrpcExporter(
        endpoint=receiver.grpc_address,
        insecure=True,
        compression=grpc.Compression.Gzip
        if compression == "gzip"
        else grpc.Compression.NoCompression,
    )


def _http_exporter(receiver: ReceiverProcess, compression: str) -> SpanExporter:
    return HttpExporter(
        endpoint=f"{receiver.http_url}/v1/traces", compression=Compression(compression)
    )


def _sdk_spans(name: str, count: int) -> list[ReadableSpan]:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    spans: list[ReadableSpan] = []
    for _ in range(count):
        with tracer.start_as_current_span(name) as item:
            item.set_attribute("input.value", "a question " * 50)
        assert isinstance(item, ReadableSpan)
        spans.append(item)
    return spans


@pytest.mark.parametrize(
    ("exporter", "compression"),
    [
        (_grpc_exporter, "none"),
        (_grpc_exporter, "gzip"),
        (_http_exporter, "none"),
        (_http_exporter, "gzip"),
        (_http_exporter, "deflate"),
    ],
)
def test_the_exporters_of_opentelemetry_deliver(
    shared: ReceiverProcess,
    exporter: Callable[[ReceiverProcess, str], SpanExporter],
    compression: str,
) -> None:
    name = f"{exporter.__name__} {compression}"
    client = exporter(shared, compression)

    result = client.export(_sdk_spans(name, 20))

    client.shutdown()
    assert result is SpanExportResult.SUCCESS
    assert sum(item.name == name for item in shared.spans()) == 20


# --- what is answered over HTTP ---------------------------------------------------------


@pytest.mark.parametrize(
    "content_type", [PROTOBUF, "Application/X-Protobuf", f"{PROTOBUF}; charset=utf-8"]
)
def test_protobuf_is_taken_and_answered_in_protobuf(
    shared: ReceiverProcess, content_type: str
) -> None:
    answer = shared.post(request_of(span(1)), content_type)

    assert (answer.status, answer.headers["Content-Type"]) == (200, PROTOBUF)
    response = ExportTraceServiceResponse.FromString(answer.body)
    assert not response.HasField("partial_success")


def test_json_is_taken_with_hex_ids_and_answered_in_json(shared: ReceiverProcess) -> None:
    one = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "name": "by json",
        "startTimeUnixNano": "1",
    }
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [one, {**one, "traceId": ""}]}]}]}

    answer = shared.post(json.dumps(body).encode(), f"{JSON}; charset=utf-8")

    assert (answer.status, answer.headers.get_content_type()) == (200, JSON)
    assert json.loads(answer.body)["partialSuccess"]["rejectedSpans"] == "1"
    (kept, _) = [item for item in shared.spans() if item.name == "by json"]
    assert kept.trace_id.hex() == one["traceId"]


def test_the_bytes_are_kept_as_they_came(shared: ReceiverProcess) -> None:
    body = gzip.compress(request_of(span(7, name="kept as sent")))

    shared.post(body, f"{PROTOBUF}; x=y", content_encoding="GZIP", x_project_name="Prüfung")

    (record,) = [item for item in shared.records() if item.payload == body]
    assert (record.content_type, record.content_encoding) == (f"{PROTOBUF}; x=y", "gzip")
    assert record.project_name == "Prüfung"


def test_a_body_in_chunks_is_taken(shared: ReceiverProcess) -> None:
    whole = request_of(span(8, name="in chunks"))
    head = (
        f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", shared.http_port)) as connection:
        connection.sendall(head.encode())
        for place in range(len(whole)):
            connection.sendall(b"1\r\n" + whole[place : place + 1] + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")

    assert "in chunks" in _names(shared)


def test_a_body_that_breaks_off_is_not_kept_and_hurts_nobody(shared: ReceiverProcess) -> None:
    whole = request_of(span(9, name="broken off"))
    head = (
        f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\n"
        f"Content-Length: {len(whole) + 1}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", shared.http_port)) as connection:
        connection.sendall(head.encode() + whole)
    with socket.create_connection(("127.0.0.1", shared.http_port)) as connection:
        connection.sendall(head.encode())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    assert shared.post(request_of(span(10, name="after it"))).status == 200
    names = _names(shared)
    assert "after it" in names
    assert "broken off" not in names


def test_an_empty_request_is_fine_and_not_kept(shared: ReceiverProcess) -> None:
    before = len(shared.records())

    assert shared.post(b"").status == 200
    assert shared.export(b"") == b""
    assert len(shared.records()) == before


@pytest.mark.parametrize(
    ("body", "headers", "status", "sentence"),
    [
        pytest.param(
            b"\xff\xff", {}, 400, "not an ExportTraceServiceRequest", id="no protobuf: 400"
        ),
        pytest.param(b"{", {"content_type": JSON}, 400, "not valid JSON", id="no json: 400"),
        pytest.param(
            b"plain", {"content_encoding": "gzip"}, 400, "not valid gzip", id="no gzip: 400"
        ),
        pytest.param(
            gzip.compress(b"x" * 999)[:-4],
            {"content_encoding": "gzip"},
            400,
            "cut off",
            id="half a gzip: 400",
        ),
        pytest.param(
            bytes(MAX_BYTES + 1), {}, 413, f"larger than {MAX_BYTES} bytes", id="too large: 413"
        ),
        pytest.param(
            gzip.compress(bytes(MAX_BYTES + 1)),
            {"content_encoding": "gzip"},
            413,
            f"larger than {MAX_BYTES} bytes",
            id="too large when unpacked: 413",
        ),
        pytest.param(
            zlib.compress(bytes(500 * MAX_BYTES)),
            {"content_encoding": "deflate"},
            413,
            f"larger than {MAX_BYTES} bytes",
            id="a bomb: 413",
        ),
        pytest.param(
            b"", {"content_type": "text/plain"}, 415, "'text/plain' is not", id="text: 415"
        ),
        pytest.param(b"", {"content_type": ""}, 415, "'' is not supported", id="no type: 415"),
        pytest.param(
            b"", {"content_encoding": "zstd"}, 415, "'zstd' is not", id="unknown encoding: 415"
        ),
    ],
)
def test_what_cannot_be_taken_is_refused_for_good(
    shared: ReceiverProcess, body: bytes, headers: dict[str, str], status: int, sentence: str
) -> None:
    answer = shared.post(body, **headers)

    content_type = headers.get("content_type", PROTOBUF)
    if content_type == PROTOBUF:
        message = Status.FromString(answer.body).message
    else:
        message = json.loads(answer.body)["message"]
    assert answer.status == status
    assert sentence in message
    assert answer.headers.get_content_type() == (PROTOBUF if content_type == PROTOBUF else JSON)
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_another_method_is_405(shared: ReceiverProcess, method: str) -> None:
    answer = shared.request(method, "/v1/traces")

    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert json.loads(answer.body)["message"] == f"{method} is not allowed on /v1/traces. Use POST."


@pytest.mark.parametrize("path", ["/v1/logs", "/v1/metrics"])
def test_logs_and_metrics_are_404_with_one_sentence(shared: ReceiverProcess, path: str) -> None:
    answer = shared.request("POST", path, b"", content_type=PROTOBUF)

    assert answer.status == 404
    assert Status.FromString(answer.body).message == (
        f"{path} is not served: Tracequill takes traces. Use /v1/traces."
    )


# --- what is answered over gRPC ---------------------------------------------------------


def test_a_request_of_more_than_grpcs_own_4_mib_is_taken(receiver: ReceiverProcess) -> None:
    receiver.start()
    large = request_of(*(span(number, name="x" * 100_000) for number in range(1, 61)))
    assert len(large) > 6_000_000

    assert receiver.export(large) == b""
    assert receiver.export(large, compression=grpc.Compression.Gzip) == b""
    assert len(receiver.spans()) == 120


def test_many_calls_on_one_connection_are_taken_at_once(shared: ReceiverProcess) -> None:
    with (
        grpc.insecure_channel(shared.grpc_address) as channel,
        ThreadPoolExecutor(16) as threads,
    ):
        call = channel.unary_unary(EXPORT, bytes, bytes)
        bodies = [request_of(span(number, name=f"at once {number}")) for number in range(1, 201)]
        answers = list(threads.map(lambda body: call(body, timeout=30), bodies))

    assert answers == [b""] * 200
    assert {f"at once {number}" for number in range(1, 201)} <= _names(shared)


def test_the_project_comes_from_the_metadata(shared: ReceiverProcess) -> None:
    body = request_of(span(11, name="with a project"))

    shared.export(body, metadata=(("x-project-name", "support-bot"),))

    (record,) = [item for item in shared.records() if item.payload == body]
    assert record.project_name == "support-bot"


def test_bad_spans_are_said_in_partial_success(shared: ReceiverProcess) -> None:
    body = request_of(span(12, name="good one"), span(13, span_id=bytes(8)), Span())

    by_grpc = ExportTraceServiceResponse.FromString(shared.export(body))
    by_http = ExportTraceServiceResponse.FromString(shared.post(body).body)

    assert by_grpc == by_http
    assert by_grpc.partial_success.rejected_spans == 2
    assert by_grpc.partial_success.error_message == (
        "2 of 3 spans are kept as dead letters: "
        "span_id is all zeros. trace_id has 0 bytes instead of 16."
    )
    assert sum(record.payload == body for record in shared.records()) == 2


@pytest.mark.parametrize(
    ("body", "compression", "code"),
    [
        pytest.param(b"\xff", None, grpc.StatusCode.INVALID_ARGUMENT, id="no request"),
        pytest.param(
            bytes(MAX_BYTES + 1), None, grpc.StatusCode.RESOURCE_EXHAUSTED, id="too large"
        ),
        pytest.param(
            bytes(100 * MAX_BYTES),
            grpc.Compression.Gzip,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            id="a bomb",
        ),
    ],
)
def test_what_cannot_be_taken_by_grpc_is_refused_for_good(
    shared: ReceiverProcess,
    body: bytes,
    compression: grpc.Compression | None,
    code: grpc.StatusCode,
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        shared.export(body, compression=compression or grpc.Compression.NoCompression)

    assert caught.value.code() is code
    assert "google.rpc.retryinfo-bin" not in _trailers(caught.value)


# --- a full queue -----------------------------------------------------------------------


def test_a_full_queue_asks_to_send_again_in_the_words_of_both_protocols(
    receiver: ReceiverProcess,
) -> None:
    receiver.variables["TRACEQUILL_QUEUE_MAX_BYTES"] = str(1 << 20)
    receiver.start()
    large = request_of(span(1, name="x" * 500_000))
    receiver.export(large)
    receiver.export(large)

    with pytest.raises(grpc.RpcError) as caught:
        receiver.export(large)
    answer = receiver.post(large)

    trailers = _trailers(caught.value)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "raise queue_max_bytes" in (caught.value.details() or "")
    delay = RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"]).retry_delay.seconds
    assert 1 <= delay <= 3
    assert Status.FromString(trailers["grpc-status-details-bin"]).code == 14
    assert answer.status == 503
    assert 1 <= int(answer.headers["Retry-After"]) <= 3
    assert Status.FromString(answer.body).code == 14
    assert receiver.request("GET", "/readyz").status == 503
    assert receiver.request("GET", "/healthz").status == 200
    assert len(receiver.records()) == 2


# --- the process ------------------------------------------------------------------------


def test_it_takes_work_within_3_seconds_small_and_on_two_sockets_only(
    receiver: ReceiverProcess,
) -> None:
    seconds = receiver.start()

    process = psutil.Process(receiver.running.pid)
    listening = {
        (item.laddr.ip.removeprefix("::ffff:"), item.laddr.port)
        for item in process.net_connections("inet")
        if item.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", receiver.grpc_port), ("127.0.0.1", receiver.http_port)}
    assert process.memory_info().rss < 120 * 1024 * 1024
    # It shares two cores with other tests; alone it takes half a second.
    assert seconds < 10
    cpu = process.cpu_times()
    assert cpu.user + cpu.system < 3


def test_it_never_imports_phoenix() -> None:
    program = (
        "import sys, tracequill_collector.service.receiver\n"
        "assert not {'phoenix', 'sqlalchemy', 'fastapi', 'asyncpg'} & set(sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_taken_port_is_one_sentence(receiver: ReceiverProcess, protocol: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if protocol == "grpc":
            receiver.grpc_port = port
        else:
            receiver.http_port = port
        receiver.spawn()
        _, logged = receiver.running.communicate(timeout=30)

    assert receiver.running.returncode == 1
    assert logged == (
        f"tracequill receiver: OTLP/{protocol.replace('grpc', 'gRPC').replace('http', 'HTTP')} "
        f"cannot listen on 127.0.0.1:{port}: Address already in use. Stop what listens there, "
        f"or set otlp_{protocol}_port (TRACEQUILL_OTLP_{protocol.upper()}_PORT).\n"
    )


def test_a_wrong_setting_is_one_sentence_and_wrong_usage(receiver: ReceiverProcess) -> None:
    receiver.variables["TRACEQUILL_QUEUE_MAX_BITES"] = "7"
    receiver.spawn()
    _, logged = receiver.running.communicate(timeout=30)

    assert receiver.running.returncode == 2
    assert logged == (
        "tracequill receiver: unknown variable TRACEQUILL_QUEUE_MAX_BITES. "
        "Did you mean 'TRACEQUILL_QUEUE_MAX_BYTES'?\n"
    )


def test_its_metrics_count_what_came(shared: ReceiverProcess) -> None:
    shared.post(request_of(span(14), span(15)))

    text = shared.request("GET", "/metrics").body.decode()

    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    key = 'otelcol_receiver_accepted_spans_total{receiver="otlp",transport="http"}'
    assert float(lines[key]) >= 2
    assert float(lines["tracequill_queue_backlog_bytes"]) > 0
    assert float(lines["tracequill_queue_sync_seconds_count"]) > 0


class _Senders:
    """Threads that send single spans by both protocols and remember which were accepted."""

    def __init__(self, receiver: ReceiverProcess) -> None:
        self.accepted: list[str] = []
        self._receiver = receiver
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(place, send))
            for place, send in enumerate((self._by_grpc, self._by_http) * 3)
        ]
        for thread in self._threads:
            thread.start()

    def _by_grpc(self, body: bytes) -> bool:
        return self._receiver.export(body) == b""

    def _by_http(self, body: bytes) -> bool:
        return self._receiver.post(body).status == 200

    def _send(self, place: int, send: Callable[[bytes], bool]) -> None:
        number = place * 1_000_000 + 1
        while not self._ended.is_set():
            name = f"span {number}"
            try:
                if send(request_of(span(number))):
                    self.accepted.append(name)
            except (OSError, grpc.RpcError, http.client.HTTPException):
                if self._receiver.running.poll() is not None:
                    return
            number += 1

    def end(self) -> None:
        """Wait for all threads."""
        self._ended.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_accepted_is_kept_however_the_process_ends(
    receiver: ReceiverProcess, number: signal.Signals
) -> None:
    accepted: list[str] = []
    for count in (50, 120):
        receiver.start()
        senders = _Senders(receiver)
        wait_until(lambda senders=senders, count=count: len(senders.accepted) >= count)  # type: ignore[misc]
        code, logged = receiver.stop(number)
        senders.end()
        accepted += senders.accepted
        if number == signal.SIGTERM:
            assert code == 0, logged
            assert "Traceback" not in logged
    receiver.start()

    names = [item.name for item in receiver.spans()]
    for name in set(accepted):
        assert names.count(name) >= accepted.count(name), f"{name} was accepted and is lost"


def test_it_ends_with_its_parent_where_nothing_else_tells_it(receiver: ReceiverProcess) -> None:
    parent = (
        "import os, subprocess, sys\n"
        "os.environ['TRACEQUILL_PARENT_PID'] = str(os.getpid())\n"
        "service = 'tracequill_collector.service.receiver'\n"
        "child = subprocess.Popen([sys.executable, '-m', service])\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    environment = {
        **{name: value for name, value in os.environ.items() if "TRACEQUILL" not in name},
        "TRACEQUILL_DATA_DIR": str(receiver.folder / "data"),
        "TRACEQUILL_OTLP_GRPC_PORT": str(free_port()),
        "TRACEQUILL_OTLP_HTTP_PORT": str(receiver.http_port),
    }
    with subprocess.Popen(
        [sys.executable, "-c", parent],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=receiver.folder,
    ) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        wait_until(receiver.is_ready)
        process.kill()

    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
