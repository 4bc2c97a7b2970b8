"""The recorder as a process: what the proxy queued arrives in the collector, each call once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.exchange_cases import own_case
from tests.integration.recorder_rig import (
    WITHIN_SECONDS,
    RecorderProcess,
    StubCollector,
    service,
    spans_of,
    until,
)
from tests.ports import free_port
from tracequill.settings import load_settings
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.recorder.interpret import interpret

pytestmark = pytest.mark.integration

_QUEUE_BYTES = 64 * 1024 * 1024
_READY_SECONDS = 3
# Its tests share two cores with others.
_READY_SLOWLY_SECONDS = 10
_IDLE_BYTES = 120 * 1024 * 1024


class Proxy:
    """What the forwarding process does to the queue: it appends exchanges."""

    def __init__(self, queue: QueueWriter) -> None:
        self._queue = queue
        self.span_ids: list[str] = []

    async def forward(self, count: int, case: str = "openai-chat", project: str = "") -> None:
        """Queue *count* calls like *case*, each with ids of its own."""
        for _ in range(count):
            span_id = f"{len(self.span_ids) + 1:016x}"
            self.span_ids.append(span_id)
            exchange = own_case(case).exchange(
                span_id=span_id, trace_id=span_id * 2, project_name=project
            )
            await self.append(exchange.to_bytes())

    async def append(self, payload: bytes) -> None:
        """Queue a payload."""
        await self._queue.consume(Record(RecordKind.EXCHANGE, time.time_ns(), payload))


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxy]:
    queue = await QueueWriter.open(tmp_path / "proxy" / "queue", max_bytes=_QUEUE_BYTES)
    yield Proxy(queue)
    await queue.close()


@pytest.fixture
def collector() -> StubCollector:
    return StubCollector(free_port())


@pytest.fixture
async def recorder(tmp_path: Path, collector: StubCollector) -> AsyncIterator[RecorderProcess]:
    process = RecorderProcess(tmp_path, collector.port)
    yield process
    if process.process is not None:
        await process.end(signal.SIGKILL)


async def test_it_works_soon_and_stays_small(
    proxy: Proxy, collector: StubCollector, recorder: RecorderProcess
) -> None:
    async with collector.running():
        began = time.monotonic()
        await recorder.start()
        ready_seconds = time.monotonic() - began
        assert recorder.process is not None
        process = psutil.Process(recorder.process.pid)
        cpu = process.cpu_times()
        await proxy.forward(1)
        await until(lambda: len(collector.span_ids) == 1)
        resident_bytes = process.memory_info().rss

    assert ready_seconds < _READY_SLOWLY_SECONDS
    assert cpu.user + cpu.system < _READY_SECONDS
    assert resident_bytes < _IDLE_BYTES


async def test_what_came_while_the_collector_was_away_arrives_once(
    proxy: Proxy, collector: StubCollector, recorder: RecorderProcess
) -> None:
    """C22: with its sink away litellm 1.97 dropped rows and 1.98 kept them in memory (38193)."""
    await proxy.forward(250)
    await recorder.start()
    await until(lambda: bool(recorder.status("waiting")))
    async with collector.running():
        await until(lambda: len(collector.span_ids) >= 250)
        await until(lambda: recorder.status("recorded_exchanges") == 250)
        code = await recorder.end()

    assert code == 0
    assert sorted(collector.span_ids) == sorted(proxy.span_ids)
    assert recorder.status("waiting") == ""
    assert recorder.status("queue_backlog_bytes") == 0


async def test_a_collector_that_asks_to_wait_gets_each_span_in_the_end(
    proxy: Proxy, collector: StubCollector, recorder: RecorderProcess
) -> None:
    """C23: Phoenix answers 503 when 20,000 spans wait (9512); senders that take that for an end
    lose them. A wrong path (404) lost spans silently (14875).
    """
    collector.statuses = [503, 429, 500, 404]
    await proxy.forward(3)
    async with collector.running():
        await recorder.start()
        await until(lambda: recorder.status("recorded_exchanges") == 3)

    assert collector.span_ids == proxy.span_ids * 5


async def test_after_kill_9_the_same_spans_come_again(
    proxy: Proxy, collector: StubCollector, recorder: RecorderProcess
) -> None:
    """C24: ids fixed when forwarding make the second delivery the same span."""
    collector.may_answer.clear()
    await proxy.forward(5, case="openai-chat-stream")
    async with collector.running():
        await recorder.start()
        await until(lambda: len(collector.span_ids) == 5)
        await recorder.end(signal.SIGKILL)
        collector.may_answer.set()
        await recorder.start()
        await until(lambda: recorder.status("recorded_exchanges") == 5)

    (_, first), (_, second) = collector.requests
    assert collector.span_ids == proxy.span_ids * 2
    assert first == second


async def test_one_refused_span_is_a_dead_letter_and_the_others_arrive(
    proxy: Proxy, collector: StubCollector, recorder: RecorderProcess, tmp_path: Path
) -> None:
    """C23: one span that can never be taken must not stop those behind it."""
    collector.refused_span_names = {"CreateEmbeddings"}
    await proxy.forward(6)
    await proxy.forward(1, case="openai-embeddings")
    await proxy.forward(6)
    await proxy.append(b"no exchange")
    async with collector.running():
        await recorder.start()
        await until(lambda: recorder.status("recorded_exchanges") == 14)

    letters = DeadLetters(tmp_path / "dead_letters").list()
    assert len(collector.span_ids) == 12
    assert recorder.status("dead_letters") == 2
    assert {letter.kind_name for letter in letters} == {"exchange"}
    assert any("refused" in letter.reason for letter in letters)


async def test_each_request_holds_one_project(
    proxy: Proxy, collector: StubCollector, recorder: RecorderProcess
) -> None:
    await proxy.forward(2, project="support-bot")
    await proxy.forward(2)
    await proxy.forward(1, project="Ärzte")
    async with collector.running():
        await recorder.start()
        await until(lambda: recorder.status("recorded_exchanges") == 5)

    projects = [
        (header, traces.resource_spans[0].resource.attributes[0].value.string_value)
        for header, traces in collector.requests
    ]
    assert sorted(projects) == [("", "Ärzte"), ("calls", "calls"), ("support-bot", "support-bot")]


async def test_the_real_receiver_queues_what_the_recorder_sends(
    proxy: Proxy, tmp_path: Path
) -> None:
    http_port, grpc_port = free_port(), free_port()
    settings = load_settings(data_dir=tmp_path, otlp_http_port=http_port, otlp_grpc_port=grpc_port)
    receiver = await service("receiver", tmp_path, {**os.environ, **settings.to_environment()})
    recorder = RecorderProcess(tmp_path, http_port)
    try:
        await proxy.forward(2, case="bedrock-converse-stream-tools")
        await recorder.start()
        await until(lambda: recorder.status("recorded_exchanges") == 2)
    finally:
        await recorder.end()
        receiver.terminate()
        await asyncio.wait_for(receiver.wait(), WITHIN_SECONDS)
    reader = await QueueReader.open(settings.collector_queue_dir, consumer="test")
    records = await reader.read(max_records=10, max_bytes=10**6, wait_seconds=5)
    await reader.close()

    # One request, or two where the recorder was quicker than the second call.
    spans = [
        span
        for queued in records
        for span in spans_of(ExportTraceServiceRequest.FromString(queued.record.payload))
    ]
    assert {queued.record.project_name for queued in records} == {"calls"}
    assert [span.span_id.hex() for span in spans] == proxy.span_ids
    assert {span.name for span in spans} == {
        interpret(own_case("bedrock-converse-stream-tools").exchange(), "calls").name
    }
