"""One consumer of a queue that does not let a backlog hold up what arrives now.

Records leave, batch by batch; who stores them says when each is done. While the consumer is far
behind, it has two lanes: the live one begins at the end of the queue as it then was, the other goes
on with the backlog up to there. Constraints:

1. Each lane gives its records in queue order. Live ones go first, and of every four turns the
   backlog gets one at least, so that both always go on.
2. When the backlog is through, the lanes become one again, where the live one is.
3. Both lanes are consumers of the queue, each with its checkpoint: whatever the moment at which
   the process ends, nothing is left out. What was given and not done is given again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from tracequill_collector.errors import RetryableError, StartError
from tracequill_collector.pipeline import QueuedRecord
from tracequill_collector.queue import checkpoint as checkpoints
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.service.work import Batch, Outcome, seconds_since

SPLIT_BYTES = 64 * 1024 * 1024
# Compressed records may be thirty times larger when they are stored: so where some are old, less
# is far behind as well. Ages are of the wall clock; one that is set splits once too often, if ever.
_OLD_SECONDS = 10.0
_OLD_SPLIT_BYTES = 4 * 1024 * 1024
_LOOK_SECONDS = 1.0
_RETRY_SECONDS = 30.0
_BACKLOG_TURN = 4

_LIVE = "-live"

_log = logging.getLogger(__name__)


def live_name(name: str) -> str:
    """Give the consumer that the live lane of the consumer *name* is, while there is one."""
    return name + _LIVE


def done_by(folder: Path, name: str) -> int:
    """Give the sequence from which on no lane of the consumer *name* has done anything."""
    found = [checkpoints.load(folder, consumer) for consumer in (name, live_name(name))]
    return max((checkpoint.next_sequence for checkpoint in found if checkpoint), default=0)


@dataclass(slots=True)
class _Lane:
    """A source of batches: what is done is committed."""

    reader: QueueReader
    lanes: Lanes
    done_unix_ns: int = 0
    """When the last record that is done was received; 0 before there is one."""

    async def done(self, batch: Batch, outcome: Outcome) -> None:
        await self.reader.commit(batch.records[-1].sequence + 1)
        self.done_unix_ns = batch.records[-1].record.received_unix_ns
        self.lanes.finished(batch)


class Lanes:
    """The consumer *name* of a queue, in one lane or in two. For one reading task."""

    def __init__(
        self, folder: Path, name: str, keep_seconds: float, split_bytes: int, main: QueueReader
    ) -> None:
        self._folder = folder
        self._name = name
        self._keep_seconds = keep_seconds
        self._split_bytes = split_bytes
        self._main = _Lane(main, self)
        self._live: _Lane | None = None
        self._turn = 0
        self._lost_before = 0
        self._looked_at = float("-inf")
        self._given: list[Batch] = []
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    async def open(
        cls, folder: Path, name: str, *, keep_seconds: float, split_bytes: int = SPLIT_BYTES
    ) -> Lanes:
        """Open the queue in *folder* where the consumer left off; raises as QueueReader does."""
        main = await QueueReader.open(folder, consumer=name, keep_seconds=keep_seconds)
        lanes = cls(folder, name, keep_seconds, split_bytes, main)
        try:
            if checkpoints.load(folder, live_name(name)) is not None:
                await lanes._open_live()
            else:
                # One that is damaged would hold all room: what it had done comes again instead.
                checkpoints.remove(Disk(), folder, live_name(name))
        except OSError as error:
            await main.close()
            raise StartError(
                f"the queue at {folder} cannot be read: {error.strerror}. "
                "Correct the folder, or set another data_dir."
            ) from error
        except BaseException:
            await main.close()
            raise
        return lanes

    @property
    def is_split(self) -> bool:
        """Whether there is a backlog lane beside the live one."""
        return self._live is not None

    @property
    def next_sequence(self) -> int:
        """Everything before it is done."""
        return self._main.reader.next_sequence

    @property
    def backlog_bytes(self) -> int:
        """How many bytes lie behind what is done, those included that the live lane has done."""
        return self._main.reader.backlog_bytes

    @property
    def lost_records(self) -> int:
        """How many records were damaged or gone before they were read, since it was opened."""
        live = 0 if self._live is None else self._live.reader.lost_records
        return self._lost_before + self._main.reader.lost_records + live

    @property
    def age_seconds(self) -> float:
        """How long ago the oldest record that was read, but is not done, was received.

        With a backlog, which is read by turns, at least the age of what was last done of it.
        """
        moments = [batch.records[0].record.received_unix_ns for batch in self._given]
        if self._live is not None and self._main.done_unix_ns:
            moments.append(self._main.done_unix_ns)
        return max(map(seconds_since, moments), default=0.0)

    async def read(self, *, max_records: int, max_bytes: int, wait_seconds: float) -> Batch | None:
        """Give the next batch, None when none came in time."""
        try:
            await self._join_or_split()
        except OSError as error:  # what was begun is done again from the start at the next turn
            raise RetryableError(
                f"the consumers of {self._folder} cannot be written: {error.strerror}."
            ) from error
        self._turn += 1
        lanes = [self._main] if self._live is None else [self._live, self._main]
        if self._turn % _BACKLOG_TURN == 0:
            lanes.reverse()
        for lane in lanes:
            wait = wait_seconds if lane is lanes[-1] else 0.0
            records = await lane.reader.read(
                max_records=max_records,
                max_bytes=max_bytes,
                wait_seconds=wait,
                below=self._below(lane),
            )
            if records:
                return self._give(records, lane)
        return None

    def _below(self, lane: _Lane) -> int | None:
        if lane is self._main and self._live is not None:
            return self._live.reader.first_sequence
        return None

    def _give(self, records: list[QueuedRecord], lane: _Lane) -> Batch:
        batch = Batch(records, lane)
        self._given.append(batch)
        self._idle.clear()
        return batch

    def finished(self, batch: Batch) -> None:
        """Take note that *batch* is done."""
        self._given.remove(batch)
        if not self._given:
            self._idle.set()

    async def close(self) -> None:
        """Give the queue back."""
        await self._main.reader.close()
        if self._live is not None:
            await self._live.reader.close()

    # --- one lane or two ----------------------------------------------------------------

    async def _join_or_split(self) -> None:
        main = self._main.reader
        if self._live is not None:
            if main.position >= self._live.reader.first_sequence:
                # What the live lane has given must be done before another goes on from there.
                await self._idle.wait()
                await main.continue_from(self._live.reader)
                self._lost_before += self._live.reader.lost_records
                self._live = None
                _log.info("the backlog is through", extra={"consumer": self._name})
            return
        if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = time.monotonic()
            if main.backlog_bytes >= self._far_behind_bytes():
                await self._split()

    def _far_behind_bytes(self) -> int:
        """Give the backlog from which on new records shall not wait."""
        is_old = self.age_seconds > _OLD_SECONDS
        return min(self._split_bytes, _OLD_SPLIT_BYTES) if is_old else self._split_bytes

    async def _split(self) -> None:
        try:
            await self._open_live()
        except StartError as error:
            # A full disk, perhaps: working off the backlog is what makes room.
            _log.warning(
                "new records wait behind the backlog",
                extra={"consumer": self._name, "error": str(error)},
            )
            self._looked_at += _RETRY_SECONDS
        else:
            _log.info(
                "new records no longer wait behind the backlog, which goes on beside them",
                extra={"consumer": self._name, "backlog_bytes": self.backlog_bytes},
            )

    async def _open_live(self) -> None:
        self._live = _Lane(
            await QueueReader.open(
                self._folder,
                consumer=live_name(self._name),
                keep_seconds=self._keep_seconds,
                start_at="end",
            ),
            self,
        )
