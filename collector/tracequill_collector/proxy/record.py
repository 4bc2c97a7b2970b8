"""From a call to the queue: what crossed, without secrets, as one Exchange.

A call's facts come in while it crosses; a record goes to the queue before the last byte of the
answer goes to the client. Nothing here waits, and nothing here fails a call. It does not know
what the bodies mean.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol

from tracequill_collector.errors import CollectorError, PermanentError, QueueFullError
from tracequill_collector.exchange import End, Exchange
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.proxy.body import BodyTee
from tracequill_collector.proxy.context import CallContext
from tracequill_collector.proxy.headers import (
    RawHeaders,
    recorded_path,
    recorded_request_headers,
    recorded_response_headers,
)
from tracequill_collector.proxy.route import Target

# After a failure nothing is tried for this long; also the age a queue's own measure may have.
_PAUSE_SECONDS = 1.0
# A full queue is tried again after this even when its reader seems to stand still.
_PROBE_SECONDS = 10.0
_LOG_SECONDS = 10.0
# Copying and writing more than this takes longer than other calls should wait.
_SMALL_BYTES = 1024 * 1024

_log = logging.getLogger(__name__)


class ExchangeQueue(Protocol):
    """Where records go; ``QueueWriter`` is one."""

    @property
    def backlog_bytes(self) -> int:
        """What the reader has not yet taken."""

    @property
    def is_busy(self) -> bool:
        """Whether ``append`` would have to wait for another thread."""

    def append(self, record: Record) -> None:
        """Write *record* so that it survives this process; QueueFullError past the cap.

        May be called in any thread.
        """


class ExchangeSink:
    """Appends exchanges and remembers whether the queue took them."""

    def __init__(
        self,
        queue: ExchangeQueue,
        *,
        max_bytes: int,
        on_full: Literal["forward", "refuse"],
        count_lost: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._max_bytes = max_bytes
        self._refuses = on_full == "refuse"
        self._count_lost = count_lost
        self._monotonic = monotonic
        self._full_at_bytes: int | None = None
        self._failed_until = 0.0
        self._probe_at = 0.0
        self._logged_at = -_LOG_SECONDS
        # One: each large exchange takes several times its size in memory while it is written.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="large-exchanges")

    async def close(self) -> None:
        """Wait until what is written aside is written."""
        await asyncio.to_thread(self._thread.shutdown)

    @property
    def is_busy(self) -> bool:
        """Whether ``keep`` would stop all calls for a while."""
        return self._queue.is_busy

    @property
    def backlog_bytes(self) -> int:
        """What the recorder has not yet taken."""
        return self._queue.backlog_bytes

    @property
    def refuses(self) -> bool:
        """Whether a call must be refused now because it could not be recorded."""
        return self._refuses and not self.takes

    @property
    def takes(self) -> bool:
        """Whether the queue is thought to take another record."""
        now = self._monotonic()
        if now < self._failed_until:
            return False
        backlog_bytes = self._queue.backlog_bytes
        if self._full_at_bytes is not None:
            # Full is also when a record did not fit, below the cap. The reader makes room.
            if backlog_bytes >= max(self._full_at_bytes, 1) and now < self._probe_at:
                self._full_at_bytes = backlog_bytes
                return False
            self._full_at_bytes = None
        return backlog_bytes < self._max_bytes

    def keep(self, make: Callable[[], Exchange]) -> None:
        """Make an exchange and append it; what goes wrong is counted and logged, never raised."""
        try:
            exchange = make()
            self._queue.append(
                Record(
                    kind=RecordKind.EXCHANGE,
                    received_unix_ns=exchange.start_unix_ns,
                    payload=exchange.to_bytes(),
                )
            )
        except QueueFullError:
            self._full_at_bytes = 0
            self._pause()
            self._lost("queue_full", "the queue is full")
        except PermanentError as error:
            # Only this record cannot be kept; the next one may well be.
            self._lost("queue_failed", str(error))
        except Exception as error:
            # A disk that fails must not fail the call. The text of an unknown error may quote
            # bytes of the exchange, so only its type is told.
            self._pause()
            known = isinstance(error, CollectorError)
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            self._lost("queue_failed", str(error) if known else f"the queue failed: {reason}")

    async def keep_aside(self, make: Callable[[], Exchange], *, is_large: bool) -> None:
        """Make and keep an exchange in a thread, also when the caller is cancelled meanwhile."""
        loop = asyncio.get_running_loop()
        # Small ones wait for the queue alone, and not for what is copied before.
        thread = self._thread if is_large else None
        await asyncio.shield(loop.run_in_executor(thread, self.keep, make))

    def _pause(self) -> None:
        now = self._monotonic()
        self._failed_until = now + _PAUSE_SECONDS
        self._probe_at = now + _PROBE_SECONDS

    def _lost(self, kind: str, reason: str) -> None:
        self._count_lost(kind)
        now = self._monotonic()
        if now - self._logged_at >= _LOG_SECONDS:
            self._logged_at = now
            _log.error("a call was forwarded but not recorded", extra={"reason": reason})


class Recording:
    """What is known of one call so far. ``finish`` keeps it once; later calls do nothing."""

    def __init__(
        self,
        sink: ExchangeSink,
        target: Target,
        context: CallContext,
        *,
        method: str,
        headers: RawHeaders,
        body_max_bytes: int,
        body_memory_bytes: int,
        folder: Path,
        start_unix_ns: int,
    ) -> None:
        self.context = context
        self.request_body = BodyTee(body_max_bytes, folder, body_memory_bytes)
        self._sink = sink
        self._target = target
        self._method = method
        self._request_headers = headers
        self._response_body = BodyTee(body_max_bytes, folder, body_memory_bytes)
        self._response_headers: RawHeaders = ()
        self._status = 0
        self._start_unix_ns = start_unix_ns
        self._first_byte_unix_ns = 0
        self._chunk_count = 0
        self._finished = False

    def begin_response(self, status: int, headers: RawHeaders) -> None:
        """Note the head of the upstream's response."""
        self._status = status
        self._response_headers = headers

    def add_response(self, chunk: bytes) -> None:
        """Note a chunk of the response body."""
        if not self._chunk_count:
            self._first_byte_unix_ns = time.time_ns()
        self._chunk_count += 1
        self._response_body.add(chunk)

    def finish(self, end: End, error: str = "") -> None:
        """Keep the exchange as it stands."""
        if self._finished:
            return
        self._finished = True
        self._sink.keep(lambda: self._exchange(end, error, time.time_ns()))

    async def finish_aside(self, end: End, error: str = "") -> None:
        """As ``finish``, but in a thread where that would stop all other calls for a while."""
        kept_bytes = self.request_body.kept_bytes + self._response_body.kept_bytes
        is_large = kept_bytes > _SMALL_BYTES
        if self._finished or not (is_large or self._sink.is_busy):
            self.finish(end, error)
            return
        self._finished = True
        end_unix_ns = time.time_ns()
        await self._sink.keep_aside(
            lambda: self._exchange(end, error, end_unix_ns), is_large=is_large
        )

    def discard(self) -> None:
        """Keep nothing: the call was never forwarded."""
        self._finished = True
        self.request_body.close()
        self._response_body.close()

    def _exchange(self, end: End, error: str, end_unix_ns: int) -> Exchange:
        context = self.context
        target = self._target
        return Exchange(
            route=target.route.name,
            vendor=target.vendor,
            region=target.region,
            method=self._method,
            path=recorded_path(target.path),
            trace_id=context.trace_id,
            span_id=context.span_id,
            parent_span_id=context.parent_span_id,
            traced=context.traced,
            start_unix_ns=self._start_unix_ns,
            first_byte_unix_ns=self._first_byte_unix_ns,
            end_unix_ns=end_unix_ns,
            end=end,
            error=error,
            status=self._status,
            chunk_count=self._chunk_count,
            request_headers=recorded_request_headers(self._request_headers),
            response_headers=recorded_response_headers(self._response_headers),
            request_body_bytes=self.request_body.size,
            response_body_bytes=self._response_body.size,
            session_id=context.session_id,
            user_id=context.user_id,
            project_name=context.project_name,
            tags=context.tags,
            metadata=context.metadata,
            request_body=self.request_body.take(),
            response_body=self._response_body.take(),
        )
