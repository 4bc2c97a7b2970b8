from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from tests.unit.collector.queue.records import CAP, read_all, record, texts
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.queue.segment import list_segments, segment_name
from tracequill_collector.queue.writer import QueueWriter

# Writes records for ever, and says which ones were acknowledged.
_WRITER = """
    import asyncio, sys
    from pathlib import Path
    from tests.unit.collector.queue.records import record
    from tracequill_collector.queue.writer import QueueWriter

    async def consume(writer, start):
        for number in range(start, start + 1_000_000):
            await writer.consume(record(f"c{number}", length=number % 5000))
            sys.stdout.write(f"c{number}\\n")
            sys.stdout.flush()

    async def append(writer):
        for number in range(1_000_000):
            writer.append(record(f"a{number}", length=number % 5000))
            sys.stdout.write(f"a{number}\\n")
            sys.stdout.flush()
            await asyncio.sleep(0)

    async def main():
        writer = await QueueWriter.open(
            Path(sys.argv[1]), max_bytes=1 << 30, segment_bytes=200_000
        )
        async with asyncio.TaskGroup() as tasks:
            for start in range(0, 8_000_000, 1_000_000):
                tasks.create_task(consume(writer, start))
            tasks.create_task(append(writer))

    asyncio.run(main())
"""


def _write_until_killed(folder: Path, lines: int) -> list[str]:
    """Run a writer until it has acknowledged *lines*, kill -9 it, and give what it said."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_WRITER), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read().splitlines(keepends=True)
    return [line.strip() for line in said if line.endswith("\n") and line.strip()]


async def test_kill_9_loses_nothing_acknowledged_and_invents_nothing(tmp_path: Path) -> None:
    acknowledged: Counter[str] = Counter()
    for count in (300, 397, 494):
        acknowledged.update(_write_until_killed(tmp_path, count))
    reader = await QueueReader.open(tmp_path, consumer="test")
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP)
    await writer.consume(record("fresh"))

    found = await read_all(reader)

    sequences = [item.sequence for item in found]
    assert sequences == sorted(set(sequences)), "a sequence was given twice"
    *names, last = texts(found)
    # Each of the three used the same names.
    assert acknowledged - Counter(names) == Counter(), "acknowledged and lost"
    assert all(name[0] in "ca" and name[1:].isdecimal() for name in names)
    assert max(Counter(names).values()) <= 3
    assert last == "fresh"
    await reader.close()
    await writer.close()


async def _fill(folder: Path, names: list[str]) -> None:
    writer = await QueueWriter.open(folder, max_bytes=CAP)
    for name in names:
        await writer.consume(record(name))
    await writer.close()


async def _kept(folder: Path) -> list[tuple[int, str]]:
    reader = await QueueReader.open(folder, consumer="test")
    try:
        return [(item.sequence, texts([item])[0]) for item in await read_all(reader)]
    finally:
        await reader.close()


@pytest.mark.parametrize("cut", [1, 30, 60, 80])
async def test_an_incomplete_record_at_the_end_is_cut_off(tmp_path: Path, cut: int) -> None:
    await _fill(tmp_path, ["one", "two"])
    path = tmp_path / segment_name(0)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])

    await _fill(tmp_path, ["three"])

    assert len(path.read_bytes()) < len(whole) - cut
    assert await _kept(tmp_path) == [(0, "one"), (1, "three")]
    assert not (tmp_path / "quarantine").exists()


async def test_zeros_at_the_end_are_cut_off(tmp_path: Path) -> None:
    await _fill(tmp_path, ["one"])
    path = tmp_path / segment_name(0)
    length = path.stat().st_size
    with path.open("ab") as file:
        file.write(bytes(4096))

    await _fill(tmp_path, ["two"])

    assert path.stat().st_size == length
    assert await _kept(tmp_path) == [(0, "one"), (1, "two")]


async def test_a_damaged_last_record_is_kept_in_quarantine_and_its_sequence_is_not_reused(
    tmp_path: Path,
) -> None:
    await _fill(tmp_path, ["one", "two"])
    path = tmp_path / segment_name(0)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    await _fill(tmp_path, ["three"])

    assert path.read_bytes() == bytes(data), "nothing complete may be cut off"
    assert await _kept(tmp_path) == [(0, "one"), (2, "three")]
    assert len(list((tmp_path / "quarantine").glob("*.bad"))) == 1


@pytest.mark.parametrize("length", [0, 10, 40, 60])
async def test_a_segment_without_a_record_is_replaced(tmp_path: Path, length: int) -> None:
    await _fill(tmp_path, ["one"])
    path = tmp_path / segment_name(0)
    path.write_bytes(path.read_bytes()[:length])

    await _fill(tmp_path, ["two"])

    assert await _kept(tmp_path) == [(0, "two")]


async def test_a_reader_survives_that_the_segment_it_waits_in_is_replaced(tmp_path: Path) -> None:
    await _fill(tmp_path, ["one"])
    path = tmp_path / segment_name(0)
    path.write_bytes(path.read_bytes()[:40])
    reader = await QueueReader.open(tmp_path, consumer="test")
    assert await reader.read(max_records=1, max_bytes=CAP, wait_seconds=0) == []

    await _fill(tmp_path, ["two"])

    assert texts(await read_all(reader, 1)) == ["two"]
    await reader.close()


async def test_a_restart_never_writes_to_an_old_segment(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        await _fill(tmp_path, [name])

    assert list(list_segments(Disk(), tmp_path)) == [0, 1, 2]
    assert await _kept(tmp_path) == [(0, "one"), (1, "two"), (2, "three")]


async def test_files_are_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "queue"
    await _fill(folder, ["one"])

    assert [path.stat().st_mode & 0o077 for path in (folder.parent, folder)] == [0, 0]
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


async def test_a_segment_that_is_replaced_and_followed_by_another_is_not_skipped(
    tmp_path: Path,
) -> None:
    """The reader waits in a segment without a record; its successor has the same name."""
    (tmp_path / segment_name(0)).write_bytes(b"TQSE")
    reader = await QueueReader.open(tmp_path, consumer="test")
    assert await reader.read(max_records=9, max_bytes=CAP, wait_seconds=0) == []
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, segment_bytes=1000)
    names = [str(number) for number in range(20)]
    for name in names:
        await writer.consume(record(name, length=100))

    found = await read_all(reader, 20)

    assert texts(found) == names
    assert reader.lost_records == 0
    await reader.close()
    await writer.close()
