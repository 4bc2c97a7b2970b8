"""Live records go beside a backlog, and each lane keeps its order and its age."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from pathlib import Path

import pytest

from tests.unit.collector.queue.records import CAP, texts
from tests.unit.collector.service.lanes_rig import (
    NAME,
    SPLIT_BYTES,
    consumers,
    give,
    opened,
    put,
    work_off,
)
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.segment import list_firsts, segment_name
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.service import lanes as module
from tracequill_collector.service.lanes import done_by
from tracequill_collector.service.work import Batch, Outcome

pytestmark = pytest.mark.usefixtures("looks_at_every_turn")


async def test_a_short_backlog_is_one_lane_in_order(tmp_path: Path, writer: QueueWriter) -> None:
    names = await put(writer, "a", 5)

    async with opened(tmp_path) as lanes:
        found = await work_off(lanes)

        assert not lanes.is_split
    assert found == names


async def test_new_records_do_not_wait_for_a_backlog(tmp_path: Path, writer: QueueWriter) -> None:
    old = await put(writer, "old", 60)
    async with opened(tmp_path) as lanes:
        first = await work_off(lanes, turns=1)
        new = await put(writer, "new", 12)

        found = await work_off(lanes, turns=16)
        assert lanes.is_split
        found += first + await work_off(lanes)

        assert [name for name in found[:16] if name in new] == new
        assert not lanes.is_split
    assert sorted(found) == sorted(old + new)


@pytest.mark.parametrize(("age_seconds", "is_split"), [(60, True), (0, False), (-3600, False)])
async def test_new_records_do_not_wait_for_a_smaller_backlog_that_is_old(
    tmp_path: Path,
    writer: QueueWriter,
    monkeypatch: pytest.MonkeyPatch,
    age_seconds: int,
    is_split: bool,
) -> None:
    monkeypatch.setattr(module, "_OLD_SPLIT_BYTES", SPLIT_BYTES)
    received = time.time_ns() - age_seconds * 10**9
    for _ in range(40):
        await writer.consume(Record(RecordKind.OTLP_TRACES, received, b"x" * 100))
    async with opened(tmp_path, split_bytes=CAP) as lanes:
        await give(lanes)
        assert not lanes.is_split, "no age is known before the first record"

        await give(lanes)

        assert lanes.is_split is is_split


async def test_a_few_old_records_are_one_lane(tmp_path: Path, writer: QueueWriter) -> None:
    names = await put(writer, "old", 40)
    async with opened(tmp_path, split_bytes=CAP) as lanes:
        found = [await give(lanes) for _ in range(40)]

        assert lanes.age_seconds > 3600
        assert not lanes.is_split
    assert [name for batch in found if batch for name in texts(batch.records)] == names


async def test_lost_records_are_counted_in_both_lanes_and_after_they_joined(
    tmp_path: Path, writer: QueueWriter
) -> None:
    await put(writer, "old", 40)
    async with opened(tmp_path) as lanes:
        found = await work_off(lanes, turns=2)
        assert lanes.is_split
        await put(writer, "new", 30)
        firsts = list_firsts(Disk(), tmp_path)
        # In the midst of the backlog, at its end, and of what came since.
        gone = [firsts[2], max(first for first in firsts if first < 40), firsts[-2]]
        for first in gone:
            (tmp_path / segment_name(first)).unlink()

        found += await work_off(lanes)

        assert not lanes.is_split
    assert lanes.lost_records == 70 - len(found) >= len(gone)


async def test_each_lane_keeps_its_order(tmp_path: Path, writer: QueueWriter) -> None:
    old = await put(writer, "old", 40)
    async with opened(tmp_path) as lanes:
        found = await work_off(lanes, turns=1)
        new = await put(writer, "new", 30)
        found += await work_off(lanes)

    assert [name for name in found if name in old] == old
    assert [name for name in found if name in new] == new


async def test_a_backlog_gets_every_fourth_turn_while_new_records_never_end(
    tmp_path: Path, writer: QueueWriter
) -> None:
    await put(writer, "old", 60)
    async with opened(tmp_path) as lanes:
        await work_off(lanes, turns=1)
        found = []
        for number in range(40):
            await put(writer, f"new {number}", 2)
            found += await work_off(lanes, turns=1)

        assert lanes.is_split
    old_turns = [turn for turn, name in enumerate(found) if name.startswith("old")]
    gaps = [after - before for before, after in itertools.pairwise([-1, *old_turns, len(found)])]
    assert max(gaps) <= 4
    assert len(old_turns) <= 11


async def test_the_lanes_join_when_the_backlog_is_through_and_all_that_was_given_is_done(
    tmp_path: Path, writer: QueueWriter
) -> None:
    await put(writer, "old", 30)
    async with opened(tmp_path) as lanes:
        await work_off(lanes, turns=1)
        await put(writer, "new", 4)
        open_batches = deque[Batch]()
        # The backlog is given to its end, a live batch among what is not done.
        while len(texts([record for batch in open_batches for record in batch.records])) < 33:
            batch = await give(lanes)
            assert batch is not None
            open_batches.append(batch)
        await put(writer, "newer", 1)

        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(give(lanes))
            while len(open_batches) > 1:
                batch = open_batches.popleft()
                await batch.source.done(batch, Outcome())
            done, _ = await asyncio.wait({reading}, timeout=0.05)
            assert not done and lanes.is_split
            batch = open_batches.popleft()
            await batch.source.done(batch, Outcome())
            last = await reading

        assert last is not None and texts(last.records) == ["newer 0"]
        assert not lanes.is_split
        assert lanes.next_sequence == 34
        assert consumers(tmp_path) == {NAME}


async def test_what_is_done_in_any_lane_is_of_the_past(tmp_path: Path, writer: QueueWriter) -> None:
    assert done_by(tmp_path, NAME) == 0
    await put(writer, "old", 30)
    async with opened(tmp_path) as lanes:
        await work_off(lanes, turns=1)
        await put(writer, "new", 5)
        await work_off(lanes, turns=3)

    # Two of the three turns were live ones.
    assert done_by(tmp_path, NAME) == 32


async def test_the_age_is_that_of_the_oldest_record_that_is_not_done(
    tmp_path: Path, writer: QueueWriter
) -> None:
    now = time.time_ns()
    async with opened(tmp_path) as lanes:
        assert lanes.age_seconds == 0
        for seconds in (100, 50):
            received = now - seconds * 10**9
            await writer.consume(Record(RecordKind.OTLP_TRACES, received, b"x"))
        first, second = await give(lanes), await give(lanes)
        assert first is not None and second is not None
        assert 100 <= lanes.age_seconds < 140

        await first.source.done(first, Outcome())
        assert 50 <= lanes.age_seconds < 90
        await second.source.done(second, Outcome())
        assert lanes.age_seconds == 0


async def test_beside_a_backlog_the_age_is_the_backlogs(
    tmp_path: Path, writer: QueueWriter
) -> None:
    hour_ago = time.time_ns() - 3600 * 10**9
    for _ in range(40):
        await writer.consume(Record(RecordKind.OTLP_TRACES, hour_ago, b"x" * 100))
    async with opened(tmp_path) as lanes:
        await work_off(lanes, turns=1)
        await writer.consume(Record(RecordKind.OTLP_TRACES, time.time_ns(), b"x"))

        batch = await give(lanes)

        assert lanes.is_split and batch is not None
        assert lanes.age_seconds >= 3600


async def test_an_age_is_never_negative(tmp_path: Path, writer: QueueWriter) -> None:
    ahead = time.time_ns() + 3600 * 10**9
    await writer.consume(Record(RecordKind.OTLP_TRACES, ahead, b"x"))
    async with opened(tmp_path) as lanes:
        assert await give(lanes) is not None

        assert lanes.age_seconds == 0
