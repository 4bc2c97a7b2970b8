"""A source of records that were stored, or refused, before: replays and dead letters.

Requests enter by their folder, batches leave, and what became of them goes back into the folder.
Knows nothing of how records are stored. Failures of single requests end in their progress.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tracequill_collector.errors import PermanentError, RetryableError, StartError
from tracequill_collector.pipeline import QueuedRecord, Record, RecordKind
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.queue.history import HistoryReader
from tracequill_collector.recorder.sender import Rejected, interpret_record
from tracequill_collector.recorder.span import encode_request
from tracequill_collector.replay import Progress, Replays, Request
from tracequill_collector.service.lanes import done_by
from tracequill_collector.service.work import Batch, Outcome

_LOOK_SECONDS = 0.5
# What nobody asked for is looked through for so long at a time: new records wait meanwhile.
_TURN_SECONDS = 0.1
# Interpreting an exchange takes longer than storing its span.
_EXCHANGES_BYTES = 1024 * 1024

# What may go wrong with the files of a replay; none of it may end the exporter.
_FAILURES = (OSError, RetryableError, PermanentError, StartError)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReplayedQueue:
    """A queue whose past can be sent again, and the consumer that sent it first."""

    folder: Path
    consumer: str
    holds_exchanges: bool = False


class Replaying:
    """Works off the requests of a folder, one at a time. For one reading task."""

    def __init__(
        self,
        replays: Replays,
        queues: Sequence[ReplayedQueue],
        dead_letters: DeadLetters,
        default_project_name: str,
    ) -> None:
        """*default_project_name* is that of exchanges which name none."""
        self._replays = replays
        self._queues = queues
        self._dead_letters = dead_letters
        self._default_project_name = default_project_name
        self._request: Request | None = None
        self._progress = Progress()
        self._history: HistoryReader | None = None
        self._letters: list[str] = []
        self._given_letters: list[str] = []
        self._is_out = False
        """Whether a batch was given whose outcome is not known yet."""
        self._looked_at = float("-inf")
        self._is_told = False
        """Whether it was logged that the folder cannot be read."""

    async def read(self, *, max_records: int, max_bytes: int) -> Batch | None:
        """Give the next batch of a request, None when there is nothing to do now."""
        if self._is_out:
            return None
        if self._request is None and not await asyncio.to_thread(self._begin):
            return None
        request = self._request
        assert request is not None
        try:
            if not self._replays.is_wanted(request):
                self._cancel(request)
                return None
            records = await self._records(request, max_records, max_bytes)
        except _FAILURES as error:
            self._end(str(error))
            return None
        if records is None:
            return None
        if not records:
            self._end("")
            return None
        self._is_out = True
        return Batch(
            records,
            self,
            is_replacing=request.is_replacing,
            project_name=request.project_name,
        )

    async def done(self, batch: Batch, outcome: Outcome) -> None:
        """Take note of what became of *batch*."""
        progress = self._progress
        progress.records += len(batch.records)
        progress.stored_spans += outcome.stored_spans
        progress.seen_before_spans += outcome.seen_before_spans
        progress.replaced_spans += outcome.replaced_spans
        progress.dead_letters += len(outcome.letters)
        for letter_id in self._given_letters:
            if letter_id not in outcome.letters:
                progress.solved_letters += await asyncio.to_thread(self._solve, letter_id)
        self._given_letters = []
        if self._history is not None:
            progress.next_sequence = self._history.next_sequence
            progress.share = (progress.queue + self._history.progress) / len(self._queues)
        elif self._request is not None:
            progress.share = 1 - len(self._letters) / max(1, len(self._request.letter_ids))
        self._note()
        self._is_out = False

    def close(self) -> None:
        """Close the open file; a restarted exporter goes on with the request."""
        if self._history is not None:
            self._history.close()
            self._history = None

    # --- one request --------------------------------------------------------------------

    def _begin(self) -> bool:
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return False
        self._looked_at = now
        try:
            request = self._replays.next()
            begun = self._replays.progress(request) if request is not None else None
        except OSError as error:
            if not self._is_told:
                _log.warning("replays cannot be looked for", extra={"error": str(error)})
            self._is_told = True
            return False
        self._is_told = False
        if request is None:
            return False
        self._request = request
        # One that a predecessor began goes on where that one was.
        self._progress = begun or Progress()
        self._letters = list(request.letter_ids)
        try:
            if not self._progress.below_sequences:
                # What is read from now on is not of the past.
                self._progress.below_sequences = [
                    done_by(queue.folder, queue.consumer) for queue in self._queues
                ]
            if not request.letter_ids:
                self._open_queue()
        except _FAILURES as error:
            self._end(str(error))
            return False
        _log.info("a replay begins", extra={"request": request.request_id})
        self._note()
        return True

    def _open_queue(self) -> None:
        """Open the queue that the progress is at, or the next one that there is."""
        assert self._request is not None
        progress = self._progress
        while progress.queue < len(self._queues):
            queue = self._queues[progress.queue]
            if queue.folder.is_dir():
                self._history = HistoryReader(
                    queue.folder,
                    since_unix_ns=self._request.since_unix_ns,
                    below_sequence=progress.below_sequences[progress.queue],
                    from_sequence=progress.next_sequence,
                )
                return
            progress.queue += 1
            progress.next_sequence = 0

    async def _records(
        self, request: Request, max_records: int, max_bytes: int
    ) -> list[QueuedRecord] | None:
        """Give the next records; none at the end, None when the search goes on another time."""
        if request.letter_ids:
            return await asyncio.to_thread(self._letter_records, max_bytes)
        deadline = time.monotonic() + _TURN_SECONDS
        while self._history is not None:
            if self._queues[self._progress.queue].holds_exchanges:
                max_bytes = min(max_bytes, _EXCHANGES_BYTES)
            found = await self._history.read(max_records=max_records, max_bytes=max_bytes)
            if not found:
                self._next_queue()
            elif records := await asyncio.to_thread(self._wanted, request, found):
                return records
            elif time.monotonic() >= deadline:
                return None
        return []

    def _next_queue(self) -> None:
        self.close()
        self._progress.queue += 1
        self._progress.next_sequence = 0
        self._open_queue()

    def _wanted(self, request: Request, found: Sequence[QueuedRecord]) -> list[QueuedRecord]:
        records = []
        for queued in found:
            if queued.record.received_unix_ns <= request.until_unix_ns:
                try:
                    record = _traces_of(queued.record, self._default_project_name)
                except PermanentError:  # a dead letter since it was read first
                    continue
                records.append(QueuedRecord(queued.sequence, record))
        return records

    def _letter_records(self, max_bytes: int) -> list[QueuedRecord]:
        records: list[QueuedRecord] = []
        size = 0
        while self._letters and size < max_bytes:
            letter_id = self._letters.pop(0)
            try:
                found = self._dead_letters.show(letter_id)
            except ValueError:  # of a newer Tracequill's kind, or not whole: it stays
                self._progress.dead_letters += 1
                continue
            if found is None:
                continue
            letter, kept = found
            try:
                record = _traces_of(kept, self._default_project_name)
            except PermanentError as error:
                self._dead_letters.add(kept, str(error), what=letter.what)
                self._progress.dead_letters += 1
                continue
            self._given_letters.append(letter_id)
            records.append(QueuedRecord(0, record))
            size += len(record.payload)
        return records

    def _solve(self, letter_id: str) -> bool:
        """Remove a letter whose spans are stored; False where it stays."""
        try:
            return self._dead_letters.remove(letter_id)
        except RetryableError as error:
            _log.warning(
                "a dead letter that is solved cannot be removed",
                extra={"id": letter_id, "error": str(error)},
            )
            return False

    def _end(self, problem: str) -> None:
        assert self._request is not None
        self._progress.problem = problem
        self._progress.share = 1.0
        self._progress.is_done = True
        self._note()
        # What went wrong may quote a record; the command that asked is told.
        _log.info(
            "a replay ended",
            extra={"request": self._request.request_id, "is_complete": not problem},
        )
        self._leave()

    def _cancel(self, request: Request) -> None:
        """Leave a request whose command has gone; nobody looks at its progress any more."""
        with suppress(OSError):
            self._replays.forget(request)
        _log.info("a replay was cancelled", extra={"request": request.request_id})
        self._leave()

    def _leave(self) -> None:
        self.close()
        # Letters that were read, but not given, are not solved by what comes next.
        self._request, self._letters, self._given_letters = None, [], []

    def _note(self) -> None:
        assert self._request is not None
        try:
            self._replays.note(self._request, self._progress)
        except OSError as error:  # a full disk: replaying goes on without telling
            _log.warning("a replay's progress cannot be written", extra={"error": error.strerror})


def _traces_of(record: Record, default_project_name: str) -> Record:
    """Give *record*, or what an exchange means now as the recorder would send it."""
    if record.kind is not RecordKind.EXCHANGE:
        return record
    item = interpret_record(record, default_project_name)
    if isinstance(item, Rejected):
        raise PermanentError(item.reason)
    name = item.project_name
    return Record(
        kind=RecordKind.OTLP_TRACES,
        received_unix_ns=record.received_unix_ns,
        payload=encode_request(item.spans, name),
        # What no header could carry stands in the resource alone.
        project_name=name if name.isascii() and name.isprintable() else "",
    )
