"""What the receiver process answers over gRPC."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.integration.receiver_rig import (
    EXPORT,
    SHARED_MAX_BYTES,
    ReceiverProcess,
    names_in,
    request_of,
    span,
    trailers_of,
)

pytestmark = pytest.mark.integration


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
    assert {f"at once {number}" for number in range(1, 201)} <= names_in(shared)


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
            bytes(SHARED_MAX_BYTES + 1), None, grpc.StatusCode.RESOURCE_EXHAUSTED, id="too large"
        ),
        pytest.param(
            bytes(100 * SHARED_MAX_BYTES),
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
    assert "google.rpc.retryinfo-bin" not in trailers_of(caught.value)
