"""Mistral, Groq, Together and Ollama through the proxy at their own routes, and packed answers.

The upstream replays recorded exchanges; the clients are real ones where there is one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import brotli  # type: ignore[import-untyped]
import openai
import pytest
import zstandard
from aiohttp import web

from tests.exchange_cases import FOLDER, own_case
from tests.integration.proxy_rig import ProxyProcess, ask, post
from tracequill_collector.mock.recording import RecordedExchange, read_recording
from tracequill_collector.mock.replay import Replay
from tracequill_collector.mock.server import mock_app
from tracequill_collector.mock.upstream import MockUpstream
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import RecordedSpan

pytestmark = pytest.mark.integration

_JSON = b"Content-Type: application/json"
_PACKERS = {"br": brotli.compress, "zstd": zstandard.ZstdCompressor().compress}


@pytest.fixture
async def replaying(proxy: ProxyProcess) -> AsyncIterator[None]:
    """Answer at the proxy's upstream with this repository's exchanges, and packed ones."""
    exchanges = [*_packed(), *read_recording(FOLDER)]
    runner = web.AppRunner(mock_app(MockUpstream(replay=Replay(exchanges))), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", proxy.upstream_port).start()
    yield
    await runner.cleanup()


def _packed() -> list[RecordedExchange]:
    case = own_case("openai-chat")
    return [
        RecordedExchange(
            name=encoding,
            method="POST",
            path=f"/v1/{encoding}/chat/completions",
            request_body=case.request_body,
            status=200,
            headers=[*case.response_headers, ("content-encoding", encoding)],
            response_body=pack(case.response_body),
        )
        for encoding, pack in _PACKERS.items()
    ]


async def _span(proxy: ProxyProcess, trace_id: str) -> RecordedSpan:
    return interpret(await proxy.exchange(trace_id), "default-project")


@pytest.mark.parametrize(
    ("base", "name", "provider", "tokens"),
    [
        ("/mistral/v1", "mistral-chat-tools", "mistralai", 16),
        ("/mistral/v1", "mistral-chat-stream-thinking", "mistralai", 20),
        ("/groq/openai/v1", "groq-chat-stream", "groq", 16),
        ("/together/v1", "together-chat-stream", "together", 16),
        ("/ollama/v1", "ollama-openai-chat", "ollama", 16),
    ],
)
async def test_a_vendor_like_openai_is_called_with_openais_client_at_its_own_route(
    proxy: ProxyProcess, replaying: None, base: str, name: str, provider: str, tokens: int
) -> None:
    case = own_case(name)
    async with openai.AsyncOpenAI(
        api_key="none", base_url=proxy.url(base), max_retries=0
    ) as client:
        create: Any = client.chat.completions.with_raw_response.create
        raw = await create(**case.request_json)
        answer = raw.parse()
        if case.request_json.get("stream"):
            answer = [chunk async for chunk in answer][-1]
    span = await _span(proxy, raw.headers["x-tracequill-trace-id"])

    assert answer.model == span.attributes["llm.model_name"]
    assert span.name == "ChatCompletion"
    assert span.attributes["llm.provider"] == provider
    assert span.attributes["llm.token_count.total"] == tokens
    assert span.attributes["llm.input_messages.0.message.role"] == "user"


@pytest.mark.parametrize(
    ("route", "name", "span_name"),
    [
        ("/ollama", "ollama-chat-stream", "Chat"),
        ("/ollama", "ollama-chat-tools", "Chat"),
        ("/ollama", "ollama-generate-stream", "Generate"),
        ("/ollama", "ollama-embed", "CreateEmbeddings"),
        ("/mistral", "mistral-fim", "Completion"),
        ("/mistral", "mistral-ocr", "POST /v1/ocr"),
        ("/together", "together-rerank", "Rerank"),
    ],
)
async def test_what_is_not_openais_crosses_unchanged_and_is_one_span(
    proxy: ProxyProcess, replaying: None, route: str, name: str, span_name: str
) -> None:
    case = own_case(name)
    response = await ask(proxy, post((route + case.path).encode(), case.request_body, _JSON))
    span = await _span(proxy, response.trace_id)

    assert response.body == case.response_body
    assert span.name == span_name
    assert span.attributes["tracequill.vendor"] == route.strip("/")
    assert span.status == "OK"


async def test_images_are_edited_with_a_form(proxy: ProxyProcess, replaying: None) -> None:
    case = own_case("openai-images-edit")
    image, mask = (
        (part["filename"], base64.b64decode(part["base64"]), part["content_type"])
        for part in case.form
        if "filename" in part
    )
    fields: Any = {part["name"]: part["text"] for part in case.form if "text" in part}
    async with openai.AsyncOpenAI(
        api_key="none", base_url=proxy.url("/openai/v1"), max_retries=0
    ) as client:
        raw = await client.images.with_raw_response.edit(image=image, mask=mask, **fields)
        answer: Any = raw.parse()
    span = await _span(proxy, raw.headers["x-tracequill-trace-id"])

    assert (span.name, span.status) == ("ImagesResponse", "OK")
    assert json.loads(span.attributes["input.value"])["n"] == 1
    for index in range(2):
        assert span.attributes[f"input.images.{index}.image.url"].startswith("data:image/png;")
    url = span.attributes["output.images.0.image.url"]
    assert url == f"data:image/png;base64,{answer.data[0].b64_json}"
    assert span.attributes["llm.token_count.total"] == 284


@pytest.mark.parametrize("encoding", _PACKERS)
async def test_a_packed_answer_crosses_packed_and_is_recorded_unpacked(
    proxy: ProxyProcess, replaying: None, encoding: str
) -> None:
    """C08: others unpack on the way (LiteLLM#25624) or refuse to decode (agentgateway#3040)."""
    case = own_case("openai-chat")
    path = f"/openai/v1/{encoding}/chat/completions".encode()
    response = await ask(proxy, post(path, case.request_body, _JSON))
    span = await _span(proxy, response.trace_id)

    assert response.body == _PACKERS[encoding](case.response_body)
    assert response.header(b"content-encoding") == encoding.encode()
    assert span.attributes["output.value"] == case.response_body.decode()
    assert "tracequill.problem" not in span.attributes
