"""The format of a segment, byte by byte, and what becomes of other versions of it.

The segment below is written by hand from the table in ``segment.py``. Version 1 was given out: this
file keeps it readable, also when a later version is written.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import google_crc32c
import pytest

from tests.unit.collector.queue.records import CAP, read_all, record, texts
from tracequill_collector.errors import StartError
from tracequill_collector.pipeline import QueuedRecord, Record, RecordKind
from tracequill_collector.queue import checkpoint as checkpoints
from tracequill_collector.queue import segment as segment_module
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.history import HistoryReader
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.queue.segment import list_segments
from tracequill_collector.queue.writer import QueueWriter

_SEGMENT_ID = 0x0123456789ABCDEF
_NAME = "00000000000000000041.segment"


def _with_crc(fields: bytes) -> bytes:
    crc: int = google_crc32c.value(fields)
    return fields + crc.to_bytes(4, "little")


def _segment_header(version: int = 1, first: int = 41) -> bytes:
    fields = b"TQSEGMT\n"
    fields += version.to_bytes(4, "little")
    fields += bytes.fromhex("efcdab8967452301")
    fields += first.to_bytes(8, "little")
    fields += (1_750_000_000_000_000_000).to_bytes(8, "little", signed=True)
    return _with_crc(fields)


def _frame(sequence: int, payload: bytes, *, version: int = 1, kind: int = 1) -> bytes:
    body = b"application/jsongzippr\xc3\xbcfung" + payload
    fields = bytes.fromhex("5471f5a7") + bytes([version, kind])
    fields += bytes.fromhex("1000") + bytes.fromhex("0400") + bytes.fromhex("0800")
    fields += len(payload).to_bytes(4, "little")
    fields += bytes.fromhex("efcdab8967452301")
    fields += sequence.to_bytes(8, "little")
    fields += (-2).to_bytes(8, "little", signed=True)
    fields += _with_crc(body)[-4:]
    return _with_crc(fields) + body


def _content(tree: Path) -> dict[str, bytes]:
    """All files but the locks, whose content is a process id, and the reserve."""
    return {
        str(path.relative_to(tree)): path.read_bytes()
        for path in tree.rglob("*")
        if path.is_file() and path.suffix != ".lock" and path.name != "reserve"
    }


async def _read(folder: Path) -> list[QueuedRecord]:
    reader = await QueueReader.open(folder, consumer="test")
    try:
        return await read_all(reader)
    finally:
        await reader.close()


async def test_a_segment_written_by_hand_is_read(tmp_path: Path) -> None:
    data = _segment_header() + _frame(41, b"one") + _frame(42, b"", kind=2) + _frame(43, b"three")
    (tmp_path / _NAME).write_bytes(data)

    found = await _read(tmp_path)

    assert [item.sequence for item in found] == [41, 42, 43]
    assert found[0].record == Record(
        kind=RecordKind.OTLP_TRACES,
        received_unix_ns=-2,
        payload=b"one",
        content_type="application/json",
        content_encoding="gzip",
        project_name="prüfung",
    )
    assert [item.record.payload for item in found] == [b"one", b"", b"three"]
    assert found[1].record.kind is RecordKind.EXCHANGE


async def test_a_writer_writes_what_the_table_says(tmp_path: Path) -> None:
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP)
    await writer.consume(record("payload"))
    await writer.close()
    data = (tmp_path / "00000000000000000000.segment").read_bytes()

    segment_id, created = struct.unpack_from("<Q", data, 12)[0], data[28:36]
    head = b"TQSEGMT\n" + struct.pack("<IQQ", 1, segment_id, 0) + created
    body = b"application/x-protobufgzipsupport-botpayload"
    frame = b"\x54\x71\xf5\xa7\x01\x01" + struct.pack("<HHHI", 22, 4, 11, 7)
    frame += struct.pack("<QQq", segment_id, 0, record().received_unix_ns)
    frame += struct.pack("<I", google_crc32c.value(body))

    assert data == (
        head
        + struct.pack("<I", google_crc32c.value(head))
        + frame
        + struct.pack("<I", google_crc32c.value(frame))
        + body
    )


@pytest.mark.parametrize(("version", "age"), [(0, "an older"), (2, "a newer"), (7, "a newer")])
async def test_a_segment_of_an_unknown_version_is_refused_and_left_untouched(
    tmp_path: Path, version: int, age: str
) -> None:
    (tmp_path / _NAME).write_bytes(_segment_header(version) + b"what nobody here can read")
    before = _content(tmp_path)
    expected = f"{_NAME} has format version {version} of {age} Tracequill; this one reads 1"

    with pytest.raises(StartError, match=expected):
        await QueueWriter.open(tmp_path, max_bytes=CAP)
    with pytest.raises(StartError, match=expected):
        await QueueReader.open(tmp_path, consumer="test")
    history = HistoryReader(tmp_path, since_unix_ns=0, below_sequence=99)
    for _ in range(2):
        with pytest.raises(StartError, match=expected):
            await history.read(max_records=9, max_bytes=CAP)

    history.close()
    assert _content(tmp_path) == before


async def test_a_newer_segment_beside_a_running_reader_ends_its_reading_before_it(
    tmp_path: Path,
) -> None:
    """A receiver was upgraded before the exporter was."""
    (tmp_path / _NAME).write_bytes(_segment_header() + _frame(41, b"one"))
    reader = await QueueReader.open(tmp_path, consumer="test")
    (tmp_path / "00000000000000000042.segment").write_bytes(_segment_header(2, 42) + b"newer")

    found = await reader.read(max_records=9, max_bytes=CAP, wait_seconds=0)
    await reader.commit(42)

    assert [item.record.payload for item in found] == [b"one"]
    for _ in range(2):
        with pytest.raises(StartError, match="format version 2 of a newer Tracequill"):
            await reader.read(max_records=9, max_bytes=CAP, wait_seconds=0)
    await reader.close()
    assert (tmp_path / "00000000000000000042.segment").read_bytes().endswith(b"newer")


@pytest.mark.parametrize("newer", [{"kind": 200}, {"version": 2}])
async def test_a_record_that_only_a_newer_program_knows_is_neither_damage_nor_stepped_over(
    tmp_path: Path, newer: dict[str, int]
) -> None:
    data = _segment_header() + _frame(41, b"one") + _frame(42, b"two", **newer)
    (tmp_path / _NAME).write_bytes(data + _frame(43, b"three"))
    before = _content(tmp_path)
    reader = await QueueReader.open(tmp_path, consumer="test")
    history = HistoryReader(tmp_path, since_unix_ns=-5, below_sequence=99)

    for source in (reader, history):
        given: list[QueuedRecord] = []
        with pytest.raises(StartError, match="Start the Tracequill that wrote it"):
            while True:
                if isinstance(source, QueueReader):
                    given += await source.read(max_records=9, max_bytes=CAP, wait_seconds=0)
                else:
                    given += await source.read(max_records=9, max_bytes=CAP)
        assert [item.record.payload for item in given] == [b"one"]

    with pytest.raises(StartError, match="Start the Tracequill that wrote it"):
        await QueueWriter.open(tmp_path, max_bytes=CAP)
    await reader.close()
    history.close()
    (tmp_path / "consumers" / "test.json").unlink()
    assert _content(tmp_path) == before


async def test_after_an_upgrade_older_segments_are_read_and_newer_ones_written_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / _NAME).write_bytes(_segment_header() + _frame(41, b"older"))
    monkeypatch.setattr(segment_module, "FORMAT_VERSION", 2)
    monkeypatch.setattr(segment_module, "READABLE_VERSIONS", frozenset({1, 2}))

    writer = await QueueWriter.open(tmp_path, max_bytes=CAP)
    await writer.consume(record("newer"))
    await writer.close()

    assert texts(await _read(tmp_path)) == ["older", "newer"]
    assert list(list_segments(Disk(), tmp_path)) == [41, 42]
    assert (tmp_path / _NAME).read_bytes() == _segment_header() + _frame(41, b"older")
    monkeypatch.undo()
    with pytest.raises(StartError, match=r"0042.segment has format version 2 of a newer"):
        await QueueWriter.open(tmp_path, max_bytes=CAP)


async def test_a_newer_checkpoint_beside_a_running_writer_has_passed_nothing(
    tmp_path: Path,
) -> None:
    """An exporter was upgraded before the receiver was."""
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, segment_bytes=1000)
    reader = await QueueReader.open(tmp_path, consumer="test")
    newer = checkpoints.checkpoint_path(tmp_path, "newer")
    newer.write_bytes(b'{"version":2}')
    for number in range(30):
        await writer.consume(record(str(number), length=100))
    await read_all(reader, 30)

    await reader.commit(30)

    assert len(list_segments(Disk(), tmp_path)) > 3, "a segment was removed under a consumer"
    assert writer.backlog_bytes == sum(list_segments(Disk(), tmp_path).values())
    assert newer.read_bytes() == b'{"version":2}'
    await reader.close()
    await writer.close()
    for opening in (
        QueueWriter.open(tmp_path, max_bytes=CAP),
        QueueReader.open(tmp_path, consumer="newer"),
    ):
        with pytest.raises(StartError, match="has version 2; this Tracequill reads version 1"):
            await opening


@pytest.mark.parametrize(
    ("more", "first_sequence", "may_lag"),
    [("", 0, False), (',"first_sequence":40,"may_lag":true', 40, True)],
)
def test_a_checkpoint_written_by_hand_is_read(
    tmp_path: Path, more: str, first_sequence: int, may_lag: bool
) -> None:
    """The shorter one is older: consumers could not begin late or lag yet."""
    content = '{"next_sequence":43,"segment":41,"offset":1234,"passed":{"12":1750}' + more + "}"
    crc = google_crc32c.value(content.encode())
    whole = {"version": 1, "crc32c": crc, "checkpoint": content}
    path = tmp_path / "consumers" / "test.json"
    path.parent.mkdir()
    path.write_text(json.dumps(whole))

    assert checkpoints.load(tmp_path, "test") == checkpoints.Checkpoint(
        next_sequence=43,
        segment=41,
        offset=1234,
        passed={12: 1750},
        first_sequence=first_sequence,
        may_lag=may_lag,
    )
    path.write_text(json.dumps({**whole, "crc32c": crc ^ 1}))
    assert checkpoints.load(tmp_path, "test") is None
