"""Spans on their way over real sockets: endpoints that are away, slow, strict, and forks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import tracequill
from tracequill._config import Destination, resolve_destination
from tracequill._processor import SEND_TIMEOUT_SECONDS, BackgroundProcessor, BatchLimits
from tracequill._provider import TracequillProvider, project_resource
from tracequill._sender import HttpSender, open_sender
from tracequill.testing import CollectorServer

pytestmark = pytest.mark.integration

SOON = BatchLimits(delay_seconds=0.01)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("TRACEQUILL_", "PHOENIX_", "OTEL_")):
            monkeypatch.delenv(name)


@pytest.fixture
def black_hole() -> Iterator[str]:
    """The URL of an endpoint that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def make_spans(provider: TracequillProvider, *names: str) -> None:
    for name in names:
        provider.get_tracer("test").start_span(name).end()


def follow(destination: Destination) -> tuple[TracequillProvider, BackgroundProcessor]:
    provider = TracequillProvider()
    processor = BackgroundProcessor(open_sender(destination), destination.shown_url, SOON)
    provider.follow(project_resource("p"), processor)
    return provider, processor


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of its own, as an application is."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_black_holed_endpoint_holds_no_call_up(black_hole: str) -> None:
    provider, processor = follow(resolve_destination(endpoint=black_hole))

    began = time.monotonic()
    make_spans(provider, *["span"] * 500)
    took_seconds = time.monotonic() - began

    # One wait for the endpoint alone would take longer than all 500 together.
    assert took_seconds < SEND_TIMEOUT_SECONDS / 2
    assert (processor.delivered, processor.lost) == (0, 0)
    assert not processor.force_flush(timeout_millis=1)
    processor.close(timeout_seconds=0.1)


def test_spans_wait_for_an_endpoint_that_is_away_and_arrive_in_order(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with CollectorServer() as server:
        port = server.port
    provider, processor = follow(resolve_destination(endpoint=f"http://127.0.0.1:{port}"))

    make_spans(provider, "a", "b")
    assert not processor.force_flush(timeout_millis=300)
    with CollectorServer(port=port) as server:
        make_spans(provider, "c")
        assert [span.name for span in server.wait_for(3)] == ["a", "b", "c"]
    processor.close(timeout_seconds=5)

    assert (processor.delivered, processor.lost) == (3, 0)
    assert f"cannot deliver to http://127.0.0.1:{port}/v1/traces: connection refused" in caplog.text


def test_a_kept_connection_that_the_server_closed_costs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with CollectorServer() as server:
        provider, processor = follow(resolve_destination(endpoint=server.url))
        make_spans(provider, "a")
        server.wait_for(1)
    with CollectorServer(port=server.port) as server:
        make_spans(provider, "b")
        server.wait_for(1)
        processor.close(timeout_seconds=5)

    assert not caplog.records


def test_what_a_server_asks_to_repeat_is_repeated_and_what_is_too_large_is_split() -> None:
    with CollectorServer(statuses=[503, 413, 200]) as server:
        provider, processor = follow(resolve_destination(endpoint=server.url))
        make_spans(provider, "a", "b", "c")
        assert [span.name for span in server.wait_for(3)] == ["a", "b", "c"]
        processor.close(timeout_seconds=5)

    assert len(server.requests) == 2
    assert (processor.delivered, processor.lost) == (3, 0)


def test_the_key_and_headers_are_sent_and_netrc_does_not_replace_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login wrong password wrong\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    # A proxy for the outside must not see what stays on this machine.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    with CollectorServer() as server:
        destination = resolve_destination(
            endpoint=server.url, api_key="secret", headers={"X-Team": "a"}
        )
        provider, processor = follow(destination)
        make_spans(provider, "a")
        server.wait_for(1)
        processor.close(timeout_seconds=5)

    (headers,) = server.headers
    assert headers["authorization"] == "Bearer secret"
    assert headers["x-team"] == "a"
    assert headers["content-type"] == "application/x-protobuf"
    assert headers["content-encoding"] == "gzip"


def test_netrc_is_not_asked_for_other_machines_either() -> None:
    sender = HttpSender(resolve_destination(endpoint="http://elsewhere.invalid", api_key="k"))
    prepared = sender._connected().prepare_request(_post_request())

    assert prepared.headers["authorization"] == "Bearer k"


def _post_request() -> Any:
    import requests

    return requests.Request("POST", "http://elsewhere.invalid/v1/traces", data=b"")


def test_grpc_delivers_with_the_key_and_tells_permanent_from_retryable() -> None:
    import grpc
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
        ExportTraceServiceResponse,
    )

    taken: list[tuple[str, dict[str, Any]]] = []
    codes = [grpc.StatusCode.UNAVAILABLE, None, grpc.StatusCode.INVALID_ARGUMENT, None]

    def export(
        request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        if code := codes.pop(0):
            context.abort(code, "no")
        name = request.resource_spans[0].scope_spans[0].spans[0].name
        taken.append((name, dict(context.invocation_metadata())))
        return ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    handler = grpc.unary_unary_rpc_method_handler(
        export,
        request_deserializer=ExportTraceServiceRequest.FromString,
        response_serializer=ExportTraceServiceResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "opentelemetry.proto.collector.trace.v1.TraceService", {"Export": handler}
            ),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        provider, processor = follow(
            resolve_destination(
                endpoint=f"http://127.0.0.1:{port}", protocol="grpc", api_key="secret"
            )
        )
        for name in ("a", "refused", "b"):
            make_spans(provider, name)
            assert processor.force_flush(timeout_millis=20_000)
        processor.close(timeout_seconds=5)
    finally:
        server.stop(None).wait()

    assert [name for name, _ in taken] == ["a", "b"]
    assert taken[0][1]["authorization"] == "Bearer secret"
    assert (processor.delivered, processor.lost) == (2, 1)


END_OF_PROCESS = """
import sys, tracequill
provider = tracequill.register(endpoint=sys.argv[1], auto_instrument=False)
provider.get_tracer("app").start_span("last words").end()
"""


def test_the_end_of_the_process_delivers_what_waits() -> None:
    with CollectorServer() as server:
        done = run(END_OF_PROCESS, server.url)

        assert done.returncode == 0, done.stderr
        assert [span.name for span in server.spans] == ["last words"]
    assert done.stderr.count("\n") == 1


def test_the_end_of_the_process_is_not_held_up_by_an_endpoint_that_is_away() -> None:
    with CollectorServer() as server:
        url = server.url
    began = time.monotonic()

    done = run(END_OF_PROCESS, url)

    assert done.returncode == 0
    assert "Tracequill lost 1 spans" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 30


def test_the_end_of_the_process_waits_a_bounded_time_for_a_black_hole(black_hole: str) -> None:
    began = time.monotonic()

    done = run(END_OF_PROCESS, black_hole)

    assert done.returncode == 0
    assert "Tracequill lost 1 spans" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 30


GLOBAL_PROVIDER = """
import sys, tracequill
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

theirs = TracerProvider()
kept = InMemorySpanExporter()
theirs.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(theirs)
ours = tracequill.register(
    endpoint=sys.argv[1], auto_instrument=False, set_global_tracer_provider="asked" in sys.argv
)
assert trace.get_tracer_provider() is theirs
with trace.get_tracer("app").start_as_current_span("theirs"):
    ours.get_tracer("llm").start_span("ours").end()
tracequill.unregister()
print(*[span.name for span in kept.get_finished_spans()])
"""


@pytest.mark.parametrize("asked", ["asked", "not-asked"])
def test_a_global_provider_of_the_application_and_ours_never_mix(asked: str) -> None:
    with CollectorServer() as server:
        done = run(GLOBAL_PROVIDER, server.url, asked)

        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["theirs"]
        assert [span.name for span in server.spans] == ["ours"]
    assert ("has a global TracerProvider" in done.stderr) is (asked == "asked")


ASKED_FOR = """
import sys, tracequill
from opentelemetry import trace

tracer = trace.get_tracer("app")
for project in ("one", "two"):
    provider = tracequill.register(
        project, sys.argv[1], auto_instrument=False, set_global_tracer_provider=True
    )
    assert trace.get_tracer_provider() is provider
    tracer.start_span(project).end()
"""


def test_asked_for_ours_is_the_global_one_and_stays_it_after_a_change() -> None:
    with CollectorServer() as server:
        done = run(ASKED_FOR, server.url)

        assert done.returncode == 0, done.stderr
        projects = {
            item.value.string_value: resource_spans.scope_spans[0].spans[0].name
            for request in server.requests
            for resource_spans in request.resource_spans
            for item in resource_spans.resource.attributes
            if item.key == "openinference.project.name"
        }
    assert projects == {"one": "one", "two": "two"}


FORK = """
import os, sys, tracequill
tracer = tracequill.register(endpoint=sys.argv[1], auto_instrument=False).get_tracer("app")
tracer.start_span("before").end()
child = os.fork()
tracer.start_span("child" if child == 0 else "parent").end()
if child == 0:
    delivered = tracequill.flush()
    os._exit(0 if delivered else 1)
assert os.waitpid(child, 0)[1] == 0
"""

MULTIPROCESSING = """
import multiprocessing, sys, tracequill

def work(name):
    tracequill._register.registration.provider.get_tracer("app").start_span(name).end()

tracequill.register(endpoint=sys.argv[1], auto_instrument=False)
work("before")
children = [
    multiprocessing.get_context("fork").Process(target=work, args=(name,))
    for name in ("child", "parent")
]
for child in children:
    child.start()
for child in children:
    child.join()
"""


@pytest.mark.parametrize("script", [FORK, MULTIPROCESSING], ids=["os.fork", "multiprocessing"])
def test_parent_and_children_deliver_their_own_spans_once(script: str) -> None:
    with CollectorServer() as server:
        done = run(script, server.url)

        assert done.returncode == 0, done.stderr
        assert sorted(span.name for span in server.spans) == ["before", "child", "parent"]


def test_without_a_background_thread_a_span_is_there_when_its_call_returns() -> None:
    with CollectorServer() as server:
        provider = tracequill.register(endpoint=server.url, auto_instrument=False, batch=False)
        provider.get_tracer("app").start_span("a").end()
        names = [span.name for span in server.spans]
        tracequill.unregister()

    assert names == ["a"]
