from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.collector.queue.records import record
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.frame import HEADER_BYTES, encode
from tracequill_collector.queue.segment import (
    SEGMENT_HEADER_BYTES,
    Damage,
    Frame,
    SegmentReader,
    SegmentWriter,
    Tail,
    list_segments,
    segment_name,
)
from tracequill_collector.testing import FailingDisk

PATH = segment_name(0)


def _write(folder: Path, names: list[str], disk: Disk | None = None) -> SegmentWriter:
    segment = SegmentWriter.create(disk or Disk(), folder, 0)
    assert segment.write([encode(record(name)) for name in names], 0) == (len(names), None)
    segment.close()
    return segment


def _scan(folder: Path) -> list[Frame | Damage | Tail]:
    segment = SegmentReader(Disk(), folder, 0)
    found: list[Frame | Damage | Tail] = []
    offset = SEGMENT_HEADER_BYTES
    try:
        while not (found and isinstance(found[-1], Tail)):
            found.append(segment.read(offset))
            offset = found[-1].end
    finally:
        segment.close()
    return found


def _kept(found: list[Frame | Damage | Tail]) -> list[str]:
    return [item.record.payload.decode() for item in found if isinstance(item, Frame)]


def _edges(folder: Path) -> list[int]:
    return [item.offset for item in _scan(folder)]


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Path]:
    _write(tmp_path, ["one", "two", "three"])
    yield tmp_path


def test_frames_are_read_in_order_to_a_clean_end(three: Path) -> None:
    found = _scan(three)

    assert _kept(found) == ["one", "two", "three"]
    assert [item.sequence for item in found if isinstance(item, Frame)] == [0, 1, 2]
    end = (three / PATH).stat().st_size
    assert found[-1] == Tail(end, end, True, "the frame is cut off in its header.")


def test_a_segment_cut_anywhere_gives_the_whole_frames_before_the_cut(three: Path) -> None:
    whole = (three / PATH).read_bytes()
    edges = _edges(three)
    for length in range(SEGMENT_HEADER_BYTES, len(whole)):
        (three / PATH).write_bytes(whole[:length])

        found = _scan(three)

        assert len(_kept(found)) == sum(edge <= length for edge in edges[1:])
        tail = found[-1]
        assert isinstance(tail, Tail)
        assert tail.incomplete


def test_a_tail_of_zeros_counts_as_incomplete(three: Path) -> None:
    with (three / PATH).open("ab") as file:
        file.write(bytes(5000))

    tail = _scan(three)[-1]

    assert isinstance(tail, Tail)
    assert (tail.incomplete, tail.reason) == (True, "the segment ends in zeros.")


def test_each_flipped_byte_costs_at_most_the_frame_it_is_in(three: Path) -> None:
    whole = (three / PATH).read_bytes()
    edges = _edges(three)
    names = ["one", "two", "three"]
    for place in range(SEGMENT_HEADER_BYTES, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        (three / PATH).write_bytes(damaged)
        hit = max(index for index, edge in enumerate(edges) if edge <= place)

        found = _scan(three)

        assert _kept(found) == [name for index, name in enumerate(names) if index != hit]


def test_a_flipped_bit_in_the_segments_header_costs_nothing(three: Path) -> None:
    whole = bytearray((three / PATH).read_bytes())
    whole[20] ^= 1
    (three / PATH).write_bytes(whole)

    assert _kept(_scan(three)) == ["one", "two", "three"]


@pytest.mark.parametrize("length", [60, 200])
def test_a_lost_first_block_costs_only_the_frames_in_it(tmp_path: Path, length: int) -> None:
    """The segment's header and the first frames are gone, and with them the segment id.

    What is left begins in a payload that imitates frames, which another has written.
    """
    imitation = b"".join(encode(record("invented")).head(12345, 1) + b"invented" for _ in range(9))
    names = ["first", "second", "third"]
    segment = SegmentWriter.create(Disk(), tmp_path, 0)
    drafts = [encode(replace(record(), payload=imitation)), *map(encode, map(record, names))]
    segment.write(drafts, 0)
    segment.close()
    data = bytearray((tmp_path / PATH).read_bytes())
    data[:length] = bytes(length)
    (tmp_path / PATH).write_bytes(data)

    assert _kept(_scan(tmp_path)) == names


def test_a_damaged_last_frame_is_no_incomplete_one(three: Path) -> None:
    whole = bytearray((three / PATH).read_bytes())
    whole[-1] ^= 1
    (three / PATH).write_bytes(whole)

    tail = _scan(three)[-1]

    assert isinstance(tail, Tail)
    assert (tail.incomplete, tail.sequence) == (False, 2)


def test_a_payload_that_imitates_a_frame_is_never_taken_for_one(tmp_path: Path) -> None:
    """Damage to the frame around it makes the reader look for the next magic."""
    imitation = encode(record("invented")).head(12345, 1) + b"invented"
    segment = SegmentWriter.create(Disk(), tmp_path, 0)
    outer = encode(record(imitation.decode("latin-1")))
    hidden = type(outer)(
        outer.kind, outer.lengths, outer.received_unix_ns, outer.body_crc, outer.texts, imitation
    )
    segment.write([hidden, encode(record("real"))], 0)
    segment.close()
    data = bytearray((tmp_path / PATH).read_bytes())
    data[SEGMENT_HEADER_BYTES + 6] ^= 1  # a length in the outer frame's header
    (tmp_path / PATH).write_bytes(data)

    assert _kept(_scan(tmp_path)) == ["real"]


def test_a_magic_across_two_chunks_is_found(tmp_path: Path) -> None:
    segment = SegmentWriter.create(Disk(), tmp_path, 0)
    # The second frame's magic begins two bytes before what is read at once ends.
    chunk = 1024 * 1024
    payload = chunk - 2 - HEADER_BYTES - len(encode(record()).texts)
    segment.write([encode(record("a", length=payload)), encode(record("next"))], 0)
    segment.close()
    data = bytearray((tmp_path / PATH).read_bytes())
    data[SEGMENT_HEADER_BYTES] ^= 1
    (tmp_path / PATH).write_bytes(data)

    assert _kept(_scan(tmp_path)) == ["next"]


def test_skipping_ends_at_the_wanted_sequence(three: Path) -> None:
    segment = SegmentReader(Disk(), three, 0)
    try:
        found = segment.read(segment.skip(SEGMENT_HEADER_BYTES, 2))
    finally:
        segment.close()

    assert isinstance(found, Frame)
    assert found.sequence == 2


def test_a_short_write_is_carried_on(tmp_path: Path) -> None:
    disk = FailingDisk()
    segment = SegmentWriter.create(disk, tmp_path, 0)
    disk.short_write = HEADER_BYTES + 10

    assert segment.write([encode(record("one")), encode(record("two"))], 0) == (2, None)

    segment.close()
    assert _kept(_scan(tmp_path)) == ["one", "two"]


def test_more_records_than_one_call_takes_are_all_written(tmp_path: Path) -> None:
    names = [str(number) for number in range(3000)]
    _write(tmp_path, names)

    assert _kept(_scan(tmp_path)) == names


def test_an_error_after_a_short_write_says_how_many_records_are_whole(tmp_path: Path) -> None:
    disk = FailingDisk()
    segment = SegmentWriter.create(disk, tmp_path, 0)
    drafts = [encode(record(name)) for name in ("one", "two", "three")]
    disk.short_write = drafts[0].frame_length + 5
    disk.errors["write"] = [OSError(errno.ENOSPC, "full")]

    whole, error = segment.write(drafts, 0)

    segment.close()
    assert (whole, error and error.errno) == (1, errno.ENOSPC)
    found = _scan(tmp_path)
    assert _kept(found) == ["one"]
    assert isinstance(found[-1], Tail)
    assert found[-1].incomplete


def test_a_segment_whose_header_cannot_be_written_is_not_left_behind(tmp_path: Path) -> None:
    disk = FailingDisk()
    disk.errors["write"] = [OSError(errno.ENOSPC, "full")]

    with pytest.raises(OSError, match="full"):
        SegmentWriter.create(disk, tmp_path, 0)

    assert list_segments(disk, tmp_path) == {}


def test_segments_are_listed_oldest_first_and_nothing_else(tmp_path: Path) -> None:
    for first in (700, 3, 90):
        SegmentWriter.create(Disk(), tmp_path, first).close()
    (tmp_path / "notes.segment").write_text("not one of ours")

    assert list(list_segments(Disk(), tmp_path)) == [3, 90, 700]
