"""The exporter's loop: batches of records are interpreted and stored, side by side.

Records enter from the lanes of the queue and from replays; spans leave to the exporter, and what
cannot be read or stored to the dead letters. A batch is done when each of its spans is committed
or lies in the dead letters; until then it stays where it came from, however long that takes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from tracequill_collector.errors import PermanentError, RetryableError
from tracequill_collector.exporter.postgres import (
    ExporterCounts,
    PostgresExporter,
    UnforeseenError,
)
from tracequill_collector.exporter.rows import Rejected
from tracequill_collector.pipeline import Record
from tracequill_collector.processor.decode import Decoded
from tracequill_collector.processor.policy import Policy
from tracequill_collector.queue.dead_letters import DeadLetters, DeadLettersFullError
from tracequill_collector.service.burying import letter_of_record, letters_of_spans
from tracequill_collector.service.export_metrics import ExportMetrics
from tracequill_collector.service.lanes import Lanes
from tracequill_collector.service.replaying import Replaying
from tracequill_collector.service.work import Batch, Content, Outcome, Work, interpret

_log = logging.getLogger(__name__)

# What is interpreted while the batch before it is stored: enough for full transactions.
_READ_RECORDS = 1_000
_READ_BYTES = 6 * 1024 * 1024
_READ_SECONDS = 0.25
# A replay goes on at every so many turns even while the queue has work.
_REPLAY_TURN = 8

_CHECK_SECONDS = 5.0
_FIRST_DELAY_SECONDS = 0.1
_MAX_DELAY_SECONDS = 5.0
_FINISH_SECONDS = 5.0


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


@dataclass(slots=True)
class ExportLoop:
    """Takes records until it is stopped."""

    lanes: Lanes
    exporter: PostgresExporter
    dead_letters: DeadLetters
    stop: asyncio.Event
    max_bytes: int
    metrics: ExportMetrics
    replaying: Replaying | None = None
    policy: Policy | None = None
    progress: Progress = field(default_factory=Progress)
    _ready: asyncio.Queue[Work] = field(default_factory=lambda: asyncio.Queue(1))
    _current: Work | None = None
    _outcome: Outcome = field(default_factory=Outcome)
    """Of the current work, all its tries together."""
    _earlier: Outcome = field(default_factory=Outcome)
    """Of the works before it, of the same batch."""
    _rejected: dict[int, str] = field(default_factory=dict)
    """By ``id()``: spans of the current work that the exporter cannot store, and why."""
    _is_stored: bool = False
    """Whether all others of the current work are stored."""
    _turn: int = 0

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
        """Take note of spans that cannot be stored; they are buried when all others are stored."""
        self._rejected |= {id(one.span): one.reason for one in rejected}

    # --- reading ------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            try:
                batch = await self._next_batch()
            except RetryableError as error:
                self._wait_for(error)
                await asyncio.sleep(_MAX_DELAY_SECONDS)
                continue
            if batch is not None:
                works = interpret(batch, self.max_bytes, self.policy)
                while (work := await asyncio.to_thread(next, works, None)) is not None:
                    await self._ready.put(work)

    async def _next_batch(self) -> Batch | None:
        """Give what arrived, and now and then, or when nothing did, some of a replay."""
        self._turn += 1
        if self.replaying is not None and self._turn % _REPLAY_TURN == 0:
            batch = await self._replayed()
            if batch is not None:
                return batch
        batch = await self.lanes.read(
            max_records=_READ_RECORDS, max_bytes=_READ_BYTES, wait_seconds=0
        )
        if batch is None and self.replaying is not None:
            batch = await self._replayed()
        if batch is None:
            batch = await self.lanes.read(
                max_records=_READ_RECORDS, max_bytes=_READ_BYTES, wait_seconds=_READ_SECONDS
            )
        return batch

    async def _replayed(self) -> Batch | None:
        assert self.replaying is not None
        return await self.replaying.read(max_records=_READ_RECORDS, max_bytes=_READ_BYTES)

    # --- storing ------------------------------------------------------------------------

    async def _store(self) -> None:
        checked_at = float("-inf")
        while not self.stop.is_set():
            try:
                async with asyncio.timeout(_READ_SECONDS):
                    self._current = await self._ready.get()
            except TimeoutError:
                self._current = None
            if self._current is not None:
                self._outcome, self._is_stored = Outcome(), False
                if not await self._until_done(self._export):
                    return
                checked_at = time.monotonic()
            elif time.monotonic() - checked_at > _CHECK_SECONDS:
                await self._until_done(self.exporter.check)
                checked_at = time.monotonic()
            await self.exporter.announce()

    async def _export(self) -> None:
        """Store the current work; with the last of a batch, tell its source that it is done."""
        work = self._current
        assert work is not None
        if not self._is_stored:
            await self._consume(work)
            self._is_stored = True
        # Last: a folder of dead letters that takes nothing holds up no span of this work.
        for queued, content in zip(work.records, work.contents, strict=True):
            await self._bury(queued.record, content)
        whole = self._earlier.plus(self._outcome)
        if work.is_last:
            await work.batch.source.done(work.batch, whole)
            whole = Outcome()
        self._earlier = whole
        self._note_done(work)

    async def _consume(self, work: Work) -> None:
        # An earlier try may have had other reasons.
        self._rejected = {}
        if spans := work.spans:
            before = replace(self.exporter.counts)
            started = time.monotonic()
            try:
                await self.exporter.consume(spans, is_replacing=work.batch.is_replacing)
            finally:
                self._count(before)
            self.metrics.stored(time.monotonic() - started)

    def _count(self, before: ExporterCounts) -> None:
        """Add what was stored since *before*: a try that fails may have stored a part."""
        counts, outcome = self.exporter.counts, self._outcome
        # What an earlier try has stored, this one has found there.
        earlier = outcome.stored_spans
        stored = counts.stored_spans - before.stored_spans
        seen_before = counts.seen_before_spans - before.seen_before_spans
        replaced = counts.replaced_spans - before.replaced_spans
        outcome.stored_spans += stored
        outcome.seen_before_spans = max(0, seen_before - earlier)
        outcome.replaced_spans = max(0, replaced - earlier)
        self.metrics.sent(stored)

    def _note_done(self, work: Work) -> None:
        progress = self.progress
        progress.dead_letters += len(self._outcome.letters)
        progress.exported_records += len(work.records)
        progress.last_exported_unix_seconds = time.time()
        decoded = [content for content in work.contents if isinstance(content, Decoded)]
        raw_genai_spans = sum(content.raw_genai_spans for content in decoded)
        progress.raw_genai_spans += raw_genai_spans
        self.metrics.raw_genai(raw_genai_spans)
        self.metrics.seen_before(self._outcome.seen_before_spans, self._outcome.replaced_spans)
        if work.batch.source is not self.replaying:
            self.metrics.done(work.records)
        for content in decoded:
            self.metrics.changed(content.policy_counts)

    async def _bury(self, record: Record, content: Content) -> None:
        """Bury *record*, or the spans of it that cannot be stored."""
        if isinstance(content, PermanentError):
            letters = [letter_of_record(record, str(content))]
        elif reasons := self._reasons(content):
            letters = await asyncio.to_thread(
                letters_of_spans, record, reasons, max_bytes=self.max_bytes
            )
        else:
            return
        for letter in letters:
            letter_id = await asyncio.to_thread(
                self.dead_letters.add,
                letter.record,
                letter.reason,
                what=letter.what,
                details=letter.details,
            )
            if letter_id not in self._outcome.letters:
                self._outcome.letters.add(letter_id)
                self.metrics.buried(letter.spans)

    def _reasons(self, content: Decoded) -> dict[int, str]:
        """Give the places of spans that cannot be stored, each with its reason."""
        reasons = dict(content.rejected)
        if self._rejected:
            for span, place in zip(content.spans, content.places, strict=True):
                if reason := self._rejected.get(id(span)):
                    reasons[place] = reason
        return reasons

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
        self.metrics.failed()
        reason = str(error)
        if reason != self.progress.waiting:
            needs_person = isinstance(error, UnforeseenError | DeadLettersFullError)
            level = logging.ERROR if needs_person else logging.WARNING
            _log.log(level, "spans are kept in the queue", extra={"waiting": reason})
            self.progress.waiting = reason
