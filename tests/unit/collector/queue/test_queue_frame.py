from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.collector.queue.records import record
from tracequill_collector.errors import PermanentError
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.queue.frame import (
    HEADER_BYTES,
    MAGIC,
    Header,
    UnknownFrameError,
    decode_body,
    decode_header,
    encode,
)


def _frame(item: Record, segment_id: int = 7, sequence: int = 42) -> bytes:
    draft = encode(item)
    return draft.head(segment_id, sequence) + draft.payload


def _header(data: bytes) -> Header:
    header = decode_header(data)
    assert header is not None
    return header


def test_a_record_comes_back_as_it_went_in() -> None:
    original = Record(
        kind=RecordKind.EXCHANGE,
        received_unix_ns=-5,
        payload=bytes(range(256)) * 10,
        content_type="application/json; charset=utf-8",
        content_encoding="gzip",
        project_name="Prüfung ☃",
    )
    data = _frame(original)

    header = _header(data)

    assert (header.sequence, header.segment_id, header.frame_length) == (42, 7, len(data))
    assert decode_body(header, data[HEADER_BYTES:]) == original


def test_an_empty_record_comes_back() -> None:
    original = Record(RecordKind.OTLP_TRACES, 0, b"")
    data = _frame(original)

    assert len(data) == HEADER_BYTES
    assert decode_body(_header(data), b"") == original


def test_every_flipped_bit_is_noticed() -> None:
    data = _frame(record("payload"))
    for place in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << (place % 8)

        header = decode_header(bytes(damaged))

        assert header is None or decode_body(header, bytes(damaged[HEADER_BYTES:])) is None


def test_a_header_that_is_cut_off_is_none() -> None:
    data = _frame(record())

    assert [decode_header(data[:length]) for length in range(HEADER_BYTES)] == [None] * HEADER_BYTES


def test_a_header_is_found_at_an_offset() -> None:
    data = b"before" + _frame(record())

    assert decode_header(data, 6) is not None
    assert decode_header(data, 5) is None


def test_a_frame_begins_with_the_magic() -> None:
    assert _frame(record()).startswith(MAGIC)


def test_a_kind_that_is_not_known_is_told_apart_from_damage() -> None:
    draft = encode(Record(99, 0, b"later"))  # type: ignore[arg-type]
    header = _header(draft.head(1, 1))

    with pytest.raises(UnknownFrameError, match="a record of kind 99, which this Tracequill does"):
        decode_body(header, b"later")
    assert decode_body(header, b"Later") is None


def test_a_version_that_is_not_known_is_told_apart_from_damage() -> None:
    header = replace(_header(_frame(record())), version=2)

    with pytest.raises(UnknownFrameError, match="format version 2; this Tracequill reads 1"):
        decode_body(header, _frame(record())[HEADER_BYTES:])


def test_a_text_that_is_too_long_is_refused_for_good() -> None:
    long = Record(RecordKind.OTLP_TRACES, 0, b"", project_name="p" * 70_000)

    with pytest.raises(PermanentError, match="project_name has 70000 bytes; at most 65535"):
        encode(long)


def test_a_lone_surrogate_in_a_text_does_not_stop_the_record() -> None:
    odd = Record(RecordKind.OTLP_TRACES, 0, b"", project_name="a\udc80b")
    data = _frame(odd)

    kept = decode_body(_header(data), data[HEADER_BYTES:])

    assert isinstance(kept, Record)
    assert kept.project_name == "a?b"
