"""The span that the application's own instrumentor writes: a case enters, span and exchange leave.

The real clients (openai, boto3) and the real OpenInference instrumentors; only the upstream is
ours: it answers every call with what the case says, and keeps what it was sent.
"""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import httpx2
import openai
from botocore.config import Config
from openinference.instrumentation.bedrock import BedrockInstrumentor
from openinference.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.exchange_cases import Case
from tracequill_collector.exchange import Exchange

_BEDROCK_OPERATIONS = {
    "converse": "converse",
    "converse-stream": "converse_stream",
    "invoke": "invoke_model",
    "invoke-with-response-stream": "invoke_model_with_response_stream",
}


@dataclass
class Upstream:
    """Answers with ``case`` and keeps the request it got."""

    case: Case | None = None
    method: str = ""
    path: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def answer(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> Case:
        """Take a request and give the case to answer with."""
        self.method, self.path, self.headers, self.body = method, path, headers, body
        assert self.case is not None
        return self.case


class Applications:
    """An application for each vendor, traced by its instrumentor."""

    def __init__(self, upstream: Upstream, bedrock_url: str, exporter: InMemorySpanExporter):
        self._upstream = upstream
        self._exporter = exporter
        self._openai = openai.OpenAI(
            api_key="none",
            base_url="https://api.openai.com/v1",
            max_retries=0,
            http_client=httpx2.Client(transport=httpx2.MockTransport(self._answer)),
        )
        self._bedrock = boto3.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=bedrock_url,
            aws_access_key_id="none",
            aws_secret_access_key="none",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def run(self, case: Case) -> tuple[ReadableSpan, Exchange]:
        """Make the call of *case*; give the instrumentor's span and the exchange that crossed."""
        self._upstream.case = case
        self._exporter.clear()
        # What the upstream answers may be an error, which is in the span as well.
        with contextlib.suppress(Exception):
            if case.vendor == "bedrock":
                self._call_bedrock(case)
            else:
                self._call_openai(case)
        (span,) = self._exporter.get_finished_spans()
        upstream = self._upstream
        exchange = replace(
            case.exchange(),
            method=upstream.method,
            path=upstream.path,
            request_headers=tuple(upstream.headers),
            request_body=upstream.body,
            request_body_bytes=len(upstream.body),
        )
        return span, exchange

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.raw_path.decode()
        case = self._upstream.answer(
            request.method, path, list(request.headers.multi_items()), request.read()
        )
        return httpx2.Response(
            case.status, headers=list(case.response_headers), content=case.response_body
        )

    def _call_openai(self, case: Case) -> None:
        client = self._openai
        path = case.path.partition("?")[0]
        if case.method == "GET":
            list(client.models.list())
            return
        methods: dict[str, Any] = {
            "/v1/chat/completions": client.chat.completions.create,
            "/v1/responses": client.responses.create,
            "/v1/embeddings": client.embeddings.create,
            "/v1/completions": client.completions.create,
        }
        known, extra = case.request_json, None
        if case.extra_body:
            extra = {name: known.pop(name) for name in case.extra_body}
        answer = methods[path](**known, extra_body=extra)
        if case.request_json.get("stream"):
            for _ in answer:
                pass

    def _call_bedrock(self, case: Case) -> None:
        _, _, model, operation = case.path.split("/")
        method = getattr(self._bedrock, _BEDROCK_OPERATIONS[operation])
        model_id = httpx2.URL(f"http://host/{model}").path.removeprefix("/")
        if operation.startswith("invoke"):
            answer = method(modelId=model_id, body=case.request_body)
        else:
            answer = method(modelId=model_id, **_with_bytes(case.request_json))
        if "stream" in operation:
            for _ in answer["body" if operation.startswith("invoke") else "stream"]:
                pass


def _with_bytes(value: Any) -> Any:
    """Give a Converse request as boto3 wants it: binary parts as bytes."""
    if isinstance(value, list):
        return [_with_bytes(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64decode(item)
        if key in ("bytes", "redactedContent") and isinstance(item, str)
        else _with_bytes(item)
        for key, item in value.items()
    }


@contextlib.contextmanager
def applications() -> Iterator[Applications]:
    """Give traced applications and the upstream behind them."""
    upstream = Upstream()
    exporter = InMemorySpanExporter()
    provider = TracerProvider(
        span_limits=SpanLimits(max_span_attributes=10_000, max_attributes=10_000)
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentors = (OpenAIInstrumentor(), BedrockInstrumentor())
    for instrumentor in instrumentors:
        instrumentor.instrument(tracer_provider=provider)
    try:
        with _bedrock_server(upstream) as url:
            yield Applications(upstream, url, exporter)
    finally:
        for instrumentor in instrumentors:
            instrumentor.uninstrument()
        provider.shutdown()


@contextlib.contextmanager
def _bedrock_server(upstream: Upstream) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            case = upstream.answer("POST", self.path, self.headers.items(), body)
            self.send_response(case.status)
            for name, value in case.response_headers:
                self.send_header(name, value)
            self.send_header("content-length", str(len(case.response_body)))
            self.end_headers()
            self.wfile.write(case.response_body)

        def log_message(self, format: str, *args: Any) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
