from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import Literal

import pytest

from tracequill_collector.errors import PermanentError, QueueFullError
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.proxy.body import BodyTee
from tracequill_collector.proxy.context import read_context
from tracequill_collector.proxy.record import ExchangeSink, Recording
from tracequill_collector.proxy.route import RouteTable
from tracequill_collector.testing import MemoryQueue


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Rig:
    """A sink over a queue in memory."""

    def __init__(self, folder: Path, on_full: Literal["forward", "refuse"] = "forward") -> None:
        self.queue = MemoryQueue()
        self.lost: list[str] = []
        self.clock = Clock()
        self.folder = folder
        self.sink = ExchangeSink(
            self.queue,
            max_bytes=10_000,
            on_full=on_full,
            count_lost=self.lost.append,
            monotonic=self.clock,
        )

    def recording(
        self, path: str = "/openai/v1/chat/completions", body_max_bytes: int = 8
    ) -> Recording:
        headers = [(b"authorization", b"Bearer canary"), (b"content-type", b"application/json")]
        return Recording(
            self.sink,
            RouteTable().find(path),
            read_context(headers, "default"),
            method="POST",
            headers=headers,
            body_max_bytes=body_max_bytes,
            body_memory_bytes=1 << 20,
            folder=self.folder,
            start_unix_ns=1,
        )


def test_a_call_becomes_one_record_with_what_crossed(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    recording = rig.recording("/bedrock/us-east-1/model/a%2Fb/invoke?key=canary")
    recording.request_body.add(b"question")
    recording.begin_response(200, [(b"x-request-id", b"r1"), (b"set-cookie", b"canary")])
    recording.add_response(b"ans")
    recording.add_response(b"wer, long")
    recording.finish("complete")
    recording.finish("client_disconnected")

    [record] = rig.queue.records
    [exchange] = rig.queue.exchanges
    assert (record.kind, record.received_unix_ns) == (RecordKind.EXCHANGE, 1)
    assert b"canary" not in record.payload
    assert (exchange.route, exchange.vendor, exchange.region) == ("bedrock", "bedrock", "us-east-1")
    assert (exchange.method, exchange.path) == ("POST", "/model/a%2Fb/invoke?key=***")
    assert (exchange.status, exchange.end, exchange.chunk_count) == (200, "complete", 2)
    assert exchange.request_headers == (("content-type", "application/json"),)
    assert exchange.response_headers == (("x-request-id", "r1"),)
    assert (exchange.request_body, exchange.request_body_bytes) == (b"question", 8)
    assert (exchange.response_body, exchange.response_body_bytes) == (b"answer, ", 12)
    assert exchange.response_cut and not exchange.request_cut
    assert exchange.start_unix_ns < exchange.first_byte_unix_ns <= exchange.end_unix_ns
    assert exchange.project_name == "default"


def test_a_call_without_a_response_has_status_0(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.recording().finish("upstream_unreachable", "refused.")

    [exchange] = rig.queue.exchanges
    assert (exchange.status, exchange.first_byte_unix_ns, exchange.error) == (0, 0, "refused.")


def test_a_full_queue_is_counted_and_told_once_and_never_raises(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path)
    rig.queue.error = QueueFullError("full")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            rig.recording().finish("complete")

    assert rig.lost == ["queue_full"] * 3
    assert len(caplog.records) == 1
    assert not rig.sink.refuses


def test_a_full_queue_refuses_when_told_until_the_reader_has_taken_something(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path, "refuse")
    rig.queue.backlog_bytes = 9_000
    assert not rig.sink.refuses

    rig.queue.error = QueueFullError("full")
    rig.recording().finish("complete")
    assert rig.sink.refuses
    rig.clock.now += 1.5
    assert rig.sink.refuses

    rig.queue.backlog_bytes = 8_000
    assert not rig.sink.refuses

    rig.queue.backlog_bytes = 10_000
    assert rig.sink.refuses


def test_a_full_queue_whose_reader_has_caught_up_takes_calls_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "refuse")
    rig.queue.error = QueueFullError("full")
    rig.recording().finish("complete")
    rig.clock.now += 1.5

    assert not rig.sink.refuses


def test_a_full_queue_is_tried_again_in_the_end(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "refuse")
    rig.queue.backlog_bytes = 9_000
    rig.queue.error = QueueFullError("full")
    rig.recording().finish("complete")
    rig.clock.now += 5
    assert rig.sink.refuses

    rig.clock.now += 10
    assert not rig.sink.refuses


def test_a_failing_disk_is_counted_and_tried_again_after_a_second(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path, "refuse")
    rig.queue.error = OSError(28, "No space left on device", "/secret/path")
    with caplog.at_level(logging.ERROR):
        rig.recording().finish("complete")

    assert rig.lost == ["queue_failed"]
    assert rig.sink.refuses
    assert "No space left" in str(vars(caplog.records[0]))
    rig.clock.now += 1.5
    assert not rig.sink.refuses


def test_one_record_that_is_too_large_stops_no_other(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "refuse")
    rig.queue.error = PermanentError("the record is too large.")
    rig.recording().finish("complete")

    assert rig.lost == ["queue_failed"]
    assert not rig.sink.refuses


class ThreadQueue(MemoryQueue):
    """Keeps in which thread each record came, and takes none before it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []
        self.may_take = threading.Event()

    def append(self, record: Record) -> None:
        assert self.may_take.wait(10)
        self.threads.append(threading.current_thread().name)
        super().append(record)


@pytest.fixture
def slow(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.queue = ThreadQueue()
    rig.sink = ExchangeSink(
        rig.queue, max_bytes=1 << 30, on_full="forward", count_lost=rig.lost.append
    )
    return rig


def large(rig: Rig) -> Recording:
    recording = rig.recording(body_max_bytes=4 << 20)
    recording.request_body.add(bytes(2 << 20))
    return recording


async def test_a_large_exchange_is_kept_in_a_thread_and_a_small_one_at_once(slow: Rig) -> None:
    assert isinstance(slow.queue, ThreadQueue)
    slow.queue.may_take.set()
    await slow.recording().finish_aside("complete")
    await large(slow).finish_aside("complete")
    slow.queue.is_busy = True
    await slow.recording().finish_aside("complete")
    await slow.sink.close()

    first, second, third = slow.queue.threads
    assert first == threading.main_thread().name
    assert second.startswith("large-exchanges")
    assert third.startswith("asyncio")


@pytest.mark.parametrize("size", [4, 2 << 20], ids=["small", "large"])
async def test_an_exchange_that_cannot_be_made_fails_no_call(
    slow: Rig, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C22: memory that is short fails the record, and not the call."""
    recording = slow.recording(body_max_bytes=4 << 20)
    recording.request_body.add(bytes(size))

    def take(tee: BodyTee) -> bytes:
        tee.close()
        raise MemoryError

    monkeypatch.setattr(BodyTee, "take", take)
    await recording.finish_aside("complete")
    await slow.sink.close()

    assert slow.lost == ["queue_failed"]


async def test_large_exchanges_of_calls_that_are_cancelled_are_kept(slow: Rig) -> None:
    """C05: those that wait for the thread, too."""
    assert isinstance(slow.queue, ThreadQueue)
    recordings = [large(slow) for _ in range(3)]
    calls = [
        asyncio.ensure_future(recording.finish_aside("client_disconnected"))
        for recording in recordings
    ]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    slow.queue.may_take.set()
    await slow.sink.close()
    for recording in recordings:
        recording.finish("complete")

    assert [exchange.end for exchange in slow.queue.exchanges] == ["client_disconnected"] * 3
    assert [exchange.request_body_bytes for exchange in slow.queue.exchanges] == [2 << 20] * 3
