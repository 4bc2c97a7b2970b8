"""A request that arrived, by whatever protocol, is checked and handed to the next stage.

Bytes and what the sender said about them come in; out come the counts for the answer, or the error
that ``status.py`` turns into one. This module knows neither gRPC nor HTTP, and not the queue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from tracequill_collector.errors import CollectorError, QueueFullError, RetryableError
from tracequill_collector.otlp import (
    JSON,
    OversizeError,
    decompress,
    media_type,
    reading_bytes,
)
from tracequill_collector.pipeline import Record, RecordConsumer, RecordKind
from tracequill_collector.receiver.check import Checked, check
from tracequill_collector.receiver.metrics import ReceiverMetrics

# A sender does not notice that it is held for this long, while a refusal costs it a retry of the
# few that it has.
PATIENCE_SECONDS = 2.0
_POLL_SECONDS = 0.1

# All requests between their arrival and their answer hold at most this much.
IN_FLIGHT_MAX_BYTES = 256 * 1024 * 1024

# Decompressing and interpreting less than this takes the loop some milliseconds at most; more goes
# to a thread, so that other senders are answered meanwhile. JSON takes ten times as long as
# protobuf, and what counts beside the size is how much is made of it.
_INLINE_BYTES = 1024 * 1024
_INLINE_JSON_BYTES = 64 * 1024
_INLINE_PACKED_BYTES = 64 * 1024
_INLINE_READING_BYTES = 2 * 1024 * 1024

# What is being interpreted in threads takes about this much memory at once. One huge request
# leaves a quarter to all others, but may itself take more: up to the second limit, or so many
# times the largest request. More is made only of requests that consist of tiny messages.
_INTERPRETED_MAX_BYTES = 256 * 1024 * 1024
_HUGE_BYTES = _INTERPRETED_MAX_BYTES * 3 // 4
_READING_MAX_BYTES = 1024 * 1024 * 1024
_READING_MAX_TIMES = 16


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the sender is told about a request that was kept."""

    rejected_count: int = 0
    message: str = ""


class InFlight:
    """How many bytes of requests are held at once, with a limit. Waits a while, then refuses."""

    def __init__(self, max_bytes: int, patience_seconds: float) -> None:
        self._max_bytes = max_bytes
        self._patience_seconds = patience_seconds
        self._held_bytes = 0
        self._released = asyncio.Condition()

    @property
    def held_bytes(self) -> int:
        """What is held now."""
        return self._held_bytes

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Lease]:
        """Give a lease that can grow, and take all of it back at the end."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            await lease.shrink_to(0)

    async def take(self, count: int, owned: int) -> None:
        """Hold *count* bytes more than *owned*, when there is room or nothing else is held."""
        if not self._fits(count, owned):
            try:
                async with asyncio.timeout(self._patience_seconds), self._released:
                    await self._released.wait_for(lambda: self._fits(count, owned))
            except TimeoutError:
                raise RetryableError(
                    f"requests of more than {self._max_bytes} bytes are being received at once. "
                    "Send again later."
                ) from None
        self._held_bytes += count

    async def release(self, count: int) -> None:
        """Hold *count* bytes less."""
        # Outside of the lock: what is released is free even when this task is cancelled now.
        self._held_bytes -= count
        async with self._released:
            self._released.notify_all()

    def _fits(self, count: int, owned: int) -> bool:
        return self._held_bytes == owned or self._held_bytes + count <= self._max_bytes


class Lease:
    """The part of the limit that one request holds."""

    def __init__(self, in_flight: InFlight) -> None:
        self.bytes = 0
        self._in_flight = in_flight

    async def grow_to(self, count: int) -> None:
        """Hold *count* bytes in all; raises a RetryableError when there is no room for long."""
        if count > self.bytes:
            await self._in_flight.take(count - self.bytes, self.bytes)
            self.bytes = count

    async def shrink_to(self, count: int) -> None:
        """Hold no more than *count* bytes."""
        if count < self.bytes:
            released = self.bytes - count
            self.bytes = count
            await self._in_flight.release(released)


class Intake:
    """Takes requests for all receivers of a process."""

    def __init__(
        self,
        consumer: RecordConsumer,
        metrics: ReceiverMetrics,
        *,
        request_max_bytes: int,
        in_flight_max_bytes: int = IN_FLIGHT_MAX_BYTES,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.request_max_bytes = request_max_bytes
        self.in_flight = InFlight(in_flight_max_bytes, patience_seconds)
        self.interpreted = InFlight(_INTERPRETED_MAX_BYTES, patience_seconds)
        self._consumer = consumer
        self._metrics = metrics
        self._patience_seconds = patience_seconds

    @contextmanager
    def reading(self, transport: str) -> Iterator[None]:
        """Count the request when it is refused before it can be taken."""
        try:
            yield
        except CollectorError as error:
            self._metrics.refused(transport, 0, error)
            raise
        except Exception:
            self._metrics.failed(transport, 0)
            raise

    async def take(
        self,
        payload: bytes,
        *,
        transport: str,
        content_type: str = "",
        content_encoding: str = "",
        project_name: str = "",
    ) -> Accepted:
        """Keep the request as it came; returning means that the next stage has it for good.

        Raises a PermanentError for what can never be read and a RetryableError for what can be
        sent again.
        """
        received_unix_ns = time.time_ns()
        started = time.monotonic()
        span_count = 0
        try:
            checked = await self._check(payload, content_type, content_encoding)
            span_count = checked.span_count
            accepted = Accepted(checked.rejected_count, checked.message)
            if span_count:
                await self._keep(
                    Record(
                        kind=RecordKind.OTLP_TRACES,
                        received_unix_ns=received_unix_ns,
                        payload=payload,
                        content_type=content_type,
                        content_encoding=content_encoding,
                        project_name=project_name,
                    )
                )
        except CollectorError as error:
            self._metrics.refused(transport, span_count, error)
            raise
        except Exception:
            self._metrics.failed(transport, span_count)
            raise
        self._metrics.accepted(
            transport, span_count, accepted.rejected_count, time.monotonic() - started
        )
        return accepted

    async def _check(self, payload: bytes, content_type: str, content_encoding: str) -> Checked:
        """Decompress and check: at once what is small, in a thread what is large."""
        is_json = media_type(content_type) == JSON
        is_packed = content_encoding not in ("", "identity")
        if not is_packed or len(payload) <= _INLINE_PACKED_BYTES:
            inline = min(_INLINE_JSON_BYTES if is_json else _INLINE_BYTES, self.request_max_bytes)
            try:
                plain = decompress(payload, content_encoding, inline)
            except OversizeError:
                if inline == self.request_max_bytes:
                    raise
            else:
                cost = self._cost(plain, content_type)
                if cost <= _INLINE_READING_BYTES:
                    return check(plain, content_type)
        async with self.interpreted.lease() as lease:
            # How large it becomes is known only where it is not compressed.
            await lease.grow_to(self.request_max_bytes if is_packed else 0)
            plain, cost = await asyncio.to_thread(
                self._decompress, payload, content_type, content_encoding
            )
            await lease.shrink_to(len(plain))
            await lease.grow_to(min(lease.bytes + cost, _HUGE_BYTES))
            return await asyncio.to_thread(check, plain, content_type)

    def _decompress(
        self, payload: bytes, content_type: str, content_encoding: str
    ) -> tuple[bytes, int]:
        plain = decompress(payload, content_encoding, self.request_max_bytes)
        return plain, self._cost(plain, content_type)

    def _cost(self, plain: bytes, content_type: str) -> int:
        cost = reading_bytes(plain, content_type)
        if cost > max(_READING_MAX_BYTES, _READING_MAX_TIMES * self.request_max_bytes):
            raise OversizeError(
                f"the request has too many messages in its {len(plain)} bytes: reading it would "
                f"take about {cost} bytes of memory. Send smaller batches."
            )
        return cost

    async def _keep(self, record: Record) -> None:
        """Pass *record* on; a full queue is given a moment before the sender is refused."""
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                await self._consumer.consume(record)
                return
            except QueueFullError:
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(_POLL_SECONDS)
