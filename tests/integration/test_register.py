"""Vendors' own clients, a vendor and a collector on loopback, one LLM span a call."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import anthropic
import boto3
import google.genai
import openai
import pytest
from aiohttp import test_utils, web
from openinference.instrumentation import suppress_tracing
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import tracequill
from tests.integration.vendor_server import VendorServer
from tracequill.testing import CollectorServer, current_provider

pytestmark = [
    pytest.mark.integration,
    # Google's client makes a subclass of aiohttp's session.
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession"),
]

CLAUDE = "anthropic.claude-3-5-sonnet-20240620-v1:0"
QUESTION: Any = [{"role": "user", "content": "Where is my parcel?"}]


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


def anthropic_client(url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="k", base_url=f"{url}/anthropic", max_retries=0)


def anthropic_message(url: str) -> None:
    with anthropic_client(url) as client:
        client.messages.create(model="claude", max_tokens=9, messages=QUESTION)


def anthropic_stream(url: str) -> None:
    with anthropic_client(url) as client:
        stream = client.messages.create(
            model="claude", max_tokens=9, messages=QUESTION, stream=True
        )
        assert len(list(stream)) == 6


def anthropic_stream_manager(url: str) -> None:
    # The request is sent when the block is entered, after stream() has returned.
    with (
        anthropic_client(url) as client,
        client.messages.stream(model="claude", max_tokens=9, messages=QUESTION) as stream,
    ):
        assert "".join(stream.text_stream) == "On its way."


def anthropic_async_stream_manager(url: str) -> None:
    async def call() -> None:
        async with (
            anthropic.AsyncAnthropic(
                api_key="k", base_url=f"{url}/anthropic", max_retries=0
            ) as client,
            client.messages.stream(model="claude", max_tokens=9, messages=QUESTION) as stream,
        ):
            assert "".join([text async for text in stream.text_stream]) == "On its way."

    asyncio.run(call())


def anthropic_bedrock_client(url: str) -> anthropic.AnthropicBedrock:
    return anthropic.AnthropicBedrock(
        aws_access_key="k",
        aws_secret_key="s",
        aws_region="us-east-1",
        base_url=f"{url}/bedrock/us-east-1",
        max_retries=0,
    )


def anthropic_on_bedrock(url: str) -> None:
    with anthropic_bedrock_client(url) as client:
        client.messages.create(model=CLAUDE, max_tokens=9, messages=QUESTION)


def anthropic_stream_on_bedrock(url: str) -> None:
    with (
        anthropic_bedrock_client(url) as client,
        client.messages.stream(model=CLAUDE, max_tokens=9, messages=QUESTION) as stream,
    ):
        assert "".join(stream.text_stream) == "On its way."


def gemini_client(url: str) -> google.genai.Client:
    options: Any = {"base_url": f"{url}/gemini"}
    return google.genai.Client(api_key="k", http_options=options)


def gemini_content(url: str) -> None:
    with gemini_client(url) as client:
        answer = client.models.generate_content(model="gemini-2.5-flash", contents="Where?")
    assert answer.text == "On its way."


def gemini_stream(url: str) -> None:
    # The request is sent when the first part is asked for.
    with gemini_client(url) as client:
        parts = client.models.generate_content_stream(model="gemini-2.5-flash", contents="Where?")
        assert "".join(part.text or "" for part in parts) == "On its way."


def gemini_async_content(url: str) -> None:
    async def call() -> None:
        async with gemini_client(url).aio as client:
            await client.models.generate_content(model="gemini-2.5-flash", contents="Where?")

    asyncio.run(call())


def gemini_async_stream(url: str) -> None:
    async def call() -> None:
        async with gemini_client(url).aio as client:
            parts = await client.models.generate_content_stream(
                model="gemini-2.5-flash", contents="Where?"
            )
            assert "".join([part.text or "" async for part in parts]) == "On its way."

    asyncio.run(call())


CALLS = {
    "openai chat": openai_chat,
    "openai stream": openai_stream,
    "openai embeddings": openai_embeddings,
    "bedrock converse": bedrock_converse,
    "bedrock converse stream": bedrock_converse_stream,
    "bedrock invoke": bedrock_invoke,
    "bedrock invoke stream": bedrock_invoke_stream,
    "anthropic message": anthropic_message,
    "anthropic stream": anthropic_stream,
    "anthropic stream manager": anthropic_stream_manager,
    "anthropic async stream manager": anthropic_async_stream_manager,
    "anthropic on bedrock": anthropic_on_bedrock,
    "anthropic stream on bedrock": anthropic_stream_on_bedrock,
    "gemini content": gemini_content,
    "gemini stream": gemini_stream,
    "gemini async content": gemini_async_content,
    "gemini async stream": gemini_async_stream,
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
    if headers.get("authorization", "").startswith("AWS4"):
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
    assert not [name for name in headers if name.startswith("x-tracequill-")]
    # Anthropic's client names the trace around it by itself, wherever it sends to.
    assert "traceparent" not in headers or headers["user-agent"].startswith("Anthropic")


async def test_aiohttp_follows_a_redirect_to_elsewhere_without_the_headers(
    collector: CollectorServer,
) -> None:
    seen: list[str | None] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        seen.append(request.headers.get("x-tracequill-traced"))
        if len(seen) > 1:
            return web.Response()
        return web.Response(status=307, headers={"location": f"http://{request.host}/elsewhere"})

    async with test_utils.RawTestServer(answer) as server:
        proxy_url = str(server.make_url("/proxy"))
        provider = tracequill.register("shop", collector.url, proxy_url=proxy_url)
        tracer = provider.get_tracer("app")
        with tracer.start_as_current_span("call", attributes={"openinference.span.kind": "LLM"}):
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"{proxy_url}/openai", json={}) as response,
            ):
                assert response.status == 200
        await asyncio.to_thread(tracequill.unregister)

    assert seen == ["1", None]


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


@pytest.mark.parametrize("auto_instrument", [True, False])
def test_a_client_that_traces_itself_makes_no_second_span(
    collector: CollectorServer, vendor: VendorServer, auto_instrument: bool
) -> None:
    provider = tracequill.register("shop", collector.url, auto_instrument=auto_instrument)
    # What the client does by itself once our provider is the global one.
    traces_itself: Any = {"tracer_provider": provider}
    with anthropic_client(vendor.url).with_options(open_telemetry=traces_itself) as client:
        client.messages.create(model="claude", max_tokens=9, messages=QUESTION)

    tracequill.unregister()
    (span,) = collector.spans
    assert (span.name == "messages.create") == auto_instrument


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
