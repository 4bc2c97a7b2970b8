"""A real receiver process, and clients for it that see every byte."""

from __future__ import annotations

import asyncio
import http.client
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.ports import free_port
from tracequill_collector.otlp import all_spans, decompress, parse_traces
from tracequill_collector.pipeline import Record
from tracequill_collector.queue.reader import QueueReader

START_SECONDS = 30.0
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
SHARED_MAX_BYTES = 2_000_000
"""The limit on requests of the receiver that tests share."""


@dataclass
class Answer:
    """What the HTTP server said."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass
class ReceiverProcess:
    """``python -m tracequill_collector.service.receiver`` on free ports and its own folder."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    grpc_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None
    files_max: int | None = None

    @property
    def queue_dir(self) -> Path:
        """Where the records are."""
        return self.folder / "data" / "collector" / "queue"

    @property
    def grpc_address(self) -> str:
        """Where gRPC clients connect."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def http_url(self) -> str:
        """Where HTTP clients connect."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def running(self) -> subprocess.Popen[str]:
        """The process, which must have been spawned."""
        assert self.process is not None
        return self.process

    def spawn(self) -> None:
        """Start it and do not wait."""
        inherited = {name: value for name, value in os.environ.items() if "TRACEQUILL" not in name}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tracequill_collector.service.receiver"],
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            preexec_fn=None if self.files_max is None else self._limit_files,
            env={
                **inherited,
                "TRACEQUILL_DATA_DIR": str(self.folder / "data"),
                "TRACEQUILL_OTLP_GRPC_PORT": str(self.grpc_port),
                "TRACEQUILL_OTLP_HTTP_PORT": str(self.http_port),
                **self.variables,
            },
        )

    def _limit_files(self) -> None:
        assert self.files_max is not None
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.files_max, self.files_max))

    def start(self) -> float:
        """Start it and wait until it takes work; give the seconds that took."""
        started = time.monotonic()
        self.spawn()
        wait_until(lambda: self.is_ready() or self.running.poll() is not None)
        assert self.running.poll() is None, self.running.communicate()[1]
        return time.monotonic() - started

    def is_ready(self) -> bool:
        """Whether it says that it takes work."""
        try:
            return self.request("GET", "/readyz").status == 200
        except OSError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send it a signal; give its exit code and what it logged."""
        self.running.send_signal(number)
        _, logged = self.running.communicate(timeout=30)
        return self.running.returncode, logged

    def kill(self) -> None:
        """kill -9, when it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.communicate(timeout=30)

    # --- clients ------------------------------------------------------------------------

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Make one HTTP request; ``_`` in the names of headers stands for ``-``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def post(self, body: bytes, content_type: str = PROTOBUF, **headers: str) -> Answer:
        """Send traces by HTTP."""
        return self.request("POST", "/v1/traces", body, content_type=content_type, **headers)

    def export(
        self,
        request: bytes,
        *,
        metadata: tuple[tuple[str, str], ...] = (),
        compression: grpc.Compression = grpc.Compression.NoCompression,
    ) -> bytes:
        """Send traces by gRPC, as raw bytes."""
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(self.grpc_address, options) as channel:
            call = channel.unary_unary(EXPORT, bytes, bytes)
            return bytes(call(request, timeout=30, metadata=metadata, compression=compression))

    # --- what is in the queue -----------------------------------------------------------

    def records(self) -> list[Record]:
        """All that is in the queue; reading is left where it was."""
        return asyncio.run(_read(self.queue_dir))

    def spans(self) -> list[Span]:
        """All spans in the queue."""
        return [
            span
            for record in self.records()
            for _, _, span in all_spans(
                parse_traces(
                    decompress(record.payload, record.content_encoding, 1 << 30),
                    record.content_type,
                )
            )
        ]


async def _read(folder: Path) -> list[Record]:
    reader = await QueueReader.open(folder, consumer="test")
    found: list[Record] = []
    try:
        while some := await reader.read(max_records=1000, max_bytes=1 << 30, wait_seconds=0.05):
            found.extend(item.record for item in some)
    finally:
        await reader.close()
    return found


def names_in(receiver: ReceiverProcess) -> set[str]:
    """The names of all spans in its queue."""
    return {item.name for item in receiver.spans()}


def trailers_of(error: grpc.RpcError) -> dict[str, bytes]:
    """The trailing metadata of a refusal."""
    return dict(cast("Iterable[tuple[str, bytes]]", error.trailing_metadata()))


def wait_until(condition: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    """Return when *condition* is true; fail when it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.02)


def request_of(*spans: Span) -> bytes:
    """A request with *spans*."""
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(spans)
    return request.SerializeToString()


def span(number: int = 1, **more: object) -> Span:
    """A valid span that is recognized by its number."""
    fields = {
        "trace_id": number.to_bytes(16, "big"),
        "span_id": number.to_bytes(8, "big"),
        "name": f"span {number}",
        **more,
    }
    return Span(**fields)  # type: ignore[arg-type]
