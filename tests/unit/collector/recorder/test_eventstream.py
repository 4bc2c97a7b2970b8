from __future__ import annotations

import struct
import tracemalloc
import zlib
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from tests.exchange_cases import encode_eventstream
from tracequill_collector.recorder.aws.eventstream import (
    EventStream,
    EventStreamMessage,
    HeaderValue,
)

_FIRST = encode_eventstream({":event-type": "one", ":message-type": "event"}, b'{"a":1}')
_SECOND = encode_eventstream({":event-type": "two"}, b"")


def test_messages_come_in_order_with_headers_and_payload() -> None:
    stream = EventStream(_FIRST + _SECOND)

    first, second = stream
    assert (first.text_header(":event-type"), first.payload) == ("one", b'{"a":1}')
    assert (second.text_header(":event-type"), second.payload) == ("two", b"")
    assert second.text_header(":message-type") == ""
    assert stream.problem == ""


@pytest.mark.parametrize("kept", [1, 11, 12, 20, len(_SECOND) - 1])
def test_a_cut_stream_gives_what_came_before(kept: int) -> None:
    stream = EventStream(_FIRST + _SECOND[:kept])

    assert [message.payload for message in stream] == [b'{"a":1}']
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

    stream = EventStream(_SECOND + bytes(broken) + _SECOND)

    assert len(list(stream)) == 1
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
    (message,) = EventStream(_message(b"\x01a" + encoded + b"\x01b\x00"))

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
def test_a_message_with_unreadable_headers_is_left_out(headers: bytes) -> None:
    stream = EventStream(_FIRST + _message(headers) + _SECOND)

    assert [message.payload for message in stream] == [b'{"a":1}', b""]
    assert "unreadable headers" in stream.problem


@pytest.mark.parametrize(
    ("total", "headers", "problem"),
    [
        pytest.param(20, 30, "impossible lengths", id="headers longer than the message"),
        pytest.param(0, 0, "impossible lengths", id="nothing"),
        pytest.param(15, 0, "impossible lengths", id="no room for the checksum"),
        pytest.param(2**32 - 1, 0, "is cut", id="4 GiB"),
        pytest.param(2**32 - 1, 2**32 - 17, "is cut", id="4 GiB of headers"),
        pytest.param(40, 2**32 - 1, "impossible lengths", id="4 GiB of headers in 40 bytes"),
    ],
)
def test_lengths_that_cannot_be_end_reading(total: int, headers: int, problem: str) -> None:
    prelude = struct.pack(">II", total, headers)
    stream = EventStream(_FIRST + prelude + struct.pack(">I", zlib.crc32(prelude)) + b"\x00" * 30)

    assert len(list(stream)) == 1
    assert problem in stream.problem


def test_many_small_messages_take_little_memory() -> None:
    body = _message(b"") * 60_000
    tracemalloc.start()
    try:
        count = sum(1 for _ in EventStream(body))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert count == 60_000
    assert peak_bytes < 100_000


# --- whatever comes -----------------------------------------------------------------------


def _sized(kind: int, data: bytes) -> bytes:
    return struct.pack(">BH", kind, len(data)) + data


_NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=9).map(str.encode)
_VALUES = st.one_of(
    st.sampled_from([b"\x00", b"\x01"]),
    st.integers(-(2**7), 2**7 - 1).map(lambda number: struct.pack(">Bb", 2, number)),
    st.integers(-(2**15), 2**15 - 1).map(lambda number: struct.pack(">Bh", 3, number)),
    st.integers(-(2**31), 2**31 - 1).map(lambda number: struct.pack(">Bi", 4, number)),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: struct.pack(">Bq", 5, number)),
    st.binary(max_size=20).map(lambda data: _sized(6, data)),
    st.text(st.characters(codec="utf-8"), max_size=9).map(lambda text: _sized(7, text.encode())),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: struct.pack(">Bq", 8, number)),
    st.binary(min_size=16, max_size=16).map(lambda data: b"\x09" + data),
)
_HEADERS = st.dictionaries(_NAMES, _VALUES, max_size=4).map(
    lambda headers: b"".join(
        struct.pack(">B", len(name)) + name + value for name, value in headers.items()
    )
)
_FRAMES = st.builds(lambda headers, payload: _message(headers, payload), _HEADERS, st.binary())
_STREAMS = st.lists(_FRAMES, min_size=1, max_size=5)


@given(st.binary())
def test_no_bytes_raise(body: bytes) -> None:
    list(EventStream(body))


@given(_STREAMS, st.data())
def test_botocore_reads_the_same_messages(frames: list[bytes], data: st.DataObject) -> None:
    body = b"".join(frames)
    buffer: Any = EventStreamBuffer()
    position = 0
    while position < len(body):
        size = data.draw(st.integers(1, len(body)))
        buffer.add_data(body[position : position + size])
        position += size

    stream = EventStream(body)

    theirs = [EventStreamMessage(message.headers, message.payload) for message in buffer]
    assert list(stream) == theirs
    assert stream.problem == ""


@given(_STREAMS, st.data())
def test_a_stream_cut_anywhere_gives_the_messages_before(
    frames: list[bytes], data: st.DataObject
) -> None:
    body = b"".join(frames)
    kept = data.draw(st.integers(0, len(body)))
    ends = [sum(map(len, frames[: count + 1])) for count in range(len(frames))]

    stream = EventStream(body[:kept])

    whole = [end for end in ends if end <= kept]
    assert list(stream) == list(EventStream(body))[: len(whole)]
    assert ("is cut" in stream.problem) == (kept not in (0, *ends))


@given(_STREAMS, st.data())
def test_a_byte_that_is_changed_anywhere_ends_reading_before_its_message(
    frames: list[bytes], data: st.DataObject
) -> None:
    body = bytearray(b"".join(frames))
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] ^= data.draw(st.integers(1, 255))
    ends = [sum(map(len, frames[: count + 1])) for count in range(len(frames))]

    stream = EventStream(bytes(body))

    whole = [end for end in ends if end <= place]
    assert list(stream) == list(EventStream(b"".join(frames)))[: len(whole)]
    assert stream.problem


def _message(headers: bytes, payload: bytes = b"") -> bytes:
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))
