"""Dead letters of one backend are sent to it again, when a command asks for it.

Requests enter by a folder of their own below that of the other replays; what became of them goes
back into it. A letter that is taken is gone; one that is refused again stays. What is replayed
waits for the backend as everything does, beside what the queue has, and never before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from pathlib import Path
from typing import Protocol

from tracequill_collector.errors import RetryableError
from tracequill_collector.pipeline import QueuedRecord
from tracequill_collector.processor.policy import Policy
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.replay import Progress, Replays, Request
from tracequill_collector.service.onward_requests import Parcel, next_parcel

_LOOK_SECONDS = 0.5

_log = logging.getLogger(__name__)


class Sender(Protocol):
    """Sends to the backend; ``OnwardLoop`` is one."""

    async def send_again(self, parcel: Parcel) -> bool:
        """Send *parcel* until it is answered; say whether all of it was taken."""


class OnwardReplay:
    """Works off the requests of one backend's folder, one at a time."""

    def __init__(
        self, folder: Path, dead_letters: DeadLetters, *, max_bytes: int, policy: Policy | None
    ) -> None:
        self._replays = Replays(folder)
        self._dead_letters = dead_letters
        self._max_bytes = max_bytes
        self._policy = policy

    async def run(self, sender: Sender) -> None:
        """Send what requests name, until it is cancelled."""
        while True:
            try:
                request = await asyncio.to_thread(self._replays.next)
                if request is None:
                    await asyncio.sleep(_LOOK_SECONDS)
                    continue
                await self._work_off(request, sender)
            except (OSError, RetryableError) as error:
                said = error.strerror if isinstance(error, OSError) else str(error)
                _log.warning("a replay to a backend waits", extra={"waiting": said})
                await asyncio.sleep(_LOOK_SECONDS)

    async def _work_off(self, request: Request, sender: Sender) -> None:
        progress = Progress()
        for place, letter_id in enumerate(request.letter_ids):
            if not self._replays.is_wanted(request):
                return
            progress.share = place / len(request.letter_ids)
            await asyncio.to_thread(self._replays.note, request, progress)
            await self._send(letter_id, sender, progress)
        progress.share, progress.is_done = 1.0, True
        await asyncio.to_thread(self._replays.note, request, progress)

    async def _send(self, letter_id: str, sender: Sender, progress: Progress) -> None:
        parcel = await asyncio.to_thread(self._parcel, letter_id)
        if parcel is None:
            return
        progress.records += 1
        spans = parcel.piece.spans
        if not parcel.letters and spans and await sender.send_again(parcel):
            await asyncio.to_thread(self._dead_letters.remove, letter_id)
            progress.stored_spans += spans
            progress.solved_letters += 1
        else:
            progress.dead_letters += 1

    def _parcel(self, letter_id: str) -> Parcel | None:
        try:
            found = self._dead_letters.show(letter_id)
        except ValueError:  # of a newer Tracequill's kind, or not whole: it stays
            return None
        if found is None:
            return None
        # The policy of today: it may hide more than that of the day on which it was refused.
        left = deque([QueuedRecord(0, found[1])])
        return next_parcel(left, max_bytes=self._max_bytes, policy=self._policy)
