"""Both applications of the demo against the real proxy; a collector that only keeps."""

from __future__ import annotations

import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracequill.settings import Settings
from tracequill_phoenix.demo.conversations import PROXY_SESSIONS, SUPPORT_SESSIONS
from tracequill_phoenix.demo.support import run_support
from tracequill_phoenix.demo.uninstrumented import run_uninstrumented

pytestmark = pytest.mark.integration


class Collector:
    """Keeps every span that is sent to it."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        outer = self

        class Receive(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                request = ExportTraceServiceRequest.FromString(body)
                for resource in request.resource_spans:
                    for scope in resource.scope_spans:
                        outer.spans.extend(scope.spans)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Receive)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture
def settings(collector: Collector, tmp_path: Path) -> Iterator[Settings]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    wanted = Settings.model_validate(
        {"proxy_port": port, "data_dir": tmp_path, "collector_url": collector.url}
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "tracequill_collector.service.proxy"],
        env={**os.environ, **wanted.to_environment()},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while not _ready(port):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        yield wanted
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def attribute(span: Span, name: str) -> str:
    return next((item.value.string_value for item in span.attributes if item.key == name), "")


def kinds(spans: list[Span]) -> list[str]:
    return [attribute(span, "openinference.span.kind") for span in spans]


def test_the_instrumented_application_sends_one_span_for_each_call(
    settings: Settings, collector: Collector
) -> None:
    calls = run_support(settings, "t1")

    found = kinds(collector.spans)
    assert found.count("LLM") + found.count("EMBEDDING") == calls.total
    assert calls.refused == 1
    assert found.count("TOOL") == 3
    assert found.count("RETRIEVER") == sum(len(session.turns) for session in SUPPORT_SESSIONS)
    assert {attribute(span, "session.id") for span in collector.spans} - {""} == calls.sessions
    assert {attribute(span, "user.id") for span in collector.spans} - {""} == calls.users
    traces = {span.trace_id.hex() for span in collector.spans}
    wanted = [turn for session in SUPPORT_SESSIONS for turn in session.turns if turn.verdict]
    assert len(calls.labelled) == len(wanted)
    assert {labelled.trace_id for labelled in calls.labelled} <= traces


def test_the_retriever_finds_the_page_that_was_asked_for(
    settings: Settings, collector: Collector
) -> None:
    run_support(settings, "t2")

    found = {
        attribute(span, "input.value"): attribute(span, "retrieval.documents.0.document.id")
        for span in collector.spans
        if attribute(span, "openinference.span.kind") == "RETRIEVER"
    }
    assert found["How long does a refund take?"] == "refunds"
    assert found["What warranty do your garden tools have?"] == "warranty"
    assert found["Which watering can is best for seedlings?"] == "watering cans"


def test_the_other_application_sends_nothing_and_the_proxy_names_its_spans(
    settings: Settings, collector: Collector
) -> None:
    calls = run_uninstrumented(settings, "t3")

    # One turn needs a second call, after the function has run.
    assert calls.total == sum(len(session.turns) for session in PROXY_SESSIONS) + 1
    assert calls.refused == 1
    assert collector.spans == []
    assert all(len(labelled.span_id) == 16 for labelled in calls.labelled)
