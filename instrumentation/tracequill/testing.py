"""Spans in memory, for tests: of this library, and of applications that use it.

    with tracequill.testing.recording() as spans:
        answer("How are you?")
    assert spans[0].attributes["llm.model_name"] == "gpt-4o"

Ids count up from 1 and the clock moves one millisecond a look, so two runs give equal spans.
Nothing leaves the process. Where the way over the wire matters, ``CollectorServer`` is an
OTLP/HTTP endpoint on loopback that keeps what it is sent.
"""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import opentelemetry.sdk.trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.id_generator import IdGenerator

from tracequill import _register
from tracequill._config import resolve_proxy
from tracequill._processor import InlineProcessor
from tracequill._provider import TracequillProvider, project_resource
from tracequill._sender import RefusedError, UnavailableError

# 2026-01-01T00:00:00Z
FIXED_START_NS = 1_767_225_600_000_000_000


class SequentialIds(IdGenerator):
    """Ids that count up from 1."""

    def __init__(self) -> None:
        self._last_span_id = 0
        self._last_trace_id = 0

    def generate_span_id(self) -> int:
        """Give the next span id."""
        self._last_span_id += 1
        return self._last_span_id

    def generate_trace_id(self) -> int:
        """Give the next trace id."""
        self._last_trace_id += 1
        return self._last_trace_id


class FixedClock:
    """A clock that starts at *start_ns* and moves *step_ns* each time somebody looks."""

    def __init__(self, start_ns: int = FIXED_START_NS, step_ns: int = 1_000_000) -> None:
        self._next_ns = start_ns
        self._step_ns = step_ns

    def __call__(self) -> int:
        """Look at the clock: nanoseconds since 1970."""
        now_ns = self._next_ns
        self._next_ns += self._step_ns
        return now_ns


class MemorySender:
    """A destination that keeps what it is sent; first it raises each of *failures* once."""

    def __init__(self, failures: Sequence[RefusedError | UnavailableError] = ()) -> None:
        self.spans: list[ReadableSpan] = []
        self.attempts = 0
        self.closed = False
        self._failures = list(failures)

    def send(self, spans: Sequence[ReadableSpan], timeout_seconds: float) -> None:
        """Keep *spans*, or raise the next failure."""
        self.attempts += 1
        if self._failures:
            raise self._failures.pop(0)
        self.spans.extend(spans)

    def reopen(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


class _ClosingServer(ThreadingHTTPServer):
    """A server that closes kept connections too when it ends, as a process that ends does."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._connections: list[socket.socket] = []
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection and remember it."""
        connection, address = super().get_request()
        self._connections.append(connection)
        return connection, address

    def close_connections(self) -> None:
        """Close what clients keep open."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class CollectorServer:
    """An OTLP/HTTP endpoint on loopback; answers with each of *statuses* once, then with 200."""

    def __init__(self, statuses: Sequence[int] = (), port: int = 0) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        """The requests that were answered with 200."""
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        """The headers of all requests, names in lower case."""
        self._statuses = list(statuses)
        self._changed = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(collector._take(self.path, headers, body))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                """Write nothing."""

        self._server = _ClosingServer(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join()

    @property
    def spans(self) -> list[OtlpSpan]:
        """All spans that were accepted, in the order in which they came."""
        with self._changed:
            return [
                span
                for request in self.requests
                for resource_spans in request.resource_spans
                for scope_spans in resource_spans.scope_spans
                for span in scope_spans.spans
            ]

    def wait_for(self, count: int, timeout_seconds: float = 20.0) -> list[OtlpSpan]:
        """Wait until at least *count* spans are here and give all; TimeoutError after that."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.spans) >= count, timeout_seconds):
                raise TimeoutError(f"{len(self.spans)} spans came, not {count}")
            return self.spans

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        with self._changed:
            self.paths.append(path)
            self.headers.append(headers)
            status = self._statuses.pop(0) if self._statuses else 200
            if status == 200:
                if headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                self.requests.append(ExportTraceServiceRequest.FromString(body))
            self._changed.notify_all()
            return status


@contextmanager
def recording(
    project_name: str = "test",
    *,
    auto_instrument: bool = True,
    proxy_url: str | None = None,
    clock: Callable[[], int] | None = None,
) -> Iterator[list[ReadableSpan]]:
    """Register as ``register()`` does, with finished spans kept in the list that is given.

    What was registered before is left as it was, and holds again afterwards, except that boto3
    clients made before or inside must be made anew.
    """
    address = resolve_proxy(proxy_url)
    sender = MemorySender()
    outer = _register.registration
    outer_names, outer_address = outer.instruments.names, outer.proxy_headers.address
    outer.instruments.switch_off()
    outer.proxy_headers.switch_off()
    inner = _register.Registration(provider=TracequillProvider(SequentialIds()))
    sdk_clock = opentelemetry.sdk.trace.time_ns  # type: ignore[attr-defined]
    _register.registration = inner
    opentelemetry.sdk.trace.time_ns = clock or FixedClock()  # type: ignore[attr-defined]
    try:
        inner.follow(project_resource(project_name), InlineProcessor(sender, "memory"))
        inner.trace_calls(auto_instrument, address)
        yield sender.spans
    finally:
        inner.stop(timeout_seconds=0.0)
        opentelemetry.sdk.trace.time_ns = sdk_clock  # type: ignore[attr-defined]
        _register.registration = outer
        if outer_address is not None:
            outer.trace_calls(bool(outer_names), outer_address)


def current_provider() -> TracequillProvider:
    """Give the provider that holds now; inside ``recording()`` it is that of the recording."""
    return _register.registration.provider
