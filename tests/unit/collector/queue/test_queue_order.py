"""What is on the medium before what, how time is measured, and what many segments cost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.collector.queue.records import CAP, read_all, record
from tracequill_collector.queue import checkpoint as checkpoints
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.queue.segment import list_firsts, segment_name
from tracequill_collector.queue.writer import QueueWriter

_YEAR_NS = 365 * 24 * 3600 * 10**9


class _Recording(Disk):
    """Notes every change, with the name of what is changed."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._names: dict[int, str] = {}

    def _note(self, what: str, name: str) -> None:
        # What is being replaced is written under a name that nobody else has.
        name = re.sub(r"\.\d+-[0-9a-f]{12}\.new$", ".new", name)
        self.done.append(f"{what} {re.sub(r'[0-9a-f]{20}', '#', name)}")

    def create(self, path: Path) -> int:
        fd = super().create(path)
        self._names[fd] = path.name
        self._note("create", path.name)
        return fd

    def open(self, path: Path, *, writable: bool = False) -> int:
        fd = super().open(path, writable=writable)
        self._names[fd] = path.name
        return fd

    def write(self, fd: int, buffers: Sequence[bytes | memoryview]) -> int:
        self._note("write", self._names[fd])
        return super().write(fd, buffers)

    def truncate(self, fd: int, length: int) -> None:
        self._note("truncate", self._names[fd])
        super().truncate(fd, length)

    def sync(self, fd: int) -> None:
        super().sync(fd)
        self._note("sync", self._names[fd])

    def sync_folder(self, folder: Path) -> None:
        super().sync_folder(folder)
        self._note("sync", folder.name + "/")

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self._note("rename", target.name)

    def remove(self, path: Path) -> None:
        if path.exists():
            super().remove(path)
            self._note("remove", path.name)


async def _fill(folder: Path, count: int) -> None:
    writer = await QueueWriter.open(folder, max_bytes=CAP, segment_bytes=1000)
    for number in range(count):
        await writer.consume(record(str(number), length=100))
    await writer.close()


async def test_a_record_and_its_segments_name_are_on_the_medium_before_it_is_acknowledged(
    tmp_path: Path,
) -> None:
    disk = _Recording()
    writer = await QueueWriter.open(tmp_path / "queue", max_bytes=CAP, disk=disk)
    disk.done.clear()

    await writer.consume(record("one"))
    disk.done.append("acknowledged")
    await writer.consume(record("two"))
    disk.done.append("acknowledged")

    assert disk.done == [
        "create #.segment",
        "write #.segment",
        "write #.segment",
        "sync #.segment",
        "sync queue/",
        "acknowledged",
        "write #.segment",
        "sync #.segment",
        "acknowledged",
    ]
    await writer.close()


async def test_a_new_queue_is_itself_on_the_medium(tmp_path: Path) -> None:
    disk = _Recording()

    writer = await QueueWriter.open(tmp_path / "data" / "queue", max_bytes=CAP, disk=disk)

    assert disk.done[:2] == [f"sync {tmp_path.name}/", "sync data/"]
    await writer.close()


async def test_a_checkpoint_is_on_the_medium_before_what_it_passed_is_removed(
    tmp_path: Path,
) -> None:
    await _fill(tmp_path, 20)
    count = len(list_firsts(Disk(), tmp_path))
    disk = _Recording()
    reader = await QueueReader.open(tmp_path, consumer="test", disk=disk)
    await read_all(reader, 20)
    disk.done.clear()

    await reader.commit(20)

    assert disk.done == [
        "create .test.json.new",
        "write .test.json.new",
        "sync .test.json.new",
        "rename test.json",
        "sync consumers/",
        *["remove #.segment"] * (count - 1),
    ]
    await reader.close()


async def test_a_takeover_is_on_the_medium_before_the_one_ahead_is_forgotten(
    tmp_path: Path,
) -> None:
    disk = _Recording()
    main = await QueueReader.open(tmp_path, consumer="main", disk=disk)
    live = await QueueReader.open(tmp_path, consumer="live", start_at="end", disk=disk)
    await _fill(tmp_path, 3)
    await read_all(live, 3)
    await live.commit(3)
    disk.done.clear()

    await main.continue_from(live)

    assert disk.done == [
        "create .main.json.new",
        "write .main.json.new",
        "sync .main.json.new",
        "rename main.json",
        "sync consumers/",
        "remove live.json",
        "sync consumers/",
    ]
    await main.close()


async def test_damaged_bytes_are_on_the_medium_elsewhere_before_they_are_passed(
    tmp_path: Path,
) -> None:
    await _fill(tmp_path, 3)
    path = tmp_path / segment_name(0)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    disk = _Recording()
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, disk=disk)

    assert disk.done[:9] == [
        f"sync {tmp_path.name}/",
        "create #-40.bad",
        "write #-40.bad",
        "sync #-40.bad",
        "create .#-40.json.new",
        "write .#-40.json.new",
        "sync .#-40.json.new",
        "rename #-40.json",
        "sync quarantine/",
    ]
    await writer.close()


async def test_recovery_cuts_then_syncs_then_makes_the_names_durable(tmp_path: Path) -> None:
    await _fill(tmp_path, 3)
    with (tmp_path / segment_name(0)).open("ab") as file:
        file.write(b"Tq\xf5\xa7")
    disk = _Recording()

    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, disk=disk)

    assert disk.done[:3] == [
        "truncate #.segment",
        "sync #.segment",
        f"sync {tmp_path.name}/",
    ]
    await writer.close()


def test_a_dead_letters_payload_is_on_the_medium_before_its_description(tmp_path: Path) -> None:
    disk = _Recording()
    letters = DeadLetters(tmp_path / "letters", disk=disk)

    letters.add(record("poison"), "the span has no name.")

    assert disk.done == [
        f"sync {tmp_path.name}/",
        "create .#.payload.new",
        "write .#.payload.new",
        "sync .#.payload.new",
        "rename #.payload",
        "sync letters/",
        "create .#.json.new",
        "write .#.json.new",
        "sync .#.json.new",
        "rename #.json",
        "sync letters/",
    ]


# --- clocks -----------------------------------------------------------------------------


@pytest.mark.parametrize("step_ns", [-10 * _YEAR_NS, 10 * _YEAR_NS])
async def test_a_clock_that_is_set_neither_removes_nor_holds_what_is_kept_for_a_time(
    tmp_path: Path, step_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    wall, monotonic = time.time_ns(), time.monotonic_ns()
    now = {"wall": wall, "monotonic": monotonic}
    monkeypatch.setattr("time.time_ns", lambda: now["wall"])
    monkeypatch.setattr("time.monotonic_ns", lambda: now["monotonic"])
    await _fill(tmp_path, 20)
    reader = await QueueReader.open(tmp_path, consumer="test", keep_seconds=3600)
    await read_all(reader, 20)
    before = list_firsts(Disk(), tmp_path)
    await reader.commit(18)
    now["wall"] += step_ns

    await reader.commit(19)
    reader._done.remove_passed()
    assert list_firsts(Disk(), tmp_path) == before

    now["monotonic"] += 3601 * 10**9
    reader._done.remove_passed()
    assert list_firsts(Disk(), tmp_path) == before[-1:]
    await reader.close()


async def test_an_age_from_the_future_counts_from_now(
    tmp_path: Path,
) -> None:
    """The clock was years ahead when the segments were passed, and was set right since."""
    await _fill(tmp_path, 20)
    reader = await QueueReader.open(tmp_path, consumer="test", keep_seconds=3600)
    await read_all(reader, 20)
    await reader.commit(20)
    await reader.close()
    stored = checkpoints.load(tmp_path, "test")
    assert stored is not None
    ahead = {first: since + 10 * _YEAR_NS for first, since in stored.passed.items()}
    checkpoints.store(Disk(), tmp_path, "test", replace(stored, passed=ahead))
    reader = await QueueReader.open(tmp_path, consumer="test", keep_seconds=0)
    await _fill(tmp_path, 1)
    await read_all(reader, 1)

    await reader.commit(21)

    assert list_firsts(Disk(), tmp_path) == [20]
    await reader.close()


async def test_a_clock_that_is_set_delays_no_answer_of_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP)
    for wall in (0, 1, 2**62):
        monkeypatch.setattr("time.time_ns", lambda wall=wall: wall)
        monkeypatch.setattr("time.time", lambda wall=wall: wall / 1e9)
        await writer.consume(record())
        writer.append(record())

    await writer.close()
    assert len(list_firsts(Disk(), tmp_path)) == 1


# --- the cost of many segments ----------------------------------------------------------


class _Counting(Disk):
    """Counts the files that are looked at."""

    looked_at = 0

    def sizes(self, folder: Path, suffix: str) -> dict[str, int]:
        found = super().sizes(folder, suffix)
        self.looked_at += len(found)
        return found

    def names(self, folder: Path) -> list[str]:
        found = super().names(folder)
        self.looked_at += len(found)
        return found


async def test_neither_a_commit_nor_a_record_costs_more_when_there_are_many_segments(
    tmp_path: Path,
) -> None:
    await _fill(tmp_path, 200)
    disk = _Counting()
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, disk=disk)
    reader = await QueueReader.open(tmp_path, consumer="test", keep_seconds=3600, disk=disk)
    for number in range(20):
        await writer.consume(record(str(number)))
    await read_all(reader, 220)
    await reader.commit(201)
    disk.looked_at = 0

    for done in range(202, 220):
        await reader.commit(done)
        await writer.consume(record("more"))

    assert len(list_firsts(disk, tmp_path)) > 30
    assert disk.looked_at <= len(list_firsts(Disk(), tmp_path)) + 10
    await reader.close()
    await writer.close()
