from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.exchange_cases import encode_eventstream
from tracequill_collector.recorder.eventstream import HeaderValue, parse_eventstream

_FIRST = encode_eventstream({":event-type": "one", ":message-type": "event"}, b'{"a":1}')
_SECOND = encode_eventstream({":event-type": "two"}, b"")


def test_messages_come_in_order_with_headers_and_payload() -> None:
    stream = parse_eventstream(_FIRST + _SECOND)

    first, second = stream.messages
    assert (first.text_header(":event-type"), first.payload) == ("one", b'{"a":1}')
    assert (second.text_header(":event-type"), second.payload) == ("two", b"")
    assert second.text_header(":message-type") == ""
    assert stream.problem == ""


@pytest.mark.parametrize("kept", [1, 11, 12, 20, len(_SECOND) - 1])
def test_a_cut_stream_gives_what_came_before(kept: int) -> None:
    stream = parse_eventstream(_FIRST + _SECOND[:kept])

    assert [message.payload for message in stream.messages] == [b'{"a":1}']
    assert stream.problem == f"event stream is cut at byte {len(_FIRST)}"


@pytest.mark.parametrize(
    ("position", "problem"),
    [
        pytest.param(2, "prelude checksum", id="a wrong length"),
        pytest.param(14, "message checksum", id="a wrong header"),
        pytest.param(-6, "message checksum", id="a wrong payload"),
    ],
)
def test_a_flipped_bit_is_found_and_ends_reading(position: int, problem: str) -> None:
    broken = bytearray(_FIRST)
    broken[position] ^= 1

    stream = parse_eventstream(_SECOND + bytes(broken) + _SECOND)

    assert len(stream.messages) == 1
    assert problem in stream.problem


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        pytest.param(b"\x00", True, id="true"),
        pytest.param(b"\x01", False, id="false"),
        pytest.param(b"\x02\xff", -1, id="byte"),
        pytest.param(b"\x03\x01\x00", 256, id="short"),
        pytest.param(b"\x04\x00\x01\x00\x00", 65536, id="integer"),
        pytest.param(b"\x05" + b"\x00" * 7 + b"\x05", 5, id="long"),
        pytest.param(b"\x06\x00\x02\x01\x02", b"\x01\x02", id="bytes"),
        pytest.param(b"\x07\x00\x02hi", "hi", id="text"),
        pytest.param(b"\x08" + b"\x00" * 7 + b"\x09", 9, id="timestamp"),
        pytest.param(b"\x09" + b"u" * 16, b"u" * 16, id="uuid"),
    ],
)
def test_every_type_of_header_is_read(encoded: bytes, value: HeaderValue) -> None:
    (message,) = parse_eventstream(_message(b"\x01a" + encoded + b"\x01b\x00")).messages

    assert message.headers == {"a": value, "b": True}


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(b"\x01a\x0a", id="an unknown type"),
        pytest.param(b"\x01a", id="no value"),
        pytest.param(b"\x01a\x04\x00", id="a number that is cut"),
        pytest.param(b"\x01a\x07\x00\x09x", id="a text that is cut"),
        pytest.param(b"\x01\xff\x00", id="a name that is not UTF-8"),
    ],
)
def test_unreadable_headers_end_reading(headers: bytes) -> None:
    stream = parse_eventstream(_SECOND + _message(headers))

    assert len(stream.messages) == 1
    assert "unreadable headers" in stream.problem


def test_impossible_lengths_end_reading() -> None:
    prelude = struct.pack(">II", 20, 30)
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + b"\x00" * 30

    assert "impossible lengths" in parse_eventstream(body).problem


@given(st.binary())
def test_no_bytes_raise(body: bytes) -> None:
    parse_eventstream(body)


def _message(headers: bytes) -> bytes:
    prelude = struct.pack(">II", 16 + len(headers), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers
    return message + struct.pack(">I", zlib.crc32(message))
