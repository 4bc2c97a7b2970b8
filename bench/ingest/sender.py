"""A process that sends generated requests by OTLP/gRPC and says what became of each.

``python -m bench.ingest.sender JSON``: an Order goes in, ``ready`` is printed, an empty line on
standard input begins it, and the Report leaves as one line of JSON. A process of its own, so that
what sending costs is known and holds up nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import grpc
import psutil

from bench.ingest.spans import SPANS_A_TRACE, Template, ids_of, make_templates

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
SEED = 20_26
TEMPLATES = 8
_TIMEOUT_SECONDS = 60.0
_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 0.1
_PERMANENT = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
    }
)
"""What makes an OTLP client give a request up."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to send. It ends after ``seconds`` or ``spans``, whichever comes first."""

    address: str
    salt: int
    traces: int
    """Traces a request."""
    in_flight: int
    """Requests that wait for an answer at the same time, at most."""
    seconds: float
    spans: int = 10**12
    spans_per_second: float = 0.0
    """Paced by the clock; 0: the next one as soon as one is answered."""
    repeats: bool = True
    """Whether a refused request is sent again; otherwise a new one is, without a pause."""
    stored_file: str = ""
    """A status file with ``stored_spans``: who is this far behind is waited for."""
    max_behind_spans: int = 0


@dataclass(slots=True)
class Report:
    """What became of it. Times are of the monotonic clock that all processes share."""

    began: float = 0.0
    ended: float = 0.0
    offered_spans: int = 0
    acknowledged: list[tuple[int, float, float]] = field(default_factory=list)
    """Number, sent and answered, of each request that was accepted."""
    answers: dict[str, int] = field(default_factory=dict)
    """How often each status was the answer, refusals that were repeated included."""
    permanent_answers: int = 0
    held_back_requests: int = 0
    """Paced requests that could not leave, because too many waited for an answer."""
    request_bytes: int = 0
    spans_a_request: int = 0
    cpu_seconds: float = 0.0

    @property
    def acknowledged_spans(self) -> int:
        return len(self.acknowledged) * self.spans_a_request

    @property
    def latencies_ms(self) -> list[float]:
        return [(answered - sent) * 1000 for _, sent, answered in self.acknowledged]


class _Sender:
    def __init__(self, order: Order, templates: list[Template], export: Export) -> None:
        self._order = order
        self._templates = templates
        self._export = export
        self._numbers = 0
        self._acknowledged_spans = 0
        self._answers: Counter[str] = Counter()
        size = sum(template.size_bytes for template in templates) // len(templates)
        self.report = Report(
            request_bytes=size, spans_a_request=order.traces * SPANS_A_TRACE, began=time.monotonic()
        )

    async def run(self) -> None:
        if self._order.spans_per_second:
            await self._run_paced()
        else:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._order.in_flight):
                    tasks.create_task(self._run_closed())
        self.report.ended = time.monotonic()
        self.report.answers = dict(self._answers)

    async def _run_closed(self) -> None:
        while self._goes_on:
            if self._is_far_ahead:
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            await self._send(self._take_number())

    async def _run_paced(self) -> None:
        interval = self.report.spans_a_request / self._order.spans_per_second
        due = time.monotonic()
        waiting: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as tasks:
            while self._goes_on:
                if (ahead := due - time.monotonic()) > 0:
                    await asyncio.sleep(ahead)
                due += interval
                if len(waiting) >= self._order.in_flight:
                    self.report.held_back_requests += 1
                    await asyncio.sleep(0)
                    continue
                task = tasks.create_task(self._send(self._take_number()))
                waiting.add(task)
                task.add_done_callback(waiting.discard)

    @property
    def _goes_on(self) -> bool:
        report = self.report
        if report.offered_spans >= self._order.spans:
            return False
        return time.monotonic() - report.began < self._order.seconds

    @property
    def _is_far_ahead(self) -> bool:
        if not self._order.stored_file:
            return False
        try:
            stored = json.loads(Path(self._order.stored_file).read_bytes())["values"]
        except (OSError, ValueError):
            stored = {}
        behind = self.report.offered_spans - int(stored.get("stored_spans", 0))
        return behind >= self._order.max_behind_spans

    def _take_number(self) -> int:
        number, self._numbers = self._numbers, self._numbers + 1
        self.report.offered_spans += self.report.spans_a_request
        return number

    async def _send(self, number: int) -> None:
        template = self._templates[number % len(self._templates)]
        ids = ids_of(self._order.salt, number, self._order.traces)
        request = template.fresh(ids, time.time_ns())
        while True:
            sent = time.monotonic()
            try:
                await self._export(request, timeout=_TIMEOUT_SECONDS)
            except grpc.aio.AioRpcError as error:
                self._answers[error.code().name] += 1
                if error.code() in _PERMANENT:
                    self.report.permanent_answers += 1
                    return
                if not self._order.repeats or not self._goes_on_repeating:
                    return
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._answers["OK"] += 1
            self.report.acknowledged.append((number, sent, time.monotonic()))
            return

    @property
    def _goes_on_repeating(self) -> bool:
        return time.monotonic() - self.report.began < self._order.seconds + _TIMEOUT_SECONDS


Export = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


@contextlib.asynccontextmanager
async def _connected(address: str) -> AsyncIterator[Export]:
    options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        await channel.channel_ready()
        yield channel.unary_unary(EXPORT, bytes, bytes)


async def send(order: Order) -> Report:
    """Do what *order* says."""
    templates = make_templates(SEED, TEMPLATES, order.traces)
    async with _connected(order.address) as export:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        process = psutil.Process()
        before = process.cpu_times()
        sender = _Sender(order, templates, export)
        await sender.run()
        after = process.cpu_times()
    sender.report.cpu_seconds = after.user + after.system - before.user - before.system
    return sender.report


def main() -> int:
    order = Order(**json.loads(sys.argv[1]))
    report = asyncio.run(send(order))
    print(json.dumps(asdict(report)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
