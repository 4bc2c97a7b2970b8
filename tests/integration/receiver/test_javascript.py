"""OpenTelemetry's exporters for JavaScript deliver whole spans to the receiver process."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.integration.receiver.inside import (
    CountingFailure,
    FullForSomeCalls,
    Inside,
    names_of,
    servers,
)
from tests.integration.receiver_rig import ReceiverProcess
from tracequill_collector.errors import PermanentError
from tracequill_collector.receiver import status

pytestmark = pytest.mark.integration

SEND = Path(__file__).parents[2] / "javascript" / "send.mjs"
PROTOCOLS = ["proto", "json", "grpc"]


@pytest.fixture(scope="session", autouse=True)
def clients() -> None:
    """The exporters, as the lock file names them."""
    subprocess.run(["sh", str(SEND.parents[1] / "javascript.sh")], check=True)


def _endpoint(protocol: str, grpc_port: int, http_port: int) -> str:
    if protocol == "grpc":
        return f"http://127.0.0.1:{grpc_port}"
    return f"http://127.0.0.1:{http_port}/v1/traces"


async def _send(
    protocol: str, grpc_port: int, http_port: int, *, compression: str = "none", count: int = 1
) -> dict[str, Any]:
    endpoint = _endpoint(protocol, grpc_port, http_port)
    process = await asyncio.create_subprocess_exec(
        *("node", str(SEND), protocol, endpoint, compression, str(count)),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    assert process.returncode == 0
    answer: dict[str, Any] = json.loads(said)
    return answer


def _value(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind or "string_value")


def _as_sent(span: Span) -> dict[str, Any]:
    return {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "parentSpanId": span.parent_span_id.hex(),
        "name": span.name,
        "start": str(span.start_time_unix_nano),
        "end": str(span.end_time_unix_nano),
        "attributes": {item.key: _value(item.value) for item in span.attributes},
    }


@pytest.mark.parametrize(
    ("protocol", "compression"),
    [*((protocol, "none") for protocol in PROTOCOLS), ("proto", "gzip"), ("json", "gzip")],
)
async def test_an_exporter_for_javascript_delivers_whole_spans(
    shared: ReceiverProcess, protocol: str, compression: str
) -> None:
    said = await _send(
        protocol, shared.grpc_port, shared.http_port, compression=compression, count=5
    )

    sent = {span["spanId"]: span for span in said["spans"]}
    arrived = await asyncio.to_thread(shared.spans)
    kept = {span.span_id.hex(): span for span in arrived if span.span_id.hex() in sent}
    for span in sent.values():
        if "cut.text" in span["attributes"]:
            span["attributes"]["cut.text"] = "\ufffd"  # half a character
    assert said["results"] == [{"code": 0}]
    assert len(sent) == 10
    assert {key: _as_sent(span) for key, span in kept.items()} == sent
    child = next(span for span in kept.values() if span.name == "child 0")
    assert (child.kind, child.status.code) == (Span.SPAN_KIND_CLIENT, 2)
    assert child.events[0].attributes[0].value.int_value == 0
    assert child.links[0].span_id == child.parent_span_id


async def _send_inside(protocol: str, inside: Inside) -> dict[str, Any]:
    return await _send(protocol, inside.grpc_port, inside.http_port)


@pytest.mark.parametrize("protocol", ["proto", "json"])
async def test_an_exporter_for_javascript_sends_again_when_told_to(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "_JITTER_SECONDS", 0)
    sink = FullForSomeCalls(1)
    async with servers(sink, patience_seconds=0) as inside:
        said = await _send_inside(protocol, inside)

    assert said["results"] == [{"code": 0}]
    assert sink.calls < 0
    assert sorted(names_of(sink.records)) == ["child 0", "parent 0"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_queue_that_is_full_for_a_moment_is_not_noticed_in_javascript(
    protocol: str,
) -> None:
    # Over gRPC the exporter never sends again: it is this moment, or the spans.
    sink = FullForSomeCalls(4)
    async with servers(sink, patience_seconds=5) as inside:
        said = await _send_inside(protocol, inside)

    assert said["results"] == [{"code": 0}]
    assert sorted(names_of(sink.records)) == ["child 0", "parent 0"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_exporter_for_javascript_does_not_repeat_what_is_refused_for_good(
    protocol: str,
) -> None:
    consumer = CountingFailure(PermanentError("this can never be kept."))
    async with servers(consumer) as inside:
        said = await _send_inside(protocol, inside)

    assert [result["code"] for result in said["results"]] == [1]
    assert consumer.calls == 1
