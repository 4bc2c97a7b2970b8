from __future__ import annotations

import gzip
import json
import random
import zlib

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracequill_collector.errors import PermanentError
from tracequill_collector.otlp import (
    JSON,
    PROTOBUF,
    OversizeError,
    UnsupportedError,
    count_spans,
    decompress,
    parse_traces,
    rejected_spans,
)

TRACE_ID = bytes(range(16))
SPAN_ID = bytes(range(8))


def _request(*spans: Span) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(spans)
    return request


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


# --- decompressing ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        pytest.param("", b"spans " * 1000, id="none"),
        pytest.param("identity", b"spans " * 1000, id="identity"),
        pytest.param("gzip", gzip.compress(b"spans " * 1000), id="gzip"),
        pytest.param(" GZIP ", gzip.compress(b"spans " * 1000), id="gzip in capitals"),
        pytest.param(
            "gzip",
            gzip.compress(b"spans " * 400) + gzip.compress(b"spans " * 600),
            id="gzip of two members",
        ),
        pytest.param("gzip", gzip.compress(b"spans " * 1000) + bytes(8), id="gzip with padding"),
        pytest.param("deflate", zlib.compress(b"spans " * 1000), id="deflate"),
        pytest.param("deflate", _raw_deflate(b"spans " * 1000), id="deflate without zlib"),
    ],
)
def test_every_encoding_is_undone(encoding: str, packed: bytes) -> None:
    assert decompress(packed, encoding, 6000) == b"spans " * 1000


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
def test_one_byte_past_the_limit_is_too_large(encoding: str) -> None:
    plain = b"x" * 6001
    packed = {"": plain, "gzip": gzip.compress(plain), "deflate": zlib.compress(plain)}[encoding]

    with pytest.raises(OversizeError, match=r"larger than 6000 bytes\. Send smaller batches"):
        decompress(packed, encoding, 6000)


def test_the_members_of_a_gzip_share_one_limit() -> None:
    with pytest.raises(OversizeError):
        decompress(gzip.compress(b"x" * 60) * 200, "gzip", 6000)


class _Fed:
    """Counts what zlib is given."""

    def __init__(self) -> None:
        self.bytes = 0
        self.members = 0
        self._real = zlib.decompressobj

    def decompressobj(self, window: int) -> _Fed:
        """Begin a member."""
        self.members += 1
        self._unpacker = self._real(window)
        return self

    def decompress(self, packed: bytes, max_length: int) -> bytes:
        """Count, and decompress."""
        self.bytes += len(packed)
        return self._unpacker.decompress(packed, max_length)

    def __getattr__(self, name: str) -> object:
        return getattr(self._unpacker, name)


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> _Fed:
    """What zlib was given in the test."""
    fed = _Fed()
    monkeypatch.setattr(zlib, "decompressobj", fed.decompressobj)
    return fed


def test_many_members_cost_what_their_bytes_cost(fed: _Fed) -> None:
    plain = random.Random(1).randbytes(10_000)
    packed = gzip.compress(plain) * 300

    assert decompress(packed, "gzip", 1 << 22) == plain * 300
    assert fed.bytes < 5 * len(packed)


def test_a_member_longer_than_what_is_fed_at_once_is_read_whole() -> None:
    plain = random.Random(1).randbytes(100_000)

    assert decompress(gzip.compress(plain) * 3 + bytes(50), "gzip", 1 << 20) == plain * 3


def test_members_without_end_are_refused_for_good(fed: _Fed) -> None:
    packed = gzip.compress(b"") * 20_000

    with pytest.raises(PermanentError, match="more than 2000 members"):
        decompress(packed, "gzip", 1 << 20)

    assert fed.members == 2000


def test_the_second_of_two_members_can_be_cut_off() -> None:
    packed = gzip.compress(b"spans") * 2

    with pytest.raises(PermanentError, match=f"cut off after {len(packed) - 3} bytes"):
        decompress(packed[:-3], "gzip", 1 << 20)


def test_a_gzip_bomb_costs_no_more_than_the_limit() -> None:
    import tracemalloc

    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(300)), packer.flush()])
    tracemalloc.start()

    with pytest.raises(OversizeError):
        decompress(bomb, "gzip", 1 << 20)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        pytest.param("gzip", b"plain", id="gzip that is none"),
        pytest.param("gzip", b"", id="empty gzip"),
        pytest.param("gzip", gzip.compress(b"spans" * 99)[:-9], id="gzip cut off"),
        pytest.param("gzip", gzip.compress(b"spans") + b"more", id="gzip and something else"),
        pytest.param("deflate", b"plain", id="deflate that is none"),
        pytest.param("deflate", zlib.compress(b"spans" * 99)[:-2], id="deflate cut off"),
    ],
)
def test_bytes_that_are_not_what_they_say_are_refused_for_good(
    encoding: str, packed: bytes
) -> None:
    with pytest.raises(PermanentError):
        decompress(packed, encoding, 1 << 20)


def test_an_encoding_that_is_not_read_is_named() -> None:
    with pytest.raises(UnsupportedError, match=r"'zstd' is not supported\. Use gzip, deflate"):
        decompress(b"", "zstd", 10)


# --- parsing ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    ["", "application/x-protobuf", "Application/X-Protobuf; charset=utf-8", "application/grpc"],
)
def test_protobuf_is_parsed_under_all_its_names(content_type: str) -> None:
    request = _request(Span(name="chat", trace_id=TRACE_ID, span_id=SPAN_ID))

    assert parse_traces(request.SerializeToString(), content_type) == request


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "application/jsonx"])
def test_another_content_type_is_named(content_type: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{content_type!r} is not supported"):
        parse_traces(b"", content_type)


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", b"hello", b"{}"])
def test_what_is_no_protobuf_is_refused_for_good(payload: bytes) -> None:
    with pytest.raises(PermanentError, match="not an ExportTraceServiceRequest"):
        parse_traces(payload, PROTOBUF)


def test_an_empty_body_is_an_empty_request() -> None:
    assert count_spans(parse_traces(b"", PROTOBUF)) == 0


def test_texts_that_are_not_utf_8_are_repaired_and_nothing_else_is_touched() -> None:
    cut = "Grüße".encode()[:3]
    request = _request(
        Span(
            trace_id=b"\xff" * 16,
            span_id=b"\xfe" * 8,
            name="CUTNAME",
            attributes=[
                KeyValue(key="CUTNAME", value=AnyValue(string_value="CUTNAME")),
                KeyValue(key="bytes", value=AnyValue(bytes_value=b"\xff\0")),
                KeyValue(
                    key="list",
                    value=AnyValue(
                        array_value=ArrayValue(values=[AnyValue(string_value="CUTNAME")])
                    ),
                ),
            ],
        ),
        Span(trace_id=TRACE_ID, span_id=SPAN_ID, name="whole: Grüße"),
    )
    plain = request.SerializeToString()
    broken = plain.replace(b"CUTNAME", cut + b"NAME")

    repaired = parse_traces(broken, PROTOBUF)

    assert len(broken) == len(plain)
    first, second = repaired.resource_spans[0].scope_spans[0].spans
    assert (first.trace_id, first.name) == (b"\xff" * 16, "Gr\ufffdNAME")
    assert first.attributes[0].key == first.attributes[0].value.string_value == "Gr\ufffdNAME"
    assert first.attributes[1].value.bytes_value == b"\xff\0"
    assert first.attributes[2].value.array_value.values[0].string_value == "Gr\ufffdNAME"
    assert second == request.resource_spans[0].scope_spans[0].spans[1]


def _json(span: object) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


def test_json_has_ids_in_hex_of_either_case_and_numbers_as_text() -> None:
    payload = _json(
        {
            "traceId": "5B8EFFF798038103D269B633813FC60C",
            "spanId": "eee19b7ec3c1b174",
            "parentSpanId": "",
            "name": "chat",
            "kind": 2,
            "startTimeUnixNano": "1544712660000000000",
            "endTimeUnixNano": 1544712661000000000,
            "attributes": [{"key": "n", "value": {"intValue": "9007199254740993"}}],
            "links": [
                {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "EEE19B7EC3C1B173"}
            ],
            "unknownField": {"ignored": True},
        }
    )

    request = parse_traces(payload, "application/json; charset=utf-8")

    (span,) = request.resource_spans[0].scope_spans[0].spans
    assert span.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert (span.span_id.hex(), span.parent_span_id) == ("eee19b7ec3c1b174", b"")
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (
        1544712660000000000,
        1544712661000000000,
    )
    assert span.attributes[0].value.int_value == 9007199254740993
    assert span.links[0].span_id.hex() == "eee19b7ec3c1b173"
    assert list(rejected_spans(request)) == []


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"resourceSpans": 1}', id="a number for a list"),
        pytest.param(b'{"resourceSpans": [1]}', id="a number for an object"),
        pytest.param(_json({"traceId": 5}), id="an id that is no text"),
        pytest.param(_json({"name": 5}), id="a number for text"),
        pytest.param(b'{"a":' * 100_000, id="too deep"),
        pytest.param(_json({"startTimeUnixNano": 1e300}), id="a time beyond all bounds"),
        pytest.param(_json({"startTimeUnixNano": -1}), id="a time below zero"),
        pytest.param(_json({"name": "a", "startTimeUnixNano": "x"}), id="a time that is none"),
        pytest.param(b"\xff", id="not UTF-8"),
    ],
)
def test_json_that_is_no_request_is_refused_for_good(payload: bytes) -> None:
    with pytest.raises(PermanentError):
        parse_traces(payload, JSON)


def test_json_and_protobuf_of_one_request_are_the_same() -> None:
    payload = _json({"traceId": TRACE_ID.hex(), "spanId": SPAN_ID.hex(), "name": "chat"})

    expected = _request(Span(trace_id=TRACE_ID, span_id=SPAN_ID, name="chat"))
    assert parse_traces(payload, JSON) == expected


@pytest.mark.parametrize("name", ["traceId", "spanId", "parentSpanId"])
@pytest.mark.parametrize("text", ["xyz", "5b8", "z" * 32, "z" * 16, "5b 8e ff f7 98 03 81 03", "ä"])
def test_an_id_that_is_not_hex_rejects_its_span_alone(name: str, text: str) -> None:
    good = {"traceId": TRACE_ID.hex(), "spanId": SPAN_ID.hex()}
    payload = {"resourceSpans": [{"scopeSpans": [{"spans": [{**good, name: text}, good]}]}]}

    (rejected,) = rejected_spans(parse_traces(json.dumps(payload).encode(), JSON))

    names = {"traceId": "trace_id", "spanId": "span_id", "parentSpanId": "parent_span_id"}
    assert rejected == (0, f"{names[name]} is not hex.")


def test_json_in_snake_case_is_read_too() -> None:
    one = {"trace_id": TRACE_ID.hex(), "span_id": SPAN_ID.hex(), "parent_span_id": SPAN_ID.hex()}
    payload = {"resource_spans": [{"scope_spans": [{"spans": [one]}]}]}

    request = parse_traces(json.dumps(payload).encode(), JSON)

    assert request == _request(Span(trace_id=TRACE_ID, span_id=SPAN_ID, parent_span_id=SPAN_ID))


def test_a_lone_surrogate_in_json_becomes_the_replacement_character() -> None:
    one = {
        "traceId": TRACE_ID.hex(),
        "spanId": SPAN_ID.hex(),
        "name": "cut \ud83d",
        "attributes": [{"key": "\udc00", "value": {"stringValue": "\U0001f600 whole"}}],
    }

    request = parse_traces(_json(one), JSON)

    (span,) = request.resource_spans[0].scope_spans[0].spans
    assert span.name == "cut \ufffd"
    assert span.attributes[0].key == "\ufffd"
    assert span.attributes[0].value.string_value == "\U0001f600 whole"


def test_spans_under_the_names_before_otlp_0_15_are_found_in_protobuf() -> None:
    old = _request(Span(name="old")).resource_spans[0].scope_spans[0]
    old.scope.name = "library"
    inner = old.SerializeToString()
    # Field 1000, length-delimited.
    library_spans = b"\xc2\x3e" + bytes([len(inner)]) + inner
    payload = b"\x0a" + bytes([len(library_spans)]) + library_spans

    request = parse_traces(payload, PROTOBUF)

    assert list(request.resource_spans[0].scope_spans) == [old]


@pytest.mark.parametrize(
    ("spans", "library"),
    [
        ("instrumentationLibrarySpans", "instrumentationLibrary"),
        ("instrumentation_library_spans", "instrumentation_library"),
    ],
)
def test_spans_under_the_names_before_otlp_0_15_are_found_in_json(spans: str, library: str) -> None:
    old = {library: {"name": "library"}, "spans": [{"spanId": SPAN_ID.hex(), "name": "old"}]}
    new = {"spans": [{"name": "new"}]}
    payload = {"resourceSpans": [{spans: [old], "scopeSpans": [new]}]}

    request = parse_traces(json.dumps(payload).encode(), JSON)

    first, second = request.resource_spans[0].scope_spans
    assert (first.spans[0].name, second.spans[0].name) == ("new", "old")
    assert (second.scope.name, second.spans[0].span_id) == ("library", SPAN_ID)


# --- ids --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        (Span(span_id=SPAN_ID), "trace_id has 0 bytes instead of 16."),
        (Span(trace_id=b"short", span_id=SPAN_ID), "trace_id has 5 bytes instead of 16."),
        (Span(trace_id=bytes(16), span_id=SPAN_ID), "trace_id is all zeros."),
        (Span(trace_id=TRACE_ID), "span_id has 0 bytes instead of 8."),
        (Span(trace_id=TRACE_ID, span_id=bytes(9)), "span_id has 9 bytes instead of 8."),
        (Span(trace_id=TRACE_ID, span_id=bytes(8)), "span_id is all zeros."),
        (
            Span(trace_id=TRACE_ID, span_id=SPAN_ID, parent_span_id=b"123"),
            "parent_span_id has 3 bytes instead of 8 or none.",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_span_with_bad_ids_is_rejected_with_the_reason(span: Span, reason: str) -> None:
    good = Span(trace_id=TRACE_ID, span_id=SPAN_ID, parent_span_id=SPAN_ID)
    request = _request(good, span)

    (rejected,) = rejected_spans(request)

    assert rejected == (1, reason)
    assert count_spans(request) == 2
