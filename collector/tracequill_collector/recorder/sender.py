"""From the proxy's queue to the collector: records come out, spans go out, the queue advances.

A record is done when the collector has its span, or when it lies in the dead letters; until then
it stays in the queue, however long the collector is away. A record that is sent again gives the
same spans with the same ids. What an exchange means is not decided here.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from opentelemetry.proto.trace.v1 import trace_pb2

from tracequill_collector.errors import PermanentError, RetryableError
from tracequill_collector.exchange import Exchange
from tracequill_collector.pipeline import QueuedRecord, Record, RecordKind
from tracequill_collector.recorder.attributes import PROBLEM
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.priority import Threads
from tracequill_collector.recorder.span import encode_request, encode_spans

# What is lost in time by a kill is sent again; more would also need more memory.
_READ_RECORDS = 100
_READ_BYTES = 1024 * 1024
_READ_SECONDS = 0.25
# Calls that end within it share a read, a request and a commit, each of which costs as much as one.
_GATHER_NS = 50_000_000
# A span repeats what its exchange holds, in messages and in values.
_REQUEST_BYTES = 1024 * 1024
# An exchange that is older gives way to nobody any more.
_BEHIND_NS = 5_000_000_000
_FIRST_DELAY_SECONDS = 0.1
_MAX_DELAY_SECONDS = 5.0

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


class ExchangeQueue(Protocol):
    """Where exchanges come from; ``QueueReader`` is one."""

    async def read(
        self, *, max_records: int, max_bytes: int, wait_seconds: float
    ) -> list[QueuedRecord]:
        """Give the next records, or none when none came in time."""

    async def commit(self, next_sequence: int) -> None:
        """Say that everything before *next_sequence* is done."""


class SpanClient(Protocol):
    """Where spans go; ``OtlpClient`` is one."""

    async def send(self, request: bytes, project_name: str) -> None:
        """Send *request*; returning means that the collector has it."""


Bury = Callable[[Record, str], object]
"""Keeps a record as a dead letter, with the reason; returning means that it is on the medium."""


@dataclass(slots=True)
class Progress:
    """What the recorder says of itself."""

    waiting: str = ""
    """Why nothing can be sent now, in one sentence; empty while all is well."""
    recorded_exchanges: int = 0
    dead_letters: int = 0
    problem_spans: int = 0
    """Spans of exchanges that could not be interpreted in all parts."""
    failed_tries: int = 0
    last_sent_unix_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Interpreted:
    """A record's span and those below it, encoded, and the project they belong to."""

    record: Record
    project_name: str
    spans: list[trace_pb2.Span]
    has_problem: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that no span can stand for."""

    record: Record
    reason: str


def interpret_record(record: Record, default_project_name: str) -> Interpreted | Rejected:
    """Give the record's span, or why there is none."""
    try:
        if record.kind is not RecordKind.EXCHANGE:
            raise PermanentError(f"a record of kind {record.kind!r} holds no exchange.")
        span = interpret(Exchange.from_bytes(record.payload), default_project_name)
        encoded = encode_spans(span)
    except PermanentError as error:
        return Rejected(record, str(error))
    except Exception as error:
        # The exchange's own fields, which only the proxy writes, have impossible values. One such
        # record must not stop all others, and its values must not stand in a log.
        return Rejected(record, f"the exchange makes no span ({type(error).__name__}).")
    return Interpreted(record, span.project_name, encoded, PROBLEM in span.attributes)


def requests_of(spans: Sequence[Interpreted]) -> Iterator[list[Interpreted]]:
    """Divide *spans* into requests: one project each, and no more bytes than a request holds."""
    projects: dict[str, list[Interpreted]] = {}
    for item in spans:
        projects.setdefault(item.project_name, []).append(item)
    for items in projects.values():
        request: list[Interpreted] = []
        size = 0
        for item in items:
            item_bytes = sum(span.ByteSize() for span in item.spans)
            if request and size + item_bytes > _REQUEST_BYTES:
                yield request
                request, size = [], 0
            request.append(item)
            size += item_bytes
        yield request


@dataclass(frozen=True, slots=True)
class Prepared:
    """The first so many of some records, as what is to be done with them."""

    count: int
    rejected: list[Rejected]
    requests: list[tuple[list[Interpreted], bytes]]
    """Each with the spans that it holds."""


def prepare(
    records: Sequence[QueuedRecord],
    default_project_name: str,
    goes_on: Callable[[], bool] = lambda: True,
) -> Prepared:
    """Interpret and encode *records*: the first one, and more for as long as *goes_on* says so."""
    items: list[Interpreted | Rejected] = []
    for item in records:
        items.append(interpret_record(item.record, default_project_name))
        if not goes_on():
            break
    spans = [item for item in items if isinstance(item, Interpreted)]
    return Prepared(
        len(items),
        [item for item in items if isinstance(item, Rejected)],
        [(request, _encode(request)) for request in requests_of(spans)],
    )


def _encode(items: Sequence[Interpreted]) -> bytes:
    return encode_request([span for item in items for span in item.spans], items[0].project_name)


def _age_ns(item: QueuedRecord) -> int:
    return time.time_ns() - item.record.received_unix_ns


def _keeps_up(records: Sequence[QueuedRecord]) -> bool:
    return _age_ns(records[0]) < _BEHIND_NS


class _Stopped(Exception):
    """The loop was stopped while something had to be tried again."""


@dataclass(slots=True)
class RecordLoop:
    """Takes exchanges from a queue until it is stopped."""

    queue: ExchangeQueue
    client: SpanClient
    bury: Bury
    default_project_name: str
    stop: asyncio.Event
    progress: Progress = field(default_factory=Progress)
    _threads: Threads = field(default_factory=Threads)

    async def run(self) -> None:
        """Read, interpret, send and advance, until ``stop`` is set."""
        try:
            with suppress(_Stopped):
                while not self.stop.is_set():
                    if records := await self._until_done(self._read):
                        await self._record(records)
                        # With a backlog the last of them is old, and so is what follows.
                        if 0 <= _age_ns(records[-1]) < _GATHER_NS:
                            await self._stopped_within(_GATHER_NS / 1e9)
        finally:
            self._threads.close()

    async def _read(self) -> list[QueuedRecord]:
        return await self.queue.read(
            max_records=_READ_RECORDS, max_bytes=_READ_BYTES, wait_seconds=_READ_SECONDS
        )

    async def _record(self, records: list[QueuedRecord]) -> None:
        """Send what *records* say and advance."""
        while records:
            found = await self._prepare(records)
            for item in found.rejected:
                await self._bury(item.record, item.reason)
            for items, request in found.requests:
                await self._send(items, request)
            next_sequence = records[found.count - 1].sequence + 1
            await self._until_done(partial(self.queue.commit, next_sequence))
            self.progress.recorded_exchanges += found.count
            self.progress.problem_spans += sum(
                item.has_problem for items, _ in found.requests for item in items
            )
            records = records[found.count :]

    async def _prepare(self, records: list[QueuedRecord]) -> Prepared:
        # While it keeps up, everything else on the machine goes before it. Falling behind, also in
        # the middle of them, it takes what is its share.
        if _keeps_up(records):
            work = partial(prepare, records, self.default_project_name, lambda: _keeps_up(records))
            return await self._threads.run(work, gives_way=True)
        work = partial(prepare, records, self.default_project_name)
        return await self._threads.run(work, gives_way=False)

    async def _send(self, items: list[Interpreted], request: bytes) -> None:
        """Send *items*, encoded as *request*, until the collector has them.

        A request that is refused for good is divided until the one that is at fault is alone.
        """
        project_name = items[0].project_name
        try:
            await self._until_done(lambda: self.client.send(request, project_name))
        except PermanentError as error:
            if len(items) == 1:
                await self._bury(items[0].record, str(error))
                return
            middle = len(items) // 2
            for half in (items[:middle], items[middle:]):
                await self._send(half, _encode(half))
            return
        self.progress.last_sent_unix_seconds = time.time()

    async def _bury(self, record: Record, reason: str) -> None:
        await self._until_done(lambda: asyncio.to_thread(self.bury, record, reason))
        self.progress.dead_letters += 1

    async def _until_done(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Try until *attempt* returns, and say once that it waits; _Stopped when stopped before."""
        backoff_seconds = _FIRST_DELAY_SECONDS
        while True:
            try:
                result = await attempt()
            except RetryableError as error:
                self._wait_for(error)
                delay_seconds = max(
                    backoff_seconds * random.uniform(0.5, 1.5), float(error.delay_seconds)
                )
            else:
                if self.progress.waiting:
                    _log.info("exchanges are recorded again")
                    self.progress.waiting = ""
                return result
            if await self._stopped_within(delay_seconds):
                raise _Stopped
            backoff_seconds = min(backoff_seconds * 2, _MAX_DELAY_SECONDS)

    async def _stopped_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stop.wait()
        return self.stop.is_set()

    def _wait_for(self, error: RetryableError) -> None:
        self.progress.failed_tries += 1
        reason = str(error)
        if reason != self.progress.waiting:
            _log.warning("exchanges are kept in the queue", extra={"waiting": reason})
            self.progress.waiting = reason
