"""kill -9 of everything while spans arrive: each acknowledged span is there once, none invented."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import asyncpg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.acceptance.stack import Stack

pytestmark = pytest.mark.acceptance

SPANS_PER_REQUEST = 20


def request_with(span_ids: list[bytes], number: int) -> bytes:
    """One OTLP request, one trace."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    attribute = resource.resource.attributes.add()
    attribute.key = "openinference.project.name"
    attribute.value.string_value = "killed"
    spans = resource.scope_spans.add().spans
    trace_id = secrets.token_bytes(16)
    for span_id in span_ids:
        span = spans.add()
        span.trace_id = trace_id
        span.span_id = span_id
        span.name = f"request {number}"
        span.start_time_unix_nano = time.time_ns()
        span.end_time_unix_nano = span.start_time_unix_nano + 1_000_000
    return request.SerializeToString()


class Sender:
    """Sends without pause until told to stop; remembers what was sent and what was acknowledged."""

    def __init__(self, url: str) -> None:
        self.url = f"{url}/v1/traces"
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for number in itertools.count():
            if self.stop.is_set():
                return
            span_ids = [secrets.token_bytes(8) for _ in range(SPANS_PER_REQUEST)]
            names = {span_id.hex() for span_id in span_ids}
            self.sent |= names
            request = urllib.request.Request(
                self.url,
                data=request_with(span_ids, number),
                headers={"Content-Type": "application/x-protobuf"},
            )
            try:
                with urllib.request.urlopen(request, timeout=5) as answer:
                    if answer.status == 200:
                        self.acknowledged |= names
            except OSError:
                time.sleep(0.01)


async def stored_span_ids(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT span_id FROM spans")
        return [row["span_id"] for row in rows]
    finally:
        await connection.close()


def test_after_kill_9_of_everything_each_acknowledged_span_is_stored_once(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    try:
        stack.start()
        sender = Sender(stack.collector)
        sender.thread.start()
        deadline = time.monotonic() + 120
        while len(sender.acknowledged) < 2000 and time.monotonic() < deadline:
            time.sleep(0.02)
        stack.kill_everything()
        sender.stop.set()
        sender.thread.join()
        assert len(sender.acknowledged) >= 2000

        stack.start()
        url = (tmp_path / "postgres.url").read_text()
        deadline = time.monotonic() + 120
        while True:
            stored = asyncio.run(stored_span_ids(url))
            if sender.acknowledged <= set(stored) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        assert stack.stop() == 0
    finally:
        stack.end()

    assert sender.acknowledged - set(stored) == set()
    assert len(stored) == len(set(stored))
    assert set(stored) <= sender.sent
