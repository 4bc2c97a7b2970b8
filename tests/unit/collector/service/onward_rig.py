"""A loop that sends on, between a queue and a backend that do as a test tells them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.unit.collector.service.test_onward_requests import names_of, records_of, request_of
from tracequill_collector.exporter.otlp import Answer, Meaning
from tracequill_collector.pipeline import QueuedRecord
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.replay import Replays
from tracequill_collector.service.export_metrics import ExportMetrics, ExportRegistry
from tracequill_collector.service.onward import OnwardLoop

DONE = Answer(Meaning.DONE)
BUSY = Answer(Meaning.RETRY, "it answered 503")
BAD = Answer(Meaning.BAD, "it answered 400", said="about a secret prompt")
TOO_LARGE = Answer(Meaning.TOO_LARGE, "it answered 413")
BROKEN = Answer(Meaning.DOUBTFUL, "it answered 500")
FORBIDDEN = Answer(Meaning.WAIT, "it answered 401")
PLAIN = "tracequill asks whether spans are taken"


class Backend:
    """A client whose backend answers as told, and keeps what it took."""

    def __init__(self, answer: Callable[[list[str]], Answer] | None = None) -> None:
        self.answer = answer or (lambda names: DONE)
        self.asked: list[list[str]] = []
        self.taken: list[str] = []
        self.under_way = self.most_under_way = 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def send(self, payload: bytes) -> Answer:
        """Answer."""
        names = names_of(ExportTraceServiceRequest.FromString(payload))
        self.asked.append(names)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.hold.wait()
        finally:
            self.under_way -= 1
        answer = self.answer(names)
        if answer.meaning is Meaning.DONE:
            self.taken += [name for name in names if name != PLAIN]
        return answer

    async def close(self) -> None:
        """Have nothing to close."""


class Reader:
    """Gives each of its batches and keeps what is committed."""

    def __init__(self, *batches: list[QueuedRecord]) -> None:
        self.batches = list(batches)
        self.committed: list[int] = []
        self.lost_records = 0
        self.backlog_bytes = 0
        self.is_closed = False

    async def read(
        self, *, max_records: int, max_bytes: int, wait_seconds: float
    ) -> list[QueuedRecord]:
        """Give the next batch; wait when there is none."""
        if self.batches:
            return self.batches.pop(0)
        await asyncio.sleep(0.01)
        return []

    async def commit(self, next_sequence: int) -> None:
        """Keep it."""
        self.committed.append(next_sequence)

    async def close(self) -> None:
        """Note it."""
        self.is_closed = True


class Rig:
    """A loop between fakes."""

    def __init__(self, folder: Path, backend: Backend, *names: tuple[str, ...]) -> None:
        records = records_of(*(request_of(*some) for some in names))
        # Each record is read alone, so that each is a request.
        self.records = [[record] for record in records]
        self.reader = Reader(*self.records)
        self.next_sequence = 7 + len(records)
        self.backend = backend
        self.replays = Replays(folder / "replay")
        self.dead_letters = DeadLetters(folder / "dead_letters")
        self.stop = asyncio.Event()
        self.loop = OnwardLoop(
            "otlp-x",
            cast(QueueReader, self.reader),
            self.open_again,
            backend,
            self.dead_letters,
            ExportMetrics(ExportRegistry(folder / "metrics"), "otlp-x"),
            self.stop,
            max_bytes=10_000_000,
            policy=None,
            replay_dir=folder / "replay",
        )

    async def open_again(self) -> QueueReader:
        """Give the queue from what is committed."""
        assert self.reader.is_closed
        after = max(self.reader.committed, default=0)
        self.reader = Reader(*(some for some in self.records if some[0].sequence >= after))
        return cast(QueueReader, self.reader)

    @property
    def buried(self) -> list[str]:
        """The names of the spans that became dead letters."""
        found = [self.dead_letters.show(one.letter_id) for one in self.dead_letters.list()]
        return sorted(
            name
            for one in found
            if one
            for name in names_of(ExportTraceServiceRequest.FromString(one[1].payload))
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loop."""
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(self.loop.run())
            yield
            self.stop.set()

    async def all_done(self) -> None:
        """Wait until everything is committed."""
        await until(lambda: self.next_sequence in self.reader.committed)


async def until(condition: Callable[[], bool]) -> None:
    """Return when *condition* is true."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.001)
