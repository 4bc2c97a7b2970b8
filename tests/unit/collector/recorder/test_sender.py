from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.exchange_cases import own_case
from tracequill_collector.errors import PermanentError, RetryableError
from tracequill_collector.pipeline import QueuedRecord, Record, RecordKind
from tracequill_collector.recorder import sender
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.priority import Threads
from tracequill_collector.recorder.sender import (
    Interpreted,
    RecordLoop,
    Rejected,
    interpret_record,
    requests_of,
)
from tracequill_collector.recorder.span import encode_spans

_CASE = own_case("openai-chat")
_T = TypeVar("_T")


class FakeQueue:
    """Hands out its records once, and keeps what is committed."""

    def __init__(self, records: list[Record]) -> None:
        self._left = [QueuedRecord(sequence, record) for sequence, record in enumerate(records)]
        self.committed: list[int] = []
        self.done = asyncio.Event()
        self._all = len(records)

    async def read(
        self, *, max_records: int, max_bytes: int, wait_seconds: float
    ) -> list[QueuedRecord]:
        handed_out, self._left = self._left[:max_records], self._left[max_records:]
        if not handed_out:
            await asyncio.sleep(0)
        return handed_out

    def put(self, records: list[Record]) -> None:
        self._left += [
            QueuedRecord(self._all + place, record) for place, record in enumerate(records)
        ]
        self._all += len(records)

    async def commit(self, next_sequence: int) -> None:
        self.committed.append(next_sequence)
        if next_sequence == self._all:
            self.done.set()


class FakeClient:
    """Keeps the ids of what it was sent; fails as told."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.poison: set[str] = set()
        self.sent: list[list[str]] = []
        self.tries = 0

    async def send(self, request: bytes, project_name: str) -> None:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)
        (resource_spans,) = ExportTraceServiceRequest.FromString(request).resource_spans
        ids = [span.span_id.hex() for span in resource_spans.scope_spans[0].spans]
        if self.poison & set(ids):
            raise PermanentError("refused")
        self.sent.append(ids)

    @property
    def span_ids(self) -> list[str]:
        return [span_id for ids in self.sent for span_id in ids]


class RecordedThreads(Threads):
    """Notes which of its threads was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.gave_way: list[bool] = []

    async def run(self, work: Callable[[], _T], *, gives_way: bool) -> _T:
        self.gave_way.append(gives_way)
        return await super().run(work, gives_way=gives_way)


class Rig:
    """A loop between fakes, and the dead letters it kept."""

    def __init__(self, records: list[Record]) -> None:
        self.queue = FakeQueue(records)
        self.client = FakeClient()
        self.letters: list[tuple[Record, str]] = []
        self.stop = asyncio.Event()
        self.loop = RecordLoop(
            self.queue,
            self.client,
            lambda record, reason: self.letters.append((record, reason)),
            "calls",
            self.stop,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(self.loop.run())
            yield
            self.stop.set()


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "_FIRST_DELAY_SECONDS", 0.001)
    monkeypatch.setattr(sender, "_MAX_DELAY_SECONDS", 0.002)


def _record(number: int, project_name: str = "", size: int = 0) -> Record:
    exchange = _CASE.exchange(
        span_id=f"{number:016x}", project_name=project_name, user_id="u" * size
    )
    return Record(RecordKind.EXCHANGE, 1, exchange.to_bytes())


def _ids(count: int) -> list[str]:
    return [f"{number:016x}" for number in range(1, count + 1)]


async def test_the_queue_advances_when_the_collector_has_the_spans() -> None:
    rig = Rig([_record(number) for number in range(1, 251)])
    async with rig.running():
        await rig.queue.done.wait()

    assert rig.client.span_ids == _ids(250)
    assert rig.queue.committed == [100, 200, 250]
    assert rig.loop.progress.recorded_exchanges == 250


async def test_what_may_pass_later_is_tried_until_it_passes() -> None:
    rig = Rig([_record(1)])
    rig.client.errors = [RetryableError("away", delay_seconds=0) for _ in range(20)]
    async with rig.running():
        await rig.queue.done.wait()

    assert rig.client.tries == 21
    assert rig.client.span_ids == _ids(1)
    assert rig.loop.progress.failed_tries == 20
    assert rig.loop.progress.waiting == ""


async def test_a_wait_that_the_collector_asks_for_is_kept() -> None:
    rig = Rig([_record(1)])
    rig.client.errors = [RetryableError("busy", delay_seconds=1)]
    began = asyncio.get_running_loop().time()
    async with rig.running():
        await rig.queue.done.wait()

    assert asyncio.get_running_loop().time() - began >= 1


async def test_stopping_while_the_collector_is_away_commits_nothing() -> None:
    rig = Rig([_record(1)])
    rig.client.errors = [RetryableError("away", delay_seconds=600)]
    async with rig.running():
        while not rig.loop.progress.waiting:  # noqa: ASYNC110 - a field, no event
            await asyncio.sleep(0)

    assert rig.loop.progress.waiting == "away"
    assert rig.queue.committed == []


async def test_one_refused_span_is_found_and_the_others_pass() -> None:
    rig = Rig([_record(number) for number in range(1, 33)])
    rig.client.poison = {f"{7:016x}"}
    async with rig.running():
        await rig.queue.done.wait()

    ((record, reason),) = rig.letters
    assert record == _record(7)
    assert reason == "refused"
    assert rig.client.span_ids == [one for one in _ids(32) if one not in rig.client.poison]
    assert rig.loop.progress.dead_letters == 1


async def test_the_spans_of_an_agent_s_steps_go_and_are_refused_with_the_call() -> None:
    agent = own_case("bedrock-agent-steps")
    calls = [agent.exchange(span_id=f"{number:016x}") for number in (1, 2)]
    rig = Rig([Record(RecordKind.EXCHANGE, 1, call.to_bytes()) for call in calls])
    spans = [[span.span_id.hex() for span in encode_spans(interpret(call, "p"))] for call in calls]
    rig.client.poison = {spans[0][-1]}
    async with rig.running():
        await rig.queue.done.wait()

    assert len(spans[1]) > 1
    assert rig.client.sent == [spans[1]]
    assert [record.payload for record, _ in rig.letters] == [calls[0].to_bytes()]


async def test_what_is_no_exchange_is_a_dead_letter() -> None:
    other = Record(RecordKind.OTLP_TRACES, 1, b"")
    broken = Record(RecordKind.EXCHANGE, 1, b"\x01\x00")
    rig = Rig([other, _record(1), broken])
    async with rig.running():
        await rig.queue.done.wait()

    assert [record for record, _ in rig.letters] == [other, broken]
    assert rig.client.span_ids == _ids(1)
    assert rig.queue.committed == [3]


async def test_while_it_keeps_up_it_gives_way_and_later_takes_its_share() -> None:
    now = time.time_ns()
    records = [_record(number) for number in range(1, 202)]
    young = [replace(record, received_unix_ns=now) for record in records[:100]]
    rig = Rig([*young, *records[100:]])
    threads = rig.loop._threads = RecordedThreads()
    async with rig.running():
        await rig.queue.done.wait()

    assert threads.gave_way == [True, False, False]
    assert rig.client.span_ids == _ids(201)


async def test_falling_behind_in_the_middle_it_gives_way_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([True, False])
    monkeypatch.setattr(sender, "_keeps_up", lambda records: next(answers, False))
    rig = Rig([_record(number) for number in range(1, 4)])
    threads = rig.loop._threads = RecordedThreads()
    async with rig.running():
        await rig.queue.done.wait()

    assert threads.gave_way == [True, False]
    assert rig.client.sent == [_ids(1), _ids(3)[1:]]
    assert rig.queue.committed == [1, 3]


async def test_calls_that_end_within_a_moment_go_in_one_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sender, "_age_ns", lambda item: 1)
    rig = Rig([_record(1)])
    pauses: list[float] = []
    paused_twice = asyncio.Event()

    async def pause(_: RecordLoop, seconds: float) -> bool:
        pauses.append(seconds)
        if len(pauses) == 1:
            rig.queue.put([_record(2), _record(3)])
        else:
            paused_twice.set()
        return rig.stop.is_set()

    monkeypatch.setattr(RecordLoop, "_stopped_within", pause)
    async with rig.running():
        await paused_twice.wait()

    assert pauses == [0.05, 0.05]
    assert rig.client.sent == [_ids(1), _ids(3)[1:]]


@pytest.mark.parametrize("age_ns", [50_000_000, -1], ids=["a backlog", "a clock set back"])
async def test_a_backlog_waits_for_nothing(age_ns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "_age_ns", lambda item: age_ns)
    rig = Rig([_record(number) for number in range(1, 251)])
    pauses: list[float] = []

    async def pause(_: RecordLoop, seconds: float) -> bool:
        pauses.append(seconds)
        return rig.stop.is_set()

    monkeypatch.setattr(RecordLoop, "_stopped_within", pause)
    async with rig.running():
        await rig.queue.done.wait()

    assert pauses == []


def test_an_exchange_whose_fields_are_impossible_is_rejected_without_its_values() -> None:
    exchange = _CASE.exchange(session_id=["sk-secret"], status="no")

    rejected = interpret_record(Record(RecordKind.EXCHANGE, 1, exchange.to_bytes()), "p")

    assert isinstance(rejected, Rejected)
    assert "secret" not in rejected.reason


def test_a_request_holds_one_project_and_not_too_many_bytes() -> None:
    records = [_record(1, "a"), _record(2, "b"), _record(3, "a"), _record(4, "a", size=2_000_000)]
    spans = [interpret_record(record, "p") for record in records]

    requests = list(requests_of([item for item in spans if isinstance(item, Interpreted)]))

    ids = [[item.spans[0].span_id.hex()[-1] for item in request] for request in requests]
    assert ids == [["1", "3"], ["4"], ["2"]]
