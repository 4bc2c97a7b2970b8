"""One request means the same in every encoding that OTLP allows, and odd spans are spans."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.integration.receiver_rig import JSON, PROTOBUF, ReceiverProcess, request_of, span

pytestmark = pytest.mark.integration

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


def _json(*spans: dict[str, Any]) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()


def _kept(receiver: ReceiverProcess, name: str) -> Span:
    (found,) = [item for item in receiver.spans() if item.name == name]
    return found


@pytest.mark.parametrize("encoding", COMPRESSIONS)
@pytest.mark.parametrize(
    "content_type", [PROTOBUF, f'{PROTOBUF}; x="y"', JSON, "APPLICATION/JSON;charset=UTF-8"]
)
def test_every_encoding_of_a_span_is_the_same_span(
    shared: ReceiverProcess, content_type: str, encoding: str
) -> None:
    name = f"{content_type} {encoding}"
    expected = span(77, name=name, parent_span_id=bytes(range(8)))
    if "protobuf" in content_type:
        body = request_of(expected)
    else:
        ids = {"traceId": expected.trace_id.hex(), "spanId": expected.span_id.hex()}
        body = _json({**ids, "parentSpanId": expected.parent_span_id.hex(), "name": name})

    answer = shared.post(COMPRESSIONS[encoding](body), content_type, content_encoding=encoding)

    assert answer.status == 200
    assert answer.headers.get_content_type() == content_type.partition(";")[0].lower()
    assert answer.body == (b"" if "protobuf" in content_type else b"{}")
    assert _kept(shared, name) == expected


@pytest.mark.parametrize("compression", list(grpc.Compression), ids=lambda item: item.name)
def test_every_compression_of_grpc_is_undone(
    shared: ReceiverProcess, compression: grpc.Compression
) -> None:
    expected = span(78, name=f"by grpc {compression.name}")

    assert shared.export(request_of(expected), compression=compression) == b""
    assert _kept(shared, expected.name) == expected


@pytest.mark.parametrize("body", [b"{}", b'{"resourceSpans": []}', b'{"resourceSpans": [{}]}'])
def test_an_empty_request_in_json_is_fine(shared: ReceiverProcess, body: bytes) -> None:
    answer = shared.post(body, JSON)

    assert (answer.status, json.loads(answer.body)) == (200, {})


def test_json_is_read_as_otlp_says(shared: ReceiverProcess) -> None:
    one = {
        "traceId": "5B8EFFF798038103d269b633813fc60c",
        "spanId": "EEE19B7EC3C1B174",
        "parentSpanId": "",
        "name": "all of json",
        "kind": 3,
        "flags": 769,
        "startTimeUnixNano": "1544712660000000001",
        "endTimeUnixNano": 1544712661000000001,
        "status": {"code": 2, "message": "no"},
        "droppedAttributesCount": 3,
        "notYetInvented": [{"traceId": 7}],
        "links": [{"traceId": "ab" * 16, "spanId": "CD" * 8}],
        "attributes": [
            {"key": "text", "value": {"stringValue": "1"}},
            {"key": "int as text", "value": {"intValue": "-9223372036854775808"}},
            {"key": "int", "value": {"intValue": 7}},
            {"key": "nan", "value": {"doubleValue": "NaN"}},
            {"key": "infinite", "value": {"doubleValue": "-Infinity"}},
            {"key": "bytes", "value": {"bytesValue": "AQID"}},
            {"key": "empty", "value": {}},
        ],
    }
    answer = shared.post(_json(one), JSON)

    kept = _kept(shared, "all of json")
    values = {item.key: item.value for item in kept.attributes}
    assert answer.status == 200
    assert json.loads(answer.body) == {}
    assert kept.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert (kept.span_id.hex(), kept.parent_span_id) == ("eee19b7ec3c1b174", b"")
    assert (kept.kind, kept.flags, kept.status.code) == (Span.SPAN_KIND_CLIENT, 769, 2)
    assert kept.start_time_unix_nano == 1544712660000000001
    assert kept.end_time_unix_nano == 1544712661000000001
    assert kept.dropped_attributes_count == 3
    assert kept.links[0].trace_id == b"\xab" * 16
    assert kept.links[0].span_id == b"\xcd" * 8
    assert values["text"].string_value == "1"
    assert values["int as text"].int_value == -(2**63)
    assert values["int"].int_value == 7
    assert values["nan"].double_value != values["nan"].double_value
    assert values["infinite"].double_value == float("-inf")
    assert values["bytes"].bytes_value == b"\1\2\3"
    assert values["empty"].WhichOneof("value") is None


def test_one_id_that_is_not_hex_rejects_one_span(shared: ReceiverProcess) -> None:
    good = {"traceId": "ab" * 16, "spanId": "cd" * 8, "name": "beside a bad id"}

    answer = shared.post(_json({**good, "traceId": "not hex", "name": "bad id"}, good), JSON)

    assert json.loads(answer.body)["partialSuccess"] == {
        "rejectedSpans": "1",
        "errorMessage": "1 of 2 spans are kept as dead letters: trace_id is not hex.",
    }
    assert _kept(shared, "beside a bad id").span_id == b"\xcd" * 8


def _attribute(key: str, value: AnyValue) -> KeyValue:
    return KeyValue(key=key, value=value)


ODD: dict[str, dict[str, object]] = {
    "ends before it starts": {"start_time_unix_nano": 9, "end_time_unix_nano": 3},
    "in the year 1970": {"start_time_unix_nano": 0, "end_time_unix_nano": 0},
    "past the year 2262": {"start_time_unix_nano": 2**64 - 1, "end_time_unix_nano": 2**63},
    "of a kind to come": {"kind": 99, "flags": 2**32 - 1},
    "with things dropped": {
        "dropped_attributes_count": 1,
        "dropped_events_count": 2,
        "dropped_links_count": 2**32 - 1,
    },
    "with a key twice": {
        "attributes": [
            _attribute("k", AnyValue(string_value="a")),
            _attribute("k", AnyValue(int_value=1)),
        ]
    },
    "with NUL and nothing": {
        "attributes": [_attribute("", AnyValue(string_value="\0")), _attribute("e", AnyValue())]
    },
    "with nested values": {
        "attributes": [
            _attribute(
                "n",
                AnyValue(
                    kvlist_value=KeyValueList(
                        values=[
                            _attribute(
                                "a",
                                AnyValue(
                                    array_value=ArrayValue(values=[AnyValue(bytes_value=b"\xff")])
                                ),
                            )
                        ]
                    )
                ),
            )
        ]
    },
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_span_is_a_span(shared: ReceiverProcess, name: str) -> None:
    odd = span(79, **{"name": name, **ODD[name]})

    answer = shared.export(request_of(odd))

    assert not ExportTraceServiceResponse.FromString(answer).HasField("partial_success")
    assert _kept(shared, name) == odd


@pytest.mark.parametrize("signal", ["logs", "metrics"])
def test_logs_and_metrics_over_grpc_are_not_implemented(
    shared: ReceiverProcess, signal: str
) -> None:
    service = f"opentelemetry.proto.collector.{signal}.v1.{signal.capitalize()}Service"
    with (
        grpc.insecure_channel(shared.grpc_address) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        channel.unary_unary(f"/{service}/Export", bytes, bytes)(b"", timeout=30)

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_headers_that_are_no_text_are_kept_as_the_nearest_text(shared: ReceiverProcess) -> None:
    expected = span(80, name="with odd headers")

    answer = shared.request(
        "POST",
        "/v1/traces",
        request_of(expected),
        content_type=f"{PROTOBUF}; charset=\xff",
        x_project_name="caf\xe9",
    )

    (record,) = [item for item in shared.records() if item.payload == request_of(expected)]
    assert answer.status == 200
    assert record.content_type.startswith(f"{PROTOBUF}; charset=")
    assert record.project_name == "café"


def test_a_text_that_is_not_utf_8_loses_no_span_and_is_kept_as_it_came(
    shared: ReceiverProcess,
) -> None:
    cut = span(81, attributes=[_attribute("input.value", AnyValue(string_value="CUT"))])
    body = request_of(cut, span(82, name="beside a cut text")).replace(b"CUT", b"Gr\xc3")

    assert shared.export(body) == b""

    (record,) = [item for item in shared.records() if item.payload == body]
    assert record.payload == body
    assert _kept(shared, "beside a cut text").span_id == (82).to_bytes(8, "big")
    (kept,) = [item for item in shared.spans() if item.span_id == cut.span_id]
    assert kept.attributes[0].value.string_value == "Gr\ufffd"
