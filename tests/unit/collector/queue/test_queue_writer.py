from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from tests.unit.collector.queue.records import CAP, read_all, record, texts
from tracequill_collector.errors import (
    PermanentError,
    QueueFullError,
    RetryableError,
    StartError,
)
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.queue.segment import list_segments
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.testing import FailingDisk


async def _kept(folder: Path) -> list[str]:
    reader = await QueueReader.open(folder, consumer="test")
    try:
        return texts(await read_all(reader))
    finally:
        await reader.close()


class _Synced:
    """Tells the test's loop of each sync, which is made in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def __call__(self, seconds: float) -> None:
        self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        """Wait for the next sync."""
        await asyncio.wait_for(self._event.wait(), 5)
        self._event.clear()


async def test_what_was_consumed_is_read_back_in_order(tmp_path: Path) -> None:
    writer = await QueueWriter.open(tmp_path / "queue", max_bytes=CAP)
    for name in ("one", "two", "three"):
        await writer.consume(record(name))
    await writer.close()
    reader = await QueueReader.open(tmp_path / "queue", consumer="test")

    found = await read_all(reader)

    await reader.close()
    assert [(item.sequence, item.record) for item in found] == [
        (0, record("one")),
        (1, record("two")),
        (2, record("three")),
    ]


async def test_the_file_and_the_folder_are_synced_before_consume_returns(tmp_path: Path) -> None:
    disk = FailingDisk()
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, disk=disk)
    disk.calls.clear()

    await writer.consume(record())

    assert disk.calls == ["create", "write", "write", "sync", "sync_folder"]
    await writer.close()


async def test_concurrent_callers_share_one_sync(tmp_path: Path) -> None:
    disk = FailingDisk()
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, disk=disk)
    disk.calls.clear()

    async with asyncio.TaskGroup() as tasks:
        for number in range(200):
            tasks.create_task(writer.consume(record(str(number))))

    assert disk.calls.count("sync") <= 2
    await writer.close()
    assert len(await _kept(tmp_path)) == 200


async def test_a_cancelled_caller_takes_nobody_along(tmp_path: Path) -> None:
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(writer.consume(record("cancelled")))
        second = tasks.create_task(writer.consume(record("other")))
        await asyncio.sleep(0)
        first.cancel()
    await writer.close()

    assert second.done()
    assert "other" in await _kept(tmp_path)


async def test_append_is_readable_at_once_and_synced_soon(tmp_path: Path) -> None:
    disk, synced = FailingDisk(), _Synced()
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, disk=disk, observe_sync=synced)
    disk.calls.clear()

    writer.append(record("now"))

    assert "sync" not in disk.calls
    assert await _kept(tmp_path) == ["now"]
    await synced.wait()
    await writer.close()


async def test_every_append_is_followed_by_a_sync(tmp_path: Path) -> None:
    synced = _Synced()
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, observe_sync=synced)
    for _ in range(3):
        writer.append(record())
        await synced.wait()

    await writer.close()


async def test_any_thread_may_append_and_a_sync_follows(tmp_path: Path) -> None:
    synced = _Synced()
    writer = await QueueWriter.open(
        tmp_path, max_bytes=CAP, segment_bytes=4096, observe_sync=synced
    )

    def append(start: int) -> None:
        for number in range(100):
            writer.append(record(f"{start + number}"))

    await asyncio.to_thread(append, 0)
    await synced.wait()
    async with asyncio.TaskGroup() as tasks:
        for start in (100, 200, 300):
            tasks.create_task(asyncio.to_thread(append, start))
        append(400)
    await writer.close()

    assert not writer.is_busy
    assert sorted(await _kept(tmp_path), key=int) == [str(number) for number in range(500)]


async def test_consumed_and_appended_records_keep_one_order(tmp_path: Path) -> None:
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, segment_bytes=4096)

    async def consume(start: int) -> None:
        for number in range(50):
            await writer.consume(record(f"c{start + number}"))
            writer.append(record(f"a{start + number}"))

    async with asyncio.TaskGroup() as tasks:
        for start in (0, 100, 200):
            tasks.create_task(consume(start))
    await writer.close()
    reader = await QueueReader.open(tmp_path, consumer="test")

    found = await read_all(reader)

    await reader.close()
    assert [item.sequence for item in found] == list(range(300))
    assert len(set(texts(found))) == 300
    assert len(list_segments(Disk(), tmp_path)) > 3


async def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP)

    with pytest.raises(StartError, match="already has a writer"):
        await QueueWriter.open(tmp_path, max_bytes=CAP, wait_seconds=0)

    await writer.close()


async def test_a_folder_that_is_a_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "queue").write_text("")

    with pytest.raises(StartError, match=r"queue cannot be opened: .* Correct the folder"):
        await QueueWriter.open(tmp_path / "queue", max_bytes=CAP)


async def test_a_closed_writer_asks_to_send_again(tmp_path: Path) -> None:
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP)
    await writer.close()
    await writer.close()

    with pytest.raises(RetryableError, match="closing"):
        await writer.consume(record())
    with pytest.raises(RetryableError, match="closing"):
        writer.append(record())


async def test_closing_finishes_what_was_accepted(tmp_path: Path) -> None:
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP)
    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(writer.consume(record(str(number))))
        await asyncio.sleep(0)
        await writer.close()

    assert len(await _kept(tmp_path)) == 20


# --- the cap ----------------------------------------------------------------------------


async def test_a_full_queue_is_retryable_and_says_how_to_fix_it(tmp_path: Path) -> None:
    writer = await QueueWriter.open(tmp_path, max_bytes=100_000)
    with pytest.raises(QueueFullError, match="raise queue_max_bytes"):
        for number in range(20):
            await writer.consume(record(str(number), length=10_000))

    with pytest.raises(QueueFullError):
        writer.append(record(length=10_000))

    assert writer.problem
    assert sum(list_segments(Disk(), tmp_path).values()) <= 100_000
    await writer.close()


async def test_a_full_queue_takes_more_when_every_consumer_has_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracequill_collector.queue.room._LOOK_SECONDS", 0.0)
    writer = await QueueWriter.open(tmp_path, max_bytes=1_000_000)
    fast = await QueueReader.open(tmp_path, consumer="fast", keep_seconds=3600)
    slow = await QueueReader.open(tmp_path, consumer="slow", keep_seconds=3600)
    count = 0
    with pytest.raises(QueueFullError):
        while True:
            await writer.consume(record(str(count), length=50_000))
            count += 1
    await read_all(fast, count)
    await fast.commit(count)
    with pytest.raises(QueueFullError):
        await writer.consume(record("refused", length=50_000))
    await read_all(slow, count)
    await slow.commit(count)

    await writer.consume(record("taken", length=50_000))

    assert texts(await read_all(fast, 1)) == ["taken"]
    assert texts(await read_all(slow, 1)) == ["taken"]
    for closing in (fast, slow, writer):
        await closing.close()


async def test_a_passed_segment_gives_room_even_when_it_is_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracequill_collector.queue.room._LOOK_SECONDS", 0.0)
    writer = await QueueWriter.open(tmp_path, max_bytes=100_000)
    reader = await QueueReader.open(tmp_path, consumer="test")
    for number in range(10):
        await writer.consume(record(str(number), length=60_000))
        assert texts(await read_all(reader, 1)) == [str(number)]
        await reader.commit(number + 1)

    await reader.close()
    await writer.close()


async def test_a_record_larger_than_the_queue_is_refused_for_good(tmp_path: Path) -> None:
    writer = await QueueWriter.open(tmp_path, max_bytes=10_000)

    with pytest.raises(PermanentError, match="the queue holds at most 10000"):
        await writer.consume(record(length=20_000))

    await writer.close()


async def test_a_record_larger_than_a_segment_is_kept(tmp_path: Path) -> None:
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, segment_bytes=1000)
    await writer.consume(record("large", length=50_000))
    await writer.consume(record("small"))
    await writer.close()

    assert await _kept(tmp_path) == ["large", "small"]


async def test_backlog_counts_what_the_slowest_consumer_has_left(tmp_path: Path) -> None:
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP)
    for number in range(10):
        await writer.consume(record(str(number), length=1000))
    reader = await QueueReader.open(tmp_path, consumer="test")
    await read_all(reader, 10)
    await reader.commit(7)

    backlog = writer.backlog_bytes

    assert backlog == reader.backlog_bytes
    assert 3000 < backlog < 3500
    assert writer.disk_bytes > 10_000
    await reader.close()
    await writer.close()


# --- a disk that fails ------------------------------------------------------------------


async def test_a_disk_that_is_nearly_full_is_refused_before_it_is_full(tmp_path: Path) -> None:
    disk = FailingDisk()
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, disk=disk)
    disk.free = 1_000_000

    with pytest.raises(QueueFullError, match="1000000 bytes free"):
        await writer.consume(record())
    with pytest.raises(QueueFullError, match="1000000 bytes free"):
        writer.append(record())
    disk.free = None
    await writer.consume(record("after"))

    await writer.close()
    assert await _kept(tmp_path) == ["after"]


async def test_a_failed_sync_refuses_its_group_and_ends_the_segment(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FailingDisk()
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, disk=disk)
    await writer.consume(record("before"))
    disk.errors["sync"] = [OSError(errno.EIO, "Input/output error")]

    results = await asyncio.gather(
        writer.consume(record("a")), writer.consume(record("b")), return_exceptions=True
    )
    synced = disk.calls.count("sync")
    await writer.consume(record("after"))

    assert [type(result) for result in results] == [RetryableError, RetryableError]
    assert "cannot be synced: Input/output error" in str(results[0])
    assert disk.calls.count("sync") == synced + 1, "a failed sync was tried again"
    assert len(list_segments(disk, tmp_path)) == 2
    assert writer.problem
    assert "senders were told to send again" in caplog.text
    await writer.close()
    kept = await _kept(tmp_path)
    assert (kept[0], kept[-1]) == ("before", "after")


async def test_a_failed_folder_sync_refuses_the_group(tmp_path: Path) -> None:
    disk = FailingDisk()
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, disk=disk)
    disk.errors["sync_folder"] = [OSError(errno.EIO, "Input/output error")]

    with pytest.raises(RetryableError):
        await writer.consume(record("refused"))
    await writer.consume(record("after"))

    await writer.close()
    assert (await _kept(tmp_path))[-1] == "after"


@pytest.mark.parametrize("taken", [0, 10, 60, 200])
async def test_nothing_of_a_torn_write_is_read_half(tmp_path: Path, taken: int) -> None:
    disk = FailingDisk()
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, disk=disk)
    reader = await QueueReader.open(tmp_path, consumer="test")
    await writer.consume(record("before"))
    if taken:
        disk.short_write = taken
    disk.errors["write"] = [OSError(errno.ENOSPC, "No space left on device")]

    with pytest.raises(QueueFullError, match=r"is full\. Free space on it"):
        await writer.consume(record("torn", length=1000))
    await writer.consume(record("after"))

    found = await read_all(reader, 2)
    assert texts(found) == ["before", "after"]
    assert [item.sequence for item in found] == [0, 1]
    await reader.close()
    await writer.close()


async def test_of_a_group_that_is_torn_the_whole_records_count_as_kept(
    tmp_path: Path,
) -> None:
    disk = FailingDisk()
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, disk=disk)
    await writer.consume(record("before"))
    disk.short_write = 1300
    disk.errors["write"] = [OSError(errno.EIO, "Input/output error")]

    results = await asyncio.gather(
        *(writer.consume(record(str(number), length=500)) for number in range(4)),
        return_exceptions=True,
    )

    assert [type(result) for result in results] == [
        type(None),
        type(None),
        RetryableError,
        RetryableError,
    ]
    await writer.close()
    assert await _kept(tmp_path) == ["before", "0", "1"]


async def test_an_append_that_fails_says_so_and_the_next_one_is_kept(
    tmp_path: Path,
) -> None:
    disk = FailingDisk()
    writer = await QueueWriter.open(tmp_path, max_bytes=CAP, disk=disk)
    disk.errors["create"] = [OSError(errno.EMFILE, "Too many open files")]

    with pytest.raises(RetryableError, match="cannot be written: Too many open files"):
        writer.append(record("lost"))
    writer.append(record("kept"))

    await writer.close()
    assert await _kept(tmp_path) == ["kept"]
