"""Records go on to another OTLP backend, as one more consumer of the queue with its own position.

Records enter; requests leave, with the policy applied. A record is done when the backend has taken
it, or when what the backend will never take lies in the dead letters. What it cannot take now is
sent again for as long as it takes, and holds up nobody but this consumer.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracequill_collector.errors import PermanentError, RetryableError
from tracequill_collector.exporter.otlp import Answer, Meaning, OtlpClient
from tracequill_collector.otlp import all_spans, count_spans, rejected_spans
from tracequill_collector.pipeline import QueuedRecord, Record, RecordKind
from tracequill_collector.processor.decode import alone, parse_record, request_of_one
from tracequill_collector.processor.policy import Policy
from tracequill_collector.queue.dead_letters import DeadLetters, What
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.service.export_loop import record_of_one
from tracequill_collector.service.export_metrics import ExportMetrics
from tracequill_collector.service.work import age_seconds

_READ_RECORDS = 16
_READ_BYTES = 8 * 1024 * 1024
_READ_SECONDS = 0.25
# So many requests are on their way at once: a distant backend answers slowly, not seldom.
_IN_FLIGHT = 8
_FIRST_DELAY_SECONDS = 0.5
_MAX_DELAY_SECONDS = 30.0

_PROJECT_NAME = "openinference.project.name"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class OnwardProgress:
    """What is said of it in the status file."""

    waiting: str = ""
    lost_records: int = 0


class OnwardLoop:
    """Sends on what one consumer reads, until it is stopped."""

    def __init__(
        self,
        name: str,
        reader: QueueReader,
        client: OtlpClient,
        dead_letters: DeadLetters,
        metrics: ExportMetrics,
        stop: asyncio.Event,
        *,
        max_bytes: int,
        policy: Policy | None,
    ) -> None:
        self.progress = OnwardProgress()
        self._name = name
        self._reader = reader
        self._client = client
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._stop = stop
        self._max_bytes = max_bytes
        self._policy = policy
        self._in_flight = asyncio.Semaphore(_IN_FLIGHT)
        self._records: list[QueuedRecord] = []

    @property
    def backlog_bytes(self) -> int:
        """How many bytes are not sent yet."""
        return self._reader.backlog_bytes

    @property
    def age_seconds(self) -> float:
        """How long ago the oldest record that was read, but is not sent, was received."""
        return age_seconds(self._records)

    async def close(self) -> None:
        """Close the connections and give the queue back."""
        await self._client.close()
        await self._reader.close()

    async def run(self) -> None:
        """Send until ``stop`` is set; what is on its way then comes again."""
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(self._send_all())
            await self._stop.wait()
            sending.cancel()

    async def _send_all(self) -> None:
        while True:
            try:
                records = await self._reader.read(
                    max_records=_READ_RECORDS, max_bytes=_READ_BYTES, wait_seconds=_READ_SECONDS
                )
            except RetryableError as error:
                self._wait_for(str(error))
                await asyncio.sleep(_MAX_DELAY_SECONDS)
                continue
            self._note_lost()
            if not records:
                continue
            self._records = records
            async with asyncio.TaskGroup() as tasks:
                for queued in records:
                    tasks.create_task(self._send_record(queued))
            await self._commit(records[-1].sequence + 1)
            self._metrics.done(records)
            self._records = []

    async def _commit(self, next_sequence: int) -> None:
        while True:
            try:
                return await self._reader.commit(next_sequence)
            except RetryableError as error:
                self._wait_for(str(error))
                await asyncio.sleep(1.0)

    async def _send_record(self, queued: QueuedRecord) -> None:
        async with self._in_flight:
            record = queued.record
            try:
                request, refused = await asyncio.to_thread(self._prepare, record)
            except PermanentError as error:
                await self._bury(record, str(error), what="record")
                return
            for place, payload in alone(record, refused.keys(), max_bytes=self._max_bytes):
                await self._bury(record_of_one(record, payload), refused[place])
            await self._send(record, request)

    def _prepare(self, record: Record) -> tuple[ExportTraceServiceRequest, dict[int, str]]:
        """Give the request to send, the policy applied, and the spans that may go nowhere."""
        if record.kind is not RecordKind.OTLP_TRACES:
            raise PermanentError(f"a record of kind {record.kind!r} holds no traces.")
        request = parse_record(record, max_bytes=self._max_bytes)
        refused = {place: reason for place, reason in rejected_spans(request)}
        if self._policy is not None:
            applied = self._policy.apply(request)
            self._metrics.changed(applied.counts)
            refused |= applied.failed
        if refused:
            _leave_out(request, refused)
        if record.project_name:
            for resource_spans in request.resource_spans:
                attributes = resource_spans.resource.attributes
                if not any(pair.key == _PROJECT_NAME for pair in attributes):
                    attributes.add(key=_PROJECT_NAME).value.string_value = record.project_name
        return request, refused

    async def _send(self, record: Record, request: ExportTraceServiceRequest) -> None:
        """Send *request*, in pieces where it must be, until it is taken or given up."""
        spans = count_spans(request)
        if not spans:
            return
        payload = request.SerializeToString()
        answer = await self._until_answered(payload, record.project_name)
        if answer.meaning is Meaning.DONE:
            self._metrics.sent(spans - min(spans, answer.rejected_spans))
            if answer.rejected_spans:
                _log.error(
                    "a backend did not take all spans of a request",
                    extra={"exporter": self._name, "rejected": answer.rejected_spans},
                )
            return
        if spans == 1:
            await self._bury(
                record_of_one(record, payload),
                f"{self._name}: {answer.reason}.",
                details={"exporter": self._name},
            )
            return
        for half in _halves(request, spans):
            await self._send(record, half)

    async def _until_answered(self, payload: bytes, project_name: str) -> Answer:
        """Give the first answer that is not to wait."""
        delay_seconds = _FIRST_DELAY_SECONDS
        while True:
            started = asyncio.get_running_loop().time()
            answer = await self._client.send(payload, project_name)
            if answer.meaning not in (Meaning.RETRY, Meaning.WAIT):
                self._metrics.stored(asyncio.get_running_loop().time() - started)
                if self.progress.waiting:
                    _log.info("spans are sent on again", extra={"exporter": self._name})
                    self.progress.waiting = ""
                return answer
            self._wait_for(answer.reason, is_alarm=answer.meaning is Meaning.WAIT)
            wait = max(answer.delay_seconds, delay_seconds * random.uniform(0.5, 1.5))
            await asyncio.sleep(wait)
            delay_seconds = min(delay_seconds * 2, _MAX_DELAY_SECONDS)

    async def _bury(
        self,
        record: Record,
        reason: str,
        *,
        what: What = "span",
        details: Mapping[str, str] | None = None,
    ) -> None:
        while True:
            try:
                await asyncio.to_thread(
                    self._dead_letters.add, record, reason, what=what, details=details
                )
            except RetryableError as error:
                self._wait_for(str(error))
                await asyncio.sleep(1.0)
            else:
                self._metrics.buried(what)
                return

    def _note_lost(self) -> None:
        lost = self._reader.lost_records
        if lost > self.progress.lost_records:
            _log.error(
                "a backend was away for so long that the queue needed the room: records are lost "
                "to it",
                extra={"exporter": self._name, "lost_records": lost},
            )
            self.progress.lost_records = lost

    def _wait_for(self, reason: str, *, is_alarm: bool = False) -> None:
        self._metrics.failed()
        if reason != self.progress.waiting:
            level = logging.ERROR if is_alarm else logging.WARNING
            _log.log(
                level,
                "spans are not sent on now",
                extra={"exporter": self._name, "waiting": reason},
            )
            self.progress.waiting = reason


def _leave_out(request: ExportTraceServiceRequest, places: Collection[int]) -> None:
    place = 0
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            spans = list(scope_spans.spans)
            del scope_spans.spans[:]
            scope_spans.spans.extend(
                span for number, span in enumerate(spans, start=place) if number not in places
            )
            place += len(spans)


def _halves(
    request: ExportTraceServiceRequest, spans: int
) -> tuple[ExportTraceServiceRequest, ExportTraceServiceRequest]:
    """Give the first and the second half of the spans of *request*, each with what surrounds it."""
    first, second = ExportTraceServiceRequest(), ExportTraceServiceRequest()
    for place, surrounded in enumerate(all_spans(request)):
        half = first if place < spans // 2 else second
        half.MergeFromString(request_of_one(*surrounded))
    return first, second
