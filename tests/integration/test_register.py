"""Real openai and boto3 clients, a vendor and a collector on loopback, one LLM span a call."""

from __future__ import annotations

import base64
import json
import os
import re
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import boto3
import openai
import pytest
from openinference.instrumentation import suppress_tracing
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import tracequill
from tracequill.testing import CollectorServer, current_provider

pytestmark = pytest.mark.integration

CLAUDE = "anthropic.claude-3-5-sonnet-20240620-v1:0"
QUESTION: Any = [{"role": "user", "content": "Where is my parcel?"}]


def chat(body: dict[str, Any]) -> tuple[str, bytes]:
    answer = {"id": "c", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        message = {"role": "assistant", "content": "On its way."}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}
        answer |= {"object": "chat.completion", "choices": [choice], "usage": usage}
        return "application/json", json.dumps(answer).encode()
    lines = [
        json.dumps(
            answer
            | {
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}],
            }
        )
        for word in ("On ", "its ", "way.")
    ]
    return "text/event-stream", "".join(f"data: {x}\n\n" for x in [*lines, "[DONE]"]).encode()


def embeddings(body: dict[str, Any]) -> tuple[str, bytes]:
    data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    answer = {"object": "list", "data": data, "model": body["model"], "usage": usage}
    return "application/json", json.dumps(answer).encode()


def frame(kind: str, payload: dict[str, Any]) -> bytes:
    """One message of AWS's eventstream encoding."""
    headers = b"".join(
        struct.pack(f">B{len(name)}sBH", len(name), name.encode(), 7, len(value)) + value.encode()
        for name, value in (
            (":event-type", kind),
            (":content-type", "application/json"),
            (":message-type", "event"),
        )
    )
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
    return message + struct.pack(">I", zlib.crc32(message))


def converse(body: dict[str, Any]) -> tuple[str, bytes]:
    answer = {
        "output": {"message": {"role": "assistant", "content": [{"text": "On its way."}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 4, "outputTokens": 3, "totalTokens": 7},
        "metrics": {"latencyMs": 1},
    }
    return "application/json", json.dumps(answer).encode()


def converse_stream(body: dict[str, Any]) -> tuple[str, bytes]:
    usage = {"inputTokens": 4, "outputTokens": 3, "totalTokens": 7}
    frames = [
        frame("messageStart", {"role": "assistant"}),
        frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "On its way."}}),
        frame("contentBlockStop", {"contentBlockIndex": 0}),
        frame("messageStop", {"stopReason": "end_turn"}),
        frame("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
    ]
    return "application/vnd.amazon.eventstream", b"".join(frames)


MESSAGE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "On its way."}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 4, "output_tokens": 3},
}


def invoke(body: dict[str, Any]) -> tuple[str, bytes]:
    return "application/json", json.dumps(MESSAGE).encode()


def invoke_stream(body: dict[str, Any]) -> tuple[str, bytes]:
    delta = {"type": "text_delta", "text": "On its way."}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": MESSAGE | {"content": []}},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 3},
        },
        {"type": "message_stop"},
    ]
    frames = [
        frame("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode()})
        for event in events
    ]
    return "application/vnd.amazon.eventstream", b"".join(frames)


ANSWERS: dict[str, Callable[[dict[str, Any]], tuple[str, bytes]]] = {
    "chat/completions": chat,
    "embeddings": embeddings,
    "converse": converse,
    "converse-stream": converse_stream,
    "invoke": invoke,
    "invoke-with-response-stream": invoke_stream,
}


class VendorServer:
    """Answers as OpenAI and Bedrock do, and keeps the headers of each request."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                vendor.headers.append({n.lower(): v for n, v in self.headers.items()})
                answer = next(a for end, a in ANSWERS.items() if self.path.endswith(f"/{end}"))
                content_type, content = answer(body)
                self.send_response(500 if body.get("model") == "broken" else 200)
                self.send_header("content-type", content_type)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: object) -> None:
                """Write nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
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
        self._server.server_close()
        self._thread.join()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("TRACEQUILL_", "PHOENIX_", "OTEL_", "OPENINFERENCE_", "AWS_")):
            monkeypatch.delenv(name)


@pytest.fixture
def collector() -> Iterator[CollectorServer]:
    with CollectorServer() as server:
        yield server


@pytest.fixture
def vendor() -> Iterator[VendorServer]:
    with VendorServer() as server:
        yield server


@pytest.fixture
def traced(collector: CollectorServer) -> Iterator[CollectorServer]:
    tracequill.register("shop", collector.url)
    yield collector
    tracequill.unregister()


def openai_client(url: str) -> openai.OpenAI:
    return openai.OpenAI(api_key="k", base_url=f"{url}/openai/v1", max_retries=0)


def bedrock_client(url: str) -> Any:
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=f"{url}/bedrock/us-east-1",
        aws_access_key_id="k",
        aws_secret_access_key="s",
    )


def openai_chat(url: str) -> None:
    with openai_client(url) as client:
        client.chat.completions.create(model="m", messages=QUESTION)


def openai_stream(url: str) -> None:
    with openai_client(url) as client:
        stream = client.chat.completions.create(model="m", messages=QUESTION, stream=True)
        assert "".join(c.choices[0].delta.content or "" for c in stream) == "On its way."


def openai_embeddings(url: str) -> None:
    with openai_client(url) as client:
        client.embeddings.create(model="m", input="parcel")


def bedrock_converse(url: str) -> None:
    messages = [{"role": "user", "content": [{"text": "Where is my parcel?"}]}]
    bedrock_client(url).converse(modelId=CLAUDE, messages=messages)


def bedrock_converse_stream(url: str) -> None:
    messages = [{"role": "user", "content": [{"text": "Where is my parcel?"}]}]
    answer = bedrock_client(url).converse_stream(modelId=CLAUDE, messages=messages)
    assert len(list(answer["stream"])) == 5


CLAUDE_BODY = json.dumps(
    {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": QUESTION}
)


def bedrock_invoke(url: str) -> None:
    answer = bedrock_client(url).invoke_model(modelId=CLAUDE, body=CLAUDE_BODY)
    assert json.loads(answer["body"].read())["id"] == "m"


def bedrock_invoke_stream(url: str) -> None:
    answer = bedrock_client(url).invoke_model_with_response_stream(modelId=CLAUDE, body=CLAUDE_BODY)
    assert len(list(answer["body"])) == 6


CALLS = {
    "openai chat": openai_chat,
    "openai stream": openai_stream,
    "openai embeddings": openai_embeddings,
    "bedrock converse": bedrock_converse,
    "bedrock converse stream": bedrock_converse_stream,
    "bedrock invoke": bedrock_invoke,
    "bedrock invoke stream": bedrock_invoke_stream,
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


def attributes(span: Span) -> dict[str, Any]:
    return {
        item.key: list(v.string_value for v in item.value.array_value.values)
        if item.value.HasField("array_value")
        else getattr(item.value, str(item.value.WhichOneof("value")))
        for item in span.attributes
    }


@every_call
def test_a_call_is_one_llm_span_with_its_session_user_metadata_and_tags(
    traced: CollectorServer, vendor: VendorServer, call: Callable[[str], None]
) -> None:
    with (
        tracequill.session("conv-42"),
        tracequill.user("u-7"),
        tracequill.metadata({"plan": "pro"}),
        tracequill.tags(["a", "b"]),
    ):
        call(vendor.url)

    assert tracequill.flush()
    (span,) = traced.spans
    found = attributes(span)
    assert found["openinference.span.kind"] in ("LLM", "EMBEDDING")
    assert found["session.id"] == "conv-42"
    assert found["user.id"] == "u-7"
    assert json.loads(found["metadata"]) == {"plan": "pro"}
    assert found["tag.tags"] == ["a", "b"]
    resource = traced.requests[0].resource_spans[0].resource
    project = {item.key: item.value.string_value for item in resource.attributes}
    assert project["openinference.project.name"] == "shop"
    assert traced.paths == ["/v1/traces"]


@every_call
def test_a_call_to_the_proxy_names_its_span_and_its_signature_stays_whole(
    collector: CollectorServer, vendor: VendorServer, call: Callable[[str], None]
) -> None:
    tracequill.register("shop", collector.url, proxy_url=vendor.url)

    call(vendor.url)

    tracequill.unregister()
    (span,) = collector.spans
    (headers,) = vendor.headers
    assert headers["x-tracequill-traced"] == "1"
    assert headers["x-tracequill-project"] == "shop"
    assert headers["traceparent"] == f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"
    if headers["authorization"].startswith("AWS4"):
        signed = re.search("SignedHeaders=([^,]+)", headers["authorization"])
        assert signed is not None
        assert "trace" not in signed.group(1)
        assert "x-amz-date" in signed.group(1)


@every_call
def test_a_call_to_any_other_address_gets_no_header(
    traced: CollectorServer, vendor: VendorServer, call: Callable[[str], None]
) -> None:
    call(vendor.url)

    (headers,) = vendor.headers
    assert not [name for name in headers if name.startswith(("traceparent", "x-tracequill-"))]


def test_a_call_that_is_not_traced_here_is_the_proxys_to_trace(
    collector: CollectorServer, vendor: VendorServer
) -> None:
    tracequill.register("shop", collector.url, proxy_url=vendor.url)
    with suppress_tracing():
        openai_chat(vendor.url)
    tracequill.register("shop", collector.url, proxy_url=vendor.url, auto_instrument=False)
    openai_chat(vendor.url)
    with current_provider().get_tracer("app").start_as_current_span("a chain"):
        bedrock_converse(vendor.url)
    tracequill.unregister()
    openai_chat(vendor.url)

    assert len(vendor.headers) == 4
    assert not [headers for headers in vendor.headers if "x-tracequill-traced" in headers]
    assert [span.name for span in collector.spans] == ["a chain"]


async def test_async_calls_and_streams_have_one_span_each_and_their_own_session(
    collector: CollectorServer, vendor: VendorServer
) -> None:
    tracequill.register("shop", collector.url, proxy_url=vendor.url)
    async with openai.AsyncOpenAI(
        api_key="k", base_url=f"{vendor.url}/v1", max_retries=0
    ) as client:
        async with tracequill.session("plain"):
            await client.chat.completions.create(model="m", messages=QUESTION)
        async with tracequill.session("streamed"):
            stream = await client.chat.completions.create(model="m", messages=QUESTION, stream=True)
            assert len([chunk async for chunk in stream]) == 3

    tracequill.unregister()
    sessions = [attributes(span)["session.id"] for span in collector.spans]
    assert sessions == ["plain", "streamed"]
    assert [headers["traceparent"] for headers in vendor.headers] == [
        f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01" for span in collector.spans
    ]


def test_an_error_of_the_vendor_is_recorded_and_raised_as_without_us(
    traced: CollectorServer, vendor: VendorServer
) -> None:
    with openai_client(vendor.url) as client, pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model="broken", messages=QUESTION)

    assert tracequill.flush()
    (span,) = traced.spans
    assert span.status.message == f"InternalServerError: {raised.value}"
    assert [event.name for event in span.events] == ["exception"]


def test_registered_again_a_client_made_before_is_traced_once_and_into_the_new_project(
    traced: CollectorServer, vendor: VendorServer
) -> None:
    client = bedrock_client(vendor.url)
    tracequill.register("other", traced.url)

    messages = [{"role": "user", "content": [{"text": "Where is my parcel?"}]}]
    client.converse(modelId=CLAUDE, messages=messages)

    assert tracequill.flush()
    (request,) = traced.requests
    resource = request.resource_spans[0].resource
    assert "other" in {item.value.string_value for item in resource.attributes}
    assert len(traced.spans) == 1
