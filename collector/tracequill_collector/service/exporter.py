"""The exporter process: what the receiver queued is interpreted and stored, in order.

``python -m tracequill_collector.service.exporter``. Joins queue, processor, exporter and dead
letters. A record is done when each of its spans is committed or lies in the dead letters; until
then it stays in the queue, however long the database is away.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tracequill.settings import Settings
from tracequill_collector.errors import PermanentError, RetryableError, StartError
from tracequill_collector.exporter.postgres import PostgresExporter, UnforeseenError
from tracequill_collector.exporter.rows import Rejected
from tracequill_collector.otlp import PROTOBUF, all_spans
from tracequill_collector.pipeline import QueuedRecord, Record, RecordKind, Span
from tracequill_collector.processor.decode import Decoded, decode, parse_record, request_of_one
from tracequill_collector.queue.dead_letters import DeadLetters, What
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.service.process import run_service
from tracequill_collector.status import write_status

_log = logging.getLogger(__name__)

CONSUMER = "postgres"
"""The name of the exporter's position in the queue."""

# Answering an application goes before storing what it sent.
_NICE = 5

# What is interpreted while the batch before it is stored: enough for full transactions.
_READ_RECORDS = 1_000
_READ_BYTES = 6 * 1024 * 1024
_READ_SECONDS = 0.25

# A limit that was lowered since must not turn what was accepted into a dead letter.
_LEAST_MAX_BYTES = 64 * 1024 * 1024

_STATUS_SECONDS = 1.0
_CHECK_SECONDS = 5.0
_FIRST_DELAY_SECONDS = 0.1
_MAX_DELAY_SECONDS = 5.0
_FINISH_SECONDS = 5.0


@dataclass(slots=True)
class Work:
    """Records that were read together, and what each of them holds."""

    records: list[QueuedRecord]
    contents: list[Decoded | PermanentError]

    @property
    def spans(self) -> list[Span]:
        """All spans, in queue order."""
        return [
            span
            for content in self.contents
            if isinstance(content, Decoded)
            for span in content.spans
        ]


@dataclass(slots=True)
class Progress:
    """What the process says of itself in its status file."""

    waiting: str = ""
    """Why nothing can be stored now, in one sentence; empty while all is well."""
    exported_records: int = 0
    dead_letters: int = 0
    raw_genai_spans: int = 0
    last_exported_unix_seconds: float = 0.0
    failed_tries: int = 0


def interpret(records: Sequence[QueuedRecord], max_bytes: int) -> Work:
    """Decode *records*; a record that cannot be read is its error."""
    contents: list[Decoded | PermanentError] = []
    for queued in records:
        try:
            if queued.record.kind is not RecordKind.OTLP_TRACES:
                raise PermanentError(f"a record of kind {queued.record.kind!r} holds no traces.")
            contents.append(decode(queued.record, max_bytes=max_bytes))
        except PermanentError as error:
            contents.append(error)
        except MemoryError:
            raise
        except Exception as error:  # a pure function: it fails on this record every time
            contents.append(PermanentError(f"the record cannot be read: {type(error).__name__}."))
    return Work(list(records), contents)


@dataclass(slots=True)
class ExportLoop:
    """Takes records from a queue until it is stopped."""

    reader: QueueReader
    exporter: PostgresExporter
    dead_letters: DeadLetters
    stop: asyncio.Event
    max_bytes: int
    progress: Progress = field(default_factory=Progress)
    _ready: asyncio.Queue[Work] = field(default_factory=lambda: asyncio.Queue(1))
    _current: Work | None = None
    _letters: set[str] = field(default_factory=set)
    """Ids of the dead letters of the current work, which a repeated try writes again."""

    async def run(self) -> None:
        """Read and store at the same time, until ``stop`` is set."""
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read())
            storing = tasks.create_task(self._store())
            await self.stop.wait()
            reading.cancel()
            # A transaction that is cut off comes again; finishing it spares the repetition.
            await asyncio.wait({storing}, timeout=_FINISH_SECONDS)
            storing.cancel()

    async def reject(self, rejected: Sequence[Rejected]) -> None:
        """Take spans that cannot be stored into the dead letters, each as it came."""
        assert self._current is not None
        reasons = {id(one.span): one.reason for one in rejected}
        for queued, content in zip(self._current.records, self._current.contents, strict=True):
            if isinstance(content, PermanentError):
                continue
            places = {
                place: reasons[id(span)]
                for span, place in zip(content.spans, content.places, strict=True)
                if id(span) in reasons
            }
            if places:
                request = parse_record(queued.record, max_bytes=self.max_bytes)
                for place, surrounded in enumerate(all_spans(request)):
                    if place in places:
                        letter = _record_of_one(queued.record, request_of_one(*surrounded))
                        await self._bury(letter, places[place], is_span=True)

    async def _read(self) -> None:
        while True:
            try:
                records = await self.reader.read(
                    max_records=_READ_RECORDS, max_bytes=_READ_BYTES, wait_seconds=_READ_SECONDS
                )
            except RetryableError as error:
                self._wait_for(error)
                await asyncio.sleep(_MAX_DELAY_SECONDS)
                continue
            if records:
                await self._ready.put(await asyncio.to_thread(interpret, records, self.max_bytes))

    async def _store(self) -> None:
        checked_at = float("-inf")
        while not self.stop.is_set():
            try:
                async with asyncio.timeout(_READ_SECONDS):
                    self._current = await self._ready.get()
            except TimeoutError:
                self._current = None
            if self._current is not None:
                if not await self._until_done(self._export):
                    return
                checked_at = time.monotonic()
            elif time.monotonic() - checked_at > _CHECK_SECONDS:
                await self._until_done(self.exporter.check)
                checked_at = time.monotonic()
            await self.exporter.announce()

    async def _export(self) -> None:
        """Store the current work and give its records back to the queue as done."""
        work = self._current
        assert work is not None
        for queued, content in zip(work.records, work.contents, strict=True):
            if isinstance(content, PermanentError):
                await self._bury(queued.record, str(content))
                continue
            for one in content.rejected:
                request = request_of_one(one.resource_spans, one.scope_spans, one.span)
                await self._bury(_record_of_one(queued.record, request), one.reason, is_span=True)
        if spans := work.spans:
            await self.exporter.consume(spans)
        await self.reader.commit(work.records[-1].sequence + 1)
        self.progress.dead_letters += len(self._letters)
        self._letters.clear()
        self.progress.exported_records += len(work.records)
        self.progress.last_exported_unix_seconds = time.time()
        self.progress.raw_genai_spans += sum(
            content.raw_genai_spans for content in work.contents if isinstance(content, Decoded)
        )

    async def _bury(self, record: Record, reason: str, *, is_span: bool = False) -> None:
        what: What = "span" if is_span else "record"
        self._letters.add(await asyncio.to_thread(self.dead_letters.add, record, reason, what=what))

    async def _until_done(self, attempt: Callable[[], Awaitable[None]]) -> bool:
        """Try until *attempt* returns; False when stopped before. Says once that it waits."""
        delay_seconds = _FIRST_DELAY_SECONDS
        began = time.monotonic()
        while True:
            try:
                await attempt()
            except RetryableError as error:
                self._wait_for(error)
            else:
                if self.progress.waiting:
                    seconds = round(time.monotonic() - began, 1)
                    _log.info("spans are stored again", extra={"waited_seconds": seconds})
                    self.progress.waiting = ""
                return True
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_seconds * random.uniform(0.5, 1.5)):
                    await self.stop.wait()
                    return False
            delay_seconds = min(delay_seconds * 2, _MAX_DELAY_SECONDS)

    def _wait_for(self, error: RetryableError) -> None:
        self.progress.failed_tries += 1
        reason = str(error)
        if reason != self.progress.waiting:
            level = logging.ERROR if isinstance(error, UnforeseenError) else logging.WARNING
            _log.log(level, "spans are kept in the queue", extra={"waiting": reason})
            self.progress.waiting = reason


def _record_of_one(record: Record, payload: bytes) -> Record:
    return Record(
        kind=RecordKind.OTLP_TRACES,
        received_unix_ns=record.received_unix_ns,
        payload=payload,
        content_type=PROTOBUF,
        project_name=record.project_name,
    )


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Export until *stop* is set."""
    os.nice(_NICE)
    # Interpreting and storing share one interpreter: an answer of Postgres must not wait 5 ms.
    sys.setswitchinterval(0.0005)
    status_path = settings.data_dir / "collector" / "exporter.status.json"
    if not settings.database_url:
        progress = Progress(waiting="no database is set. Set TRACEQUILL_DATABASE_URL.")
        _log.warning("spans are kept in the queue", extra={"waiting": progress.waiting})
        await _say(stop, lambda: write_status(status_path, _values(progress)))
        return
    reader = await QueueReader.open(
        settings.collector_queue_dir,
        consumer=CONSUMER,
        keep_seconds=settings.queue_keep_hours * 3600,
    )
    try:
        await _export_from(reader, settings, stop)
    finally:
        await reader.close()


async def _export_from(reader: QueueReader, settings: Settings, stop: asyncio.Event) -> None:
    async def reject(rejected: Sequence[Rejected]) -> None:
        await loop.reject(rejected)

    assert settings.database_url
    try:
        exporter = PostgresExporter(
            settings.database_url, schema=settings.database_schema, reject=reject
        )
    except ValueError as error:
        raise StartError(f"TRACEQUILL_DATABASE_URL is wrong: {error}.") from None
    loop = ExportLoop(
        reader=reader,
        exporter=exporter,
        dead_letters=DeadLetters(settings.dead_letters_dir),
        stop=stop,
        max_bytes=max(settings.request_max_bytes, _LEAST_MAX_BYTES),
    )
    status_path = settings.data_dir / "collector" / "exporter.status.json"

    def say() -> None:
        values = _values(loop.progress) | _counts(exporter)
        write_status(status_path, values | {"queue_backlog_bytes": reader.backlog_bytes})

    try:
        async with asyncio.TaskGroup() as tasks:
            saying = tasks.create_task(_say(stop, say))
            await loop.run()
            await saying
    finally:
        await exporter.close()


async def _say(stop: asyncio.Event, say: Callable[[], None]) -> None:
    """Write the status file once a second, and a last time at the end."""
    while not stop.is_set():
        _say_once(say)
        with suppress(TimeoutError):
            async with asyncio.timeout(_STATUS_SECONDS):
                await stop.wait()
    _say_once(say)


def _say_once(say: Callable[[], None]) -> None:
    try:
        say()
    except OSError as error:  # a full disk: exporting is what makes room again
        _log.warning("the status file cannot be written", extra={"error": error.strerror})


def _values(progress: Progress) -> dict[str, str | int | float]:
    return {
        "waiting": progress.waiting,
        "exported_records": progress.exported_records,
        "dead_letters": progress.dead_letters,
        "raw_genai_spans": progress.raw_genai_spans,
        "last_exported_unix_seconds": progress.last_exported_unix_seconds,
        "failed_tries": progress.failed_tries,
    }


def _counts(exporter: PostgresExporter) -> dict[str, int]:
    counts = exporter.counts
    return {
        "stored_spans": counts.stored_spans,
        "seen_before_spans": counts.seen_before_spans,
        "rejected_spans": counts.rejected_spans,
        "transactions": counts.transactions,
        "failed_transactions": counts.failed_transactions,
    }


if __name__ == "__main__":
    sys.exit(run_service("exporter", main))
