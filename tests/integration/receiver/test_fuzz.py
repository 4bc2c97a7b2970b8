"""Whatever is sent, the answer is one of those that are meant, and the receiver lives."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import zlib
from collections.abc import Iterator

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.receiver_rig import EXPORT, JSON, PROTOBUF, ReceiverProcess, request_of, span

pytestmark = pytest.mark.integration

EXAMPLES = settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

VALID = request_of(span(1, parent_span_id=b"12345678"), span(2, trace_state="a=b"))
VALID_JSON = json.dumps(
    {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "a", "value": {"stringValue": "b"}}]},
                "scopeSpans": [{"spans": [{"traceId": "ab" * 16, "spanId": "cd" * 8}]}],
            }
        ]
    }
).encode()


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """A valid request with some bytes changed, left out or put in."""
    data = bytearray(draw(st.sampled_from([VALID, VALID_JSON])))
    for _ in range(draw(st.integers(0, 5))):
        place = draw(st.integers(0, len(data)))
        data[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


BODIES = st.one_of(st.binary(max_size=300), _mutated())
JUNK = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)
CONTENT_TYPES = st.one_of(
    st.sampled_from([PROTOBUF, JSON, f"{JSON}; charset=utf-8", "text/plain", ""]), JUNK
)
ENCODINGS = st.one_of(st.sampled_from(["", "gzip", "deflate", "identity"]), JUNK)


@pytest.fixture
def connection(shared: ReceiverProcess) -> Iterator[http.client.HTTPConnection]:
    """One connection for many requests."""
    opened = http.client.HTTPConnection("127.0.0.1", shared.http_port, timeout=30)
    yield opened
    opened.close()
    assert shared.export(VALID) == b""


def _packed(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.compress(body)
    return zlib.compress(body) if encoding == "deflate" else body


@EXAMPLES
@given(BODIES, CONTENT_TYPES, ENCODINGS, st.booleans(), st.text(max_size=20))
def test_no_body_over_http_meets_anything_but_an_answer_that_is_meant(
    connection: http.client.HTTPConnection,
    body: bytes,
    content_type: str,
    encoding: str,
    is_packed: bool,
    project: str,
) -> None:
    headers: dict[str, str | bytes] = {
        "Content-Type": content_type,
        "Content-Encoding": encoding,
        "X-Project-Name": project.replace("\r", "").replace("\n", "").encode("utf-8", "replace"),
    }
    connection.request(
        "POST", "/v1/traces", _packed(body, encoding) if is_packed else body, headers
    )
    answer = connection.getresponse()
    answer.read()

    assert answer.status in (200, 400, 415)


@EXAMPLES
@given(st.one_of(st.binary(max_size=200), _mutated()))
def test_no_head_over_http_meets_an_error_of_ours(shared: ReceiverProcess, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", shared.http_port), timeout=30) as opened:
        opened.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
        opened.shutdown(socket.SHUT_WR)
        try:
            answer = opened.recv(4096)
        except ConnectionResetError:
            answer = b""

    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 200"))


@EXAMPLES
@given(st.text(max_size=30))
def test_no_path_meets_an_error_of_ours(connection: http.client.HTTPConnection, path: str) -> None:
    raw = "/" + "".join(f"%{byte:02x}" for byte in path.encode("utf-8", "surrogatepass"))
    connection.request("POST", raw, b"", {"Content-Type": PROTOBUF})
    answer = connection.getresponse()
    answer.read()

    assert answer.status in (404, 405)


@pytest.fixture
def channel(shared: ReceiverProcess) -> Iterator[grpc.Channel]:
    """One channel for many calls."""
    with grpc.insecure_channel(shared.grpc_address) as opened:
        yield opened
        assert opened.unary_unary(EXPORT, bytes, bytes)(VALID, timeout=30) == b""


@EXAMPLES
@given(BODIES)
def test_no_request_over_grpc_meets_anything_but_an_answer_that_is_meant(
    channel: grpc.Channel, body: bytes
) -> None:
    call = channel.unary_unary(EXPORT, bytes, bytes)
    try:
        call(body, timeout=30)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
