"""Requests to replay: what they give and how they end; none of their files ends the exporter."""

from __future__ import annotations

import errno
import os
import random
import struct
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import google_crc32c
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exchange_cases import own_case
from tests.unit.collector.queue.records import CAP, record, texts
from tracequill_collector.errors import RetryableError
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.queue.segment import list_segments, segment_name
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.replay import Progress, Replays, Request
from tracequill_collector.service import replaying as module
from tracequill_collector.service.lanes import Lanes, live_name
from tracequill_collector.service.replaying import ReplayedQueue, Replaying
from tracequill_collector.service.work import Batch, Outcome


@pytest.fixture(autouse=True)
def _looks_at_every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.0)


class Rig:
    """A folder with two queues, dead letters and requests."""

    def __init__(self, folder: Path) -> None:
        self.spans = folder / "collector"
        self.exchanges = folder / "proxy"
        self.letters = DeadLetters(folder / "letters")
        self.replay_dir = folder / "replay"
        self.replays = Replays(self.replay_dir)

    @asynccontextmanager
    async def replaying(self) -> AsyncIterator[Replaying]:
        """Give what an exporter process has; leaving ends that process."""
        queues = [
            ReplayedQueue(self.spans, "postgres"),
            ReplayedQueue(self.exchanges, "collector", holds_exchanges=True),
        ]
        replaying = Replaying(self.replays, queues, self.letters, "default")
        try:
            yield replaying
        finally:
            replaying.close()

    async def keep(self, folder: Path, consumer: str, *records: Record) -> None:
        """Queue *records* and be done with them."""
        writer = await QueueWriter.open(folder, max_bytes=CAP, segment_bytes=1_000)
        for one in records:
            await writer.consume(one)
        await writer.close()
        reader = await QueueReader.open(folder, consumer=consumer, keep_seconds=3600)
        while found := await reader.read(max_records=100, max_bytes=CAP, wait_seconds=0):
            await reader.commit(found[-1].sequence + 1)
        await reader.close()

    def progress(self, request: Request) -> Progress:
        """Give how far *request* is."""
        found = self.replays.progress(request)
        assert found is not None
        return found


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def give(replaying: Replaying, max_records: int = 100) -> Batch | None:
    return await replaying.read(max_records=max_records, max_bytes=CAP)


async def work_off(replaying: Replaying, outcome: Outcome | None = None) -> list[str]:
    """Take what it gives, batch by batch, until it gives nothing."""
    found: list[str] = []
    while batch := await give(replaying, max_records=2):
        found += texts(batch.records)
        await replaying.done(batch, outcome or Outcome())
    return found


def numbered(count: int) -> list[Record]:
    return [record(f"r {number}", length=100) for number in range(count)]


async def test_without_requests_there_is_nothing_to_do(rig: Rig) -> None:
    async with rig.replaying() as replaying:
        assert await give(replaying) is None


async def test_a_request_gives_what_was_done_when_it_began_and_ends(rig: Rig) -> None:
    await rig.keep(rig.spans, "postgres", *numbered(5))
    request = rig.replays.add()

    async with rig.replaying() as replaying:
        found = await work_off(replaying, Outcome(stored_spans=2, seen_before_spans=1))

    assert found == [f"r {number}" for number in range(5)]
    progress = rig.progress(request)
    assert (progress.is_done, progress.problem, progress.share) == (True, "", 1.0)
    assert (progress.records, progress.stored_spans, progress.seen_before_spans) == (5, 6, 3)
    assert rig.replays.next() is None


async def test_what_the_live_lane_has_done_is_of_the_past_too(rig: Rig) -> None:
    await rig.keep(rig.spans, "postgres", *numbered(3))
    writer = await QueueWriter.open(rig.spans, max_bytes=CAP)
    lanes = await Lanes.open(rig.spans, "postgres", keep_seconds=3600, split_bytes=1)
    await writer.consume(record("backlog"))
    await writer.consume(record("more backlog"))
    first = await lanes.read(max_records=1, max_bytes=CAP, wait_seconds=0)
    await writer.consume(record("live"))
    live = await lanes.read(max_records=1, max_bytes=CAP, wait_seconds=0)
    assert first is not None and live is not None and texts(live.records) == ["live"]
    await live.source.done(live, Outcome())
    await lanes.close()
    await writer.close()
    rig.replays.add()

    async with rig.replaying() as replaying:
        found = await work_off(replaying)

    assert (rig.spans / "consumers" / f"{live_name('postgres')}.json").exists()
    assert found[-1] == "live"


async def test_only_one_batch_is_out_at_a_time(rig: Rig) -> None:
    await rig.keep(rig.spans, "postgres", *numbered(4))
    rig.replays.add()

    async with rig.replaying() as replaying:
        batch = await give(replaying, max_records=1)
        assert batch is not None
        assert await give(replaying) is None
        await replaying.done(batch, Outcome())
        assert await give(replaying) is not None


async def test_a_restarted_exporter_goes_on_where_the_last_one_was(rig: Rig) -> None:
    await rig.keep(rig.spans, "postgres", *numbered(6))
    request = rig.replays.add()
    async with rig.replaying() as replaying:
        batch = await give(replaying, max_records=2)
        assert batch is not None
        await replaying.done(batch, Outcome())
        assert await give(replaying, max_records=2) is not None
    await rig.keep(rig.spans, "postgres", record("new"))

    async with rig.replaying() as replaying:
        found = await work_off(replaying)

    assert found == [f"r {number}" for number in range(2, 6)]
    assert rig.progress(request).records == 6


async def test_a_request_that_had_ended_is_not_begun_again(rig: Rig) -> None:
    request = rig.replays.add()
    text = (rig.replay_dir / f"{request.request_id}.request").read_bytes()
    rig.replays.note(request, Progress(is_done=True, records=7))
    # The process ended between the two files.
    (rig.replay_dir / f"{request.request_id}.request").write_bytes(text)

    async with rig.replaying() as replaying:
        assert await give(replaying) is None

    assert rig.progress(request) == Progress(is_done=True, records=7)
    assert not rig.replays.is_wanted(request)


async def test_a_cancelled_request_leaves_nothing_behind(rig: Rig) -> None:
    await rig.keep(rig.spans, "postgres", *numbered(4))
    request = rig.replays.add()
    async with rig.replaying() as replaying:
        batch = await give(replaying, max_records=1)
        assert batch is not None
        rig.replays.forget(request)
        await replaying.done(batch, Outcome())

        assert await give(replaying) is None
        second = rig.replays.add()
        assert len(await work_off(replaying)) == 4

    assert rig.replays.progress(request) is None
    assert rig.progress(second).problem == ""


async def test_a_queue_of_a_newer_tracequill_ends_the_replay_with_a_sentence(rig: Rig) -> None:
    await rig.keep(rig.spans, "postgres", *numbered(2))
    await rig.keep(rig.exchanges, "collector", *numbered(2))
    first = next(iter(list_segments(Disk(), rig.exchanges)))
    path = rig.exchanges / segment_name(first)
    content = bytearray(path.read_bytes())
    # The version stands behind the magic, a checksum at the end of the header.
    content[8:12] = struct.pack("<I", 99)
    content[36:40] = struct.pack("<I", google_crc32c.value(bytes(content[:36])))
    path.write_bytes(content)
    request = rig.replays.add()

    async with rig.replaying() as replaying:
        found = await work_off(replaying)
        assert await give(replaying) is None

    assert len(found) == 2
    progress = rig.progress(request)
    assert progress.is_done
    assert "version" in progress.problem


async def test_a_checkpoint_of_a_newer_tracequill_ends_the_replay_with_a_sentence(rig: Rig) -> None:
    await rig.keep(rig.spans, "postgres", *numbered(2))
    path = rig.spans / "consumers" / "postgres.json"
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":9'))
    request = rig.replays.add()

    async with rig.replaying() as replaying:
        assert await give(replaying) is None

    assert "version 9" in rig.progress(request).problem


async def test_a_queue_that_nobody_has_made_yet_is_left_out(rig: Rig) -> None:
    request = rig.replays.add()

    async with rig.replaying() as replaying:
        assert await give(replaying) is None

    assert (rig.progress(request).is_done, rig.progress(request).problem) == (True, "")


async def test_looking_for_the_time_that_was_asked_for_lets_others_in_between(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TURN_SECONDS", 0.0)
    await rig.keep(rig.spans, "postgres", *numbered(5))
    request = rig.replays.add(until_unix_ns=5)

    async with rig.replaying() as replaying:
        turns = 0
        while not rig.replays.progress(request) or not rig.progress(request).is_done:
            assert await give(replaying, max_records=1) is None
            turns += 1

    assert turns >= 5
    assert rig.progress(request).records == 0


async def test_exchanges_are_given_as_the_spans_they_mean(rig: Rig) -> None:
    exchange = own_case("openai-chat").exchange(project_name="bot")
    records = [
        Record(RecordKind.EXCHANGE, time.time_ns(), payload)
        for payload in (exchange.to_bytes(), b"no exchange")
    ]
    await rig.keep(rig.exchanges, "collector", *records)
    rig.replays.add(is_replacing=True, project_name="bot")

    async with rig.replaying() as replaying:
        batch = await give(replaying)

    assert batch is not None and len(batch.records) == 1
    assert batch.is_replacing and batch.project_name == "bot"
    given = batch.records[0].record
    assert (given.kind, given.project_name) == (RecordKind.OTLP_TRACES, "bot")
    assert exchange.span_id.encode() not in given.payload
    assert bytes.fromhex(exchange.span_id) in given.payload


async def test_letters_whose_cause_is_gone_are_removed_and_the_others_stay(rig: Rig) -> None:
    solved = rig.letters.add(record("good"), "once bad.")
    stays = rig.letters.add(record("bad"), "bad.")
    broken = rig.letters.add(Record(RecordKind.EXCHANGE, 0, b"no exchange"), "an old reason.")
    request = rig.replays.add(letter_ids=[solved, "0" * 20, stays, broken])

    async with rig.replaying() as replaying:
        await work_off(replaying, Outcome(stored_spans=1, letters={stays}))

    letters = {letter.letter_id: letter.reason for letter in rig.letters.list()}
    assert letters.keys() == {stays, broken}
    assert letters[broken] != "an old reason."
    progress = rig.progress(request)
    assert (progress.solved_letters, progress.dead_letters, progress.problem) == (1, 2, "")


async def test_a_letter_that_cannot_be_removed_ends_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = rig.letters.add(record("good"), "once bad.")
    request = rig.replays.add(letter_ids=[letter])

    def read_only(letter_id: str) -> bool:
        raise RetryableError("a dead letter cannot be removed: Read-only file system.")

    monkeypatch.setattr(rig.letters, "remove", read_only)

    async with rig.replaying() as replaying:
        await work_off(replaying)

    assert (rig.progress(request).is_done, rig.progress(request).solved_letters) == (True, 0)


async def test_a_letter_that_was_read_for_nothing_is_not_solved_by_the_next_replay(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = rig.letters.add(record("good"), "once bad.")
    broken = rig.letters.add(Record(RecordKind.EXCHANGE, 0, b"no exchange"), "an old reason.")
    request = rig.replays.add(letter_ids=[good, broken])
    await rig.keep(rig.spans, "postgres", *numbered(1))

    def full(*arguments: object, **more: object) -> str:
        raise RetryableError("a dead letter cannot be written: No space left on device.")

    async with rig.replaying() as replaying:
        with monkeypatch.context() as patch:
            patch.setattr(rig.letters, "add", full)
            assert await give(replaying) is None
        assert "No space left" in rig.progress(request).problem
        rig.replays.add()
        assert await work_off(replaying) == ["r 0"]

    assert {letter.letter_id for letter in rig.letters.list()} == {good, broken}


async def test_a_letter_that_is_not_whole_is_never_solved(rig: Rig, tmp_path: Path) -> None:
    letter = rig.letters.add(record("cut off"), "bad.")
    (tmp_path / "letters" / f"{letter}.payload").write_bytes(b"")
    request = rig.replays.add(letter_ids=[letter])

    async with rig.replaying() as replaying:
        assert await work_off(replaying) == []

    assert [one.letter_id for one in rig.letters.list()] == [letter]
    progress = rig.progress(request)
    assert (progress.is_done, progress.solved_letters, progress.dead_letters) == (True, 0, 1)


@pytest.mark.parametrize("what", ["next", "progress"])
async def test_a_folder_that_cannot_be_read_ends_nothing_and_is_told_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    rig.replays.add()
    monkeypatch.setattr(rig.replays, what, fail)

    async with rig.replaying() as replaying:
        for _ in range(3):
            assert await give(replaying) is None

    assert len(caplog.records) == 1


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32))
async def test_whenever_the_exporter_ends_every_record_is_given_and_no_letter_is_lost(
    seed: int,
) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        names = {f"r {number}" for number in range(6)}
        await rig.keep(rig.spans, "postgres", *numbered(3))
        await rig.keep(rig.exchanges, "collector", *numbered(6)[3:])
        letters = {rig.letters.add(record(f"l {number}"), "bad."): number for number in range(4)}
        bad = set(chance.sample(sorted(letters), chance.randrange(5)))
        requests = [rig.replays.add(), rig.replays.add(letter_ids=list(letters))]
        seen: set[str] = set()
        while not all((found := rig.replays.progress(one)) and found.is_done for one in requests):
            async with rig.replaying() as replaying:
                for _ in range(chance.randint(1, 4)):
                    batch = await give(replaying, max_records=chance.randint(1, 3))
                    if batch is not None and chance.random() < 0.6:
                        seen.update(texts(batch.records))
                        await replaying.done(batch, Outcome(letters=bad))
            kept = {letter.letter_id for letter in rig.letters.list()}
            assert all(f"l {letters[gone]}" in seen for gone in letters.keys() - kept)

        assert seen >= names | {f"l {number}" for number in range(4)}
        assert {letter.letter_id for letter in rig.letters.list()} == bad
        assert rig.replays.next() is None


def test_requests_are_worked_off_in_the_order_they_came(rig: Rig) -> None:
    requests = [rig.replays.add(project_name=f"{number}") for number in range(3)]
    found = []
    while request := rig.replays.next():
        found.append(request)
        rig.replays.note(request, Progress(is_done=True))

    assert sorted(item.project_name for item in found) == ["0", "1", "2"]
    assert [item.request_id for item in found] == sorted(item.request_id for item in requests)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"unknown": 1}'])
def test_a_request_that_is_not_legible_is_removed(rig: Rig, content: bytes) -> None:
    broken = rig.replays.add()
    (rig.replay_dir / f"{broken.request_id}.request").write_bytes(content)
    whole = Request("f" * 16)
    (rig.replay_dir / f"{whole.request_id}.request").write_bytes(orjson.dumps(asdict(whole)))

    assert rig.replays.next() == whole
    assert not rig.replays.is_wanted(broken)


def test_what_a_command_left_behind_is_forgotten_after_a_day(rig: Rig) -> None:
    old, recent = rig.replays.add(), rig.replays.add()
    for request in (old, recent):
        rig.replays.note(request, Progress(is_done=True))
    day_ago = time.time() - 25 * 3600
    os.utime(rig.replay_dir / f"{old.request_id}.progress", (day_ago, day_ago))

    assert rig.replays.next() is None

    assert rig.replays.progress(old) is None
    assert rig.replays.progress(recent) is not None
