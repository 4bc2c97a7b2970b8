"""Applications that send spans and remember what they were promised.

Every span is unique and can be made again from its plan, so that what is stored can be compared
with what was sent. A span becomes an obligation at the moment of the positive answer.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
import grpc.aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status

PROJECT = "faults"
MODEL = "gpt-4o-mini"
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

_SPANS_IN_TRACE = 12
_TRACES_IN_SESSION = 5
_ANSWER_SECONDS = 8.0
_TRIES = 40
_RETRY_SECONDS = 0.25
_SENT_AGAIN_SHARE = 0.03

# What OTLP allows a client to repeat; anything else costs it the spans.
_RETRYABLE_HTTP = frozenset({429, 502, 503, 504})
_RETRYABLE_GRPC = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One span, before it is sent. Everything about it follows from these fields."""

    span_id: str
    trace_id: str
    parent_id: str | None
    session_id: str
    number: int
    start_time_unix_ns: int

    @property
    def end_time_unix_ns(self) -> int:
        return self.start_time_unix_ns + (self.number % 1000 + 1) * 1_000_000

    @property
    def is_llm(self) -> bool:
        return self.number % 3 == 0

    @property
    def is_error(self) -> bool:
        return self.number % 7 == 0

    @property
    def name(self) -> str:
        return f"step {self.number}"

    @property
    def text(self) -> str:
        # Bytes of one to four, quotes and backslashes: what a careless encoder changes.
        return f'"{self.span_id}" \\ é ‰ 😀 ' + "tracequill " * (self.number % 40)

    @property
    def prompt_tokens(self) -> int:
        return self.number % 500 + 1 if self.is_llm else 0

    @property
    def completion_tokens(self) -> int:
        return self.number % 90 + 1 if self.is_llm else 0

    @property
    def flat_attributes(self) -> dict[str, str | int]:
        """The attributes as they are sent."""
        attributes: dict[str, str | int] = {
            "openinference.span.kind": "LLM" if self.is_llm else "CHAIN",
            "session.id": self.session_id,
            "input.value": self.text,
            "fault.number": self.number,
        }
        if self.is_llm:
            attributes["llm.model_name"] = MODEL
            attributes["llm.token_count.prompt"] = self.prompt_tokens
            attributes["llm.token_count.completion"] = self.completion_tokens
        return attributes

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes as they are stored."""
        nested: dict[str, Any] = {}
        for key, content in self.flat_attributes.items():
            *parents, last = key.split(".")
            place = nested
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = content
        return nested


def request_of(plans: Sequence[Plan]) -> bytes:
    """One OTLP request with the spans of *plans*."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    project = resource_spans.resource.attributes.add(key="openinference.project.name")
    project.value.string_value = PROJECT
    spans = resource_spans.scope_spans.add().spans
    for plan in plans:
        span = spans.add(
            trace_id=bytes.fromhex(plan.trace_id),
            span_id=bytes.fromhex(plan.span_id),
            parent_span_id=bytes.fromhex(plan.parent_id or ""),
            name=plan.name,
            start_time_unix_nano=plan.start_time_unix_ns,
            end_time_unix_nano=plan.end_time_unix_ns,
        )
        span.status.code = Status.STATUS_CODE_ERROR if plan.is_error else Status.STATUS_CODE_OK
        for key, content in plan.flat_attributes.items():
            attribute = span.attributes.add(key=key)
            if isinstance(content, int):
                attribute.value.int_value = content
            else:
                attribute.value.string_value = content
    return request.SerializeToString()


@dataclass(slots=True)
class Ledger:
    """What was sent, what was promised, and answers that no client may repeat."""

    sent: dict[str, Plan] = field(default_factory=dict)
    obligations: set[str] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)
    """Answers that tell a client to drop its spans; there must be none."""
    retries: int = 0


class Planner:
    """Makes traces whose spans are spread over several requests, children before their parents."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._numbers = iter(range(1, 1 << 62))
        self._traces = 0
        self._requests = self._make()

    def request(self) -> list[Plan]:
        """The spans of the next request."""
        return next(self._requests)

    def _make(self) -> Iterator[list[Plan]]:
        choose = self._random
        while True:
            traces = [self._trace() for _ in range(3)]
            plans = [plan for trace in traces for plan in trace]
            choose.shuffle(plans)
            while plans:
                count = choose.randint(1, 12)
                yield plans[:count]
                del plans[:count]

    def _trace(self) -> list[Plan]:
        choose = self._random
        trace_id = choose.randbytes(16).hex()
        session_id = f"session {self._traces // _TRACES_IN_SESSION}"
        self._traces += 1
        plans: list[Plan] = []
        began_us = time.time_ns() // 1000
        for place in range(_SPANS_IN_TRACE):
            parent = choose.choice(plans).span_id if plans else None
            plans.append(
                Plan(
                    span_id=choose.randbytes(8).hex(),
                    trace_id=trace_id,
                    parent_id=parent,
                    session_id=session_id,
                    number=next(self._numbers),
                    start_time_unix_ns=(began_us + place * 100) * 1000,
                )
            )
        return plans


class Load:
    """Some clients of each kind, at a bounded rate, until told to stop."""

    def __init__(self, http_url: str, grpc_address: str, seed: int) -> None:
        self.ledger = Ledger()
        self.planner = Planner(seed)
        self._http_url = f"{http_url}/v1/traces"
        self._grpc_address = grpc_address
        self._random = random.Random(seed)
        self._stop = asyncio.Event()

    async def run(self, *, clients: int = 4, requests_per_second: float = 16.0) -> None:
        """Send until ``stop``; what was not answered by then is given up."""
        self._stop.clear()
        pause_seconds = clients / requests_per_second
        async with aiohttp.ClientSession() as session, self._channel() as channel:
            call = channel.unary_unary(EXPORT, bytes, bytes)
            ways = [self._http(session), self._grpc(call), self._http(session, gzipped=True)]
            async with asyncio.TaskGroup() as tasks:
                for number in range(clients):
                    tasks.create_task(self._client(ways[number % len(ways)], pause_seconds))

    def stop(self) -> None:
        """Let the clients end after what they are sending."""
        self._stop.set()

    async def send_one(self, plans: Sequence[Plan]) -> bool:
        """Send one request once, by HTTP; whether it was accepted."""
        async with aiohttp.ClientSession() as session:
            return await self._try(self._http(session), plans)

    def _channel(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(
            self._grpc_address,
            options=[
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.min_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 500),
            ],
        )

    async def _client(self, way: Way, pause_seconds: float) -> None:
        while not self._stop.is_set():
            plans = self.planner.request()
            if await self._until_accepted(way, plans):
                if self._random.random() < _SENT_AGAIN_SHARE:
                    await self._try(way, plans)
            await self._rest(pause_seconds * self._random.uniform(0.5, 1.5))

    async def _until_accepted(self, way: Way, plans: Sequence[Plan]) -> bool:
        for _ in range(_TRIES):
            if await self._try(way, plans):
                return True
            self.ledger.retries += 1
            if await self._rest(_RETRY_SECONDS * self._random.uniform(0.5, 1.5)):
                break
        return False

    async def _try(self, way: Way, plans: Sequence[Plan]) -> bool:
        self.ledger.sent |= {plan.span_id: plan for plan in plans}
        if await way(request_of(plans)):
            self.ledger.obligations |= {plan.span_id for plan in plans}
            return True
        return False

    async def _rest(self, seconds: float) -> bool:
        """Pause; whether the end was asked for meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True

    # --- ways to send -------------------------------------------------------------------

    def _http(self, session: aiohttp.ClientSession, *, gzipped: bool = False) -> Way:
        headers = {"Content-Type": "application/x-protobuf"}
        if gzipped:
            headers["Content-Encoding"] = "gzip"
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)

        async def send(body: bytes) -> bool:
            if gzipped:
                body = gzip.compress(body, compresslevel=1)
            try:
                async with session.post(
                    self._http_url, data=body, headers=headers, timeout=timeout
                ) as answer:
                    content = await answer.read()
            except (aiohttp.ClientError, OSError, TimeoutError):
                return False
            if answer.status == 200:
                return self._is_whole(content)
            if answer.status not in _RETRYABLE_HTTP or "Retry-After" not in answer.headers:
                self.ledger.refusals.append(f"HTTP {answer.status}: {content[:200]!r}")
            return False

        return send

    def _grpc(self, call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]) -> Way:
        async def send(body: bytes) -> bool:
            try:
                content = await call(body, timeout=_ANSWER_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _RETRYABLE_GRPC:
                    self.ledger.refusals.append(f"gRPC {error.code().name}: {error.details()}")
                return False
            return self._is_whole(content)

        return send

    def _is_whole(self, content: bytes) -> bool:
        answer = ExportTraceServiceResponse.FromString(content)
        if answer.partial_success.rejected_spans:
            self.ledger.refusals.append(f"partial: {answer.partial_success.error_message}")
            return False
        return True


Way = Callable[[bytes], Awaitable[bool]]
"""Sends one body and says whether it was accepted."""
