"""What the receiver process answers over HTTP, byte by byte."""

from __future__ import annotations

import gzip
import json
import socket
import zlib

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tests.integration.receiver_rig import (
    JSON,
    PROTOBUF,
    SHARED_MAX_BYTES,
    ReceiverProcess,
    names_in,
    request_of,
    span,
)

pytestmark = pytest.mark.integration


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

    assert "in chunks" in names_in(shared)


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
    names = names_in(shared)
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
            bytes(SHARED_MAX_BYTES + 1),
            {},
            413,
            f"larger than {SHARED_MAX_BYTES} bytes",
            id="too large: 413",
        ),
        pytest.param(
            gzip.compress(bytes(SHARED_MAX_BYTES + 1)),
            {"content_encoding": "gzip"},
            413,
            f"larger than {SHARED_MAX_BYTES} bytes",
            id="too large when unpacked: 413",
        ),
        pytest.param(
            zlib.compress(bytes(500 * SHARED_MAX_BYTES)),
            {"content_encoding": "deflate"},
            413,
            f"larger than {SHARED_MAX_BYTES} bytes",
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
