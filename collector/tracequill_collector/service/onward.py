"""Records go on to another OTLP backend, as one more consumer of the queue with its own position.

Records enter; requests leave, several at once, and what is done is committed in queue order.
Constraints:

1. A record is done when the backend has taken it, or when what the backend will never take lies in
   the dead letters. Until then it stays in the queue, and holds up nobody but this consumer.
2. At least once: what was on its way when the process ended is sent again.
3. One bad span never costs another: a refused request is halved until the span is alone.
4. A backend that refuses everything is no reason for dead letters. So a span that was refused
   becomes one only when the backend has taken something else since then. Where nothing else was
   on its way, that is a plain span of our own, always the same one; while not even that is taken,
   the refused ones wait, with an alarm, and are sent again.
5. Failures that may be the request's or the backend's (500, INTERNAL, no answer in time) are tried
   again for some minutes, and treated as a refusal only when the plain span is taken meanwhile.
6. Spans that a backend rejected of a request that it took are counted and never sent again.
7. A mistake of ours here is an alarm and a new beginning, never the end of the process.
8. What is in memory is bounded: by requests, bytes and records that are not committed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tracequill.errors import CommandError
from tracequill_collector.errors import CollectorError, RetryableError
from tracequill_collector.exporter.otlp import Answer, Meaning, OtlpClient
from tracequill_collector.processor.policy import Policy
from tracequill_collector.queue.dead_letters import DeadLetters, DeadLettersFullError
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.service.burying import Letter
from tracequill_collector.service.export_metrics import ExportMetrics
from tracequill_collector.service.onward_replay import OnwardReplay
from tracequill_collector.service.onward_requests import (
    Parcel,
    Piece,
    halves,
    letter_of,
    next_parcel,
    plain_request,
)

_READ_RECORDS = 500
_READ_BYTES = 1024 * 1024
_READ_SECONDS = 0.25
# So many requests are on their way at once: a distant backend answers slowly, not seldom.
_IN_FLIGHT = 8
# Their bytes together, or one request that is larger.
_IN_FLIGHT_BYTES = 32 * 1024 * 1024
# What is read past a request that must wait comes again after a kill.
_WINDOW_RECORDS = 5_000
_FIRST_DELAY_SECONDS = 0.5
_MAX_DELAY_SECONDS = 30.0
# With the delays above: some seconds, and some minutes.
_SPLIT_TRIES = 4
_GIVE_UP_TRIES = 10
_FINISH_SECONDS = 3.0
_SAY_REJECTED_SECONDS = 60.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class OnwardProgress:
    """What is said of it in the status file."""

    waiting: str = ""
    """Why spans cannot be sent now, in one sentence; empty while all is well."""
    sent_spans: int = 0
    rejected_spans: int = 0
    """Spans that the backend did not take of requests that it took."""
    dead_letters: int = 0
    failed_tries: int = 0
    lost_records: int = 0
    """Records that left the queue before they were sent."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """A span that was refused alone."""

    piece: Piece
    answer: Answer
    takes: int
    """How many requests the backend had taken until then."""


class OnwardLoop:
    """Sends on what one consumer reads, until it is stopped."""

    def __init__(
        self,
        name: str,
        reader: QueueReader,
        open_reader: Callable[[], Awaitable[QueueReader]],
        client: OtlpClient,
        dead_letters: DeadLetters,
        metrics: ExportMetrics,
        stop: asyncio.Event,
        *,
        max_bytes: int,
        policy: Policy | None,
        replay_dir: Path,
    ) -> None:
        """*replay_dir* is where commands leave what is to be sent to this backend again."""
        self.progress = OnwardProgress()
        self._name = name
        self._reader = reader
        self._open_reader = open_reader
        self._client = client
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._stop = stop
        self._max_bytes = max_bytes
        self._policy = policy
        self._replay = OnwardReplay(replay_dir, dead_letters, max_bytes=max_bytes, policy=policy)
        self._window: deque[Parcel] = deque()
        """Read and not committed, in queue order."""
        self._moved = asyncio.Condition()
        """Told when a parcel is done or committed."""
        self._waiting: dict[object, str] = {}
        """Who waits for the backend, the disk or the queue, and why."""
        self._not_before = 0.0
        """When the backend wants to be asked again."""
        self._takes = 0
        """How many requests the backend has taken."""
        self._asking = asyncio.Lock()
        self._questions = 0
        """How often it was asked to take a plain span."""
        self._said_rejected_at = float("-inf")
        self._lost_before = 0

    @property
    def backlog_bytes(self) -> int:
        """How many bytes are not sent yet."""
        return self._reader.backlog_bytes

    @property
    def age_seconds(self) -> float:
        """How long ago the oldest record that was read, but is not sent, was received."""
        received = [parcel.received_unix_ns for parcel in self._window if not parcel.is_done]
        # Wall time: a clock that was set back makes no negative ages.
        return max(0.0, (time.time_ns() - min(received)) / 1e9) if received else 0.0

    async def close(self) -> None:
        """Give the queue back."""
        await self._reader.close()

    async def run(self) -> None:
        """Send until ``stop`` is set; a mistake of ours is an alarm, and costs no other exporter.

        After one it begins again at what is committed.
        """
        while not self._stop.is_set():
            problem: BaseException | None = None
            try:
                await self._run()
            except* Exception as group:
                problem = group.exceptions[0]
            if problem is None:
                return
            self._window.clear()
            self._waiting.clear()
            # An error may quote what was sent; its kind and place do not.
            place = traceback.extract_tb(problem.__traceback__)[-1:]
            where = f"{Path(place[0].filename).name}:{place[0].lineno}" if place else "?"
            self._wait_for(self, f"it failed ({type(problem).__name__}, {where})", is_alarm=True)
            await self._begin_again()

    async def _begin_again(self) -> None:
        """Open the queue once more, after a while."""
        while not self._stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_MAX_DELAY_SECONDS):
                    await self._stop.wait()
                return
            await self._reader.close()
            try:
                self._reader = await self._open_reader()
                self._lost_before = self.progress.lost_records
            except (CommandError, CollectorError, OSError) as error:
                self._wait_for(self, str(error), is_alarm=True)
            else:
                return

    async def _run(self) -> None:
        """Send; what the backend has not taken soon after ``stop`` comes again."""
        async with asyncio.TaskGroup() as tasks:
            sending: set[asyncio.Task[None]] = set()
            reading = tasks.create_task(self._read(tasks, sending))
            committing = tasks.create_task(self._commit())
            replaying = tasks.create_task(self._replay.run(self))
            await self._stop.wait()
            reading.cancel()
            replaying.cancel()
            if not self._waiting:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_FINISH_SECONDS), self._moved:
                        await self._moved.wait_for(lambda: not self._window)
            for task in (*sending, committing):
                task.cancel()

    # --- reading and committing ---------------------------------------------------------

    async def _read(self, tasks: asyncio.TaskGroup, sending: set[asyncio.Task[None]]) -> None:
        while True:
            try:
                records = await self._reader.read(
                    max_records=_READ_RECORDS, max_bytes=_READ_BYTES, wait_seconds=_READ_SECONDS
                )
            except RetryableError as error:
                self._wait_for(self, str(error))
                await asyncio.sleep(_MAX_DELAY_SECONDS)
                continue
            self._wait_no_more(self)
            self._note_lost()
            left = deque(records)
            while left:
                parcel = await asyncio.to_thread(
                    next_parcel, left, max_bytes=self._max_bytes, policy=self._policy
                )
                await self._has_room_for(parcel)
                self._window.append(parcel)
                task = tasks.create_task(self._deliver(parcel))
                sending.add(task)
                task.add_done_callback(sending.discard)

    async def _has_room_for(self, parcel: Parcel) -> None:
        """Return when *parcel* may go on its way as well."""

        def has_room() -> bool:
            under_way = [other for other in self._window if not other.is_done]
            size = sum(len(other.piece.payload) for other in under_way)
            records = sum(other.count for other in self._window) + parcel.count
            return not self._window or (
                len(under_way) < _IN_FLIGHT
                and (not under_way or size + len(parcel.piece.payload) <= _IN_FLIGHT_BYTES)
                and records <= _WINDOW_RECORDS
            )

        async with self._moved:
            await self._moved.wait_for(has_room)

    async def _commit(self) -> None:
        while True:
            async with self._moved:
                await self._moved.wait_for(lambda: bool(self._window) and self._window[0].is_done)
            done = 0
            while done < len(self._window) and self._window[done].is_done:
                done += 1
            await self._commit_until(self._window[done - 1].next_sequence)
            async with self._moved:
                for _ in range(done):
                    self._window.popleft()
                self._moved.notify_all()

    async def _commit_until(self, next_sequence: int) -> None:
        while True:
            try:
                await self._reader.commit(next_sequence)
            except RetryableError as error:
                self._wait_for(self._commit, str(error))
                await asyncio.sleep(1.0)
            else:
                self._wait_no_more(self._commit)
                return

    async def _deliver(self, parcel: Parcel) -> None:
        if parcel.piece.spans:
            await self._send(parcel)
        for letter in parcel.letters:
            await self._bury(parcel, letter)
        self._metrics.changed(parcel.policy_counts)
        self._metrics.done(parcel.records)
        parcel.finish()
        async with self._moved:
            self._moved.notify_all()

    # --- sending ------------------------------------------------------------------------

    async def _send(self, parcel: Parcel) -> None:
        """Send *parcel* until every span is taken or lies in the dead letters."""
        pieces = [parcel.piece]
        while pieces:
            refused = await self._send_pieces(parcel, pieces)
            if refused and not await self._takes_others(refused[-1].takes):
                await self._until_others_are_taken(parcel, refused[-1].answer)
                pieces = [one.piece for one in refused]
                continue
            for one in refused:
                reason = f"{self._name}: {one.answer.reason}."
                if one.answer.said:
                    reason += f" It said: {one.answer.said}"
                letter = letter_of(one.piece, reason, parcel.received_unix_ns)
                await self._bury(parcel, letter, refused_by=self._name)
            return

    async def send_again(self, parcel: Parcel) -> bool:
        """Send a dead letter until it is answered; say whether it was taken."""
        answer = await self._until_answered(parcel, parcel.piece)
        if answer.meaning is not Meaning.DONE:
            return False
        self._note_sent(parcel.piece, answer)
        return not answer.rejected_spans

    async def _send_pieces(self, parcel: Parcel, pieces: list[Piece]) -> list[_Refused]:
        """Send all of *pieces*, halved where they must be; give the single spans refused."""
        refused: list[_Refused] = []
        takes = self._takes
        while pieces:
            piece = pieces.pop()
            answer = await self._until_answered(parcel, piece)
            if answer.meaning is Meaning.DONE:
                self._note_sent(piece, answer)
            elif piece.spans > 1:
                pieces += reversed(await asyncio.to_thread(halves, piece.payload))
            else:
                refused.append(_Refused(piece, answer, self._takes))
                # Looked at early, too: halving goes on only where it can help.
                if pieces and len(refused) == 1 and not await self._takes_others(takes):
                    await self._until_others_are_taken(parcel, answer)
                    pieces.append(refused.pop().piece)
        return refused

    async def _until_answered(self, parcel: Parcel, piece: Piece) -> Answer:
        """Send *piece* until the answer is that it is taken, or that it never will be."""
        tries = 0
        for delay_seconds in _delays():
            answer = await self._ask(piece)
            if answer.meaning in (Meaning.DONE, Meaning.TOO_LARGE, Meaning.BAD):
                break
            tries = tries + 1 if answer.meaning is Meaning.DOUBTFUL else 0
            if tries >= (_SPLIT_TRIES if piece.spans > 1 else _GIVE_UP_TRIES):
                if await self._takes_others(self._takes):
                    answer = replace(answer, meaning=Meaning.BAD)
                    break
            is_alarm = answer.meaning is not Meaning.RETRY
            self._wait_for(parcel, answer.reason, is_alarm=is_alarm)
            await asyncio.sleep(delay_seconds)
        self._wait_no_more(parcel)
        return answer

    async def _ask(self, piece: Piece) -> Answer:
        """Send *piece* once, not before the backend wants to be asked again."""
        await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
        began = time.monotonic()
        answer = await self._client.send(piece.payload)
        if answer.meaning is Meaning.DONE:
            self._metrics.stored(time.monotonic() - began)
            self._takes += answer.rejected_spans < piece.spans
        elif answer.delay_seconds:
            self._not_before = max(self._not_before, time.monotonic() + answer.delay_seconds)
        return answer

    async def _takes_others(self, takes: int) -> bool:
        """Say whether the backend takes other requests since it had taken *takes* of them."""
        questions = self._questions
        async with self._asking:
            if self._takes == takes and self._questions == questions:
                self._questions += 1
                await self._ask(Piece(plain_request(), 1))
        return self._takes > takes

    async def _until_others_are_taken(self, parcel: Parcel, answer: Answer) -> None:
        for delay_seconds in _delays():
            self._wait_for(parcel, f"it refuses every span: {answer.reason}", is_alarm=True)
            await asyncio.sleep(delay_seconds)
            if await self._takes_others(self._takes):
                break
        self._wait_no_more(parcel)

    # --- what is said of it -------------------------------------------------------------

    def _note_sent(self, piece: Piece, answer: Answer) -> None:
        rejected = min(piece.spans, answer.rejected_spans)
        self._metrics.sent(piece.spans - rejected)
        self._metrics.rejected(rejected)
        self.progress.sent_spans += piece.spans - rejected
        self.progress.rejected_spans += rejected
        now = time.monotonic()
        if rejected and now - self._said_rejected_at >= _SAY_REJECTED_SECONDS:
            self._said_rejected_at = now
            _log.error(
                "a backend rejects spans of requests that it takes; it does not get them again",
                extra={"exporter": self._name, "rejected_spans": self.progress.rejected_spans},
            )

    async def _bury(self, parcel: Parcel, letter: Letter, refused_by: str = "") -> None:
        """Keep *letter*; one that only this backend refuses says so."""
        details = {**letter.details, "exporter": refused_by} if refused_by else letter.details
        while True:
            try:
                await asyncio.to_thread(
                    self._dead_letters.add,
                    letter.record,
                    letter.reason,
                    what=letter.what,
                    details=details,
                )
            except RetryableError as error:
                is_alarm = isinstance(error, DeadLettersFullError)
                self._wait_for(parcel, str(error), is_alarm=is_alarm)
                await asyncio.sleep(1.0)
            else:
                self._wait_no_more(parcel)
                self._metrics.buried(letter.spans)
                self.progress.dead_letters += 1
                return

    def _note_lost(self) -> None:
        lost = self._lost_before + self._reader.lost_records
        if lost > self.progress.lost_records:
            _log.error(
                "records are missing in the queue: this backend has lost them, unless they are "
                "ones that a crash cut off before they were acknowledged",
                extra={"exporter": self._name, "lost_records": lost},
            )
            self.progress.lost_records = lost

    def _wait_for(self, who: object, reason: str, *, is_alarm: bool = False) -> None:
        self._metrics.failed()
        self.progress.failed_tries += 1
        is_new = reason not in self._waiting.values()
        self._waiting[who] = self.progress.waiting = reason
        if is_new:
            level = logging.ERROR if is_alarm else logging.WARNING
            _log.log(
                level,
                "spans are not sent on now",
                extra={"exporter": self._name, "waiting": reason},
            )

    def _wait_no_more(self, who: object) -> None:
        if self._waiting.pop(who, None) is None:
            return
        self.progress.waiting = next(reversed(self._waiting.values()), "")
        if not self._waiting:
            _log.info("spans are sent on again", extra={"exporter": self._name})


def _delays() -> Iterator[float]:
    """Yield the seconds between one try and the next, for ever."""
    delay_seconds = _FIRST_DELAY_SECONDS
    while True:
        yield delay_seconds * random.uniform(0.5, 1.5)
        delay_seconds = min(delay_seconds * 2, _MAX_DELAY_SECONDS)
