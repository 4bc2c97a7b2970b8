"""The real anthropic client through the forwarding process: the same answers, and their spans."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anthropic
import httpx2
import pytest

from tests.exchange_cases import encode_body
from tests.integration.proxy_rig import (
    Message,
    ProxyProcess,
    answering,
    chunk,
    read_body,
    read_head,
    upstream,
)
from tests.integration.test_mock import WEATHER, mock_server
from tests.integration.test_mock_anthropic import HELLO, MODEL, TOOL
from tracequill_collector.recorder import attributes
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import RecordedSpan

pytestmark = pytest.mark.integration

CANARY = "sk-ant-canary-0123456789abcdef"
ASKED: dict[str, Any] = {"model": MODEL, "max_tokens": 200, "messages": HELLO}
START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 1},
    },
}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
HALF = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Half"}}
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"request-id: req_1\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    process = ProxyProcess(tmp_path_factory.mktemp("proxy"))
    process.start()
    yield process
    assert process.stop() == 0, process.log
    assert "unexpectedly" not in process.log
    assert CANARY not in process.log


@pytest.fixture(scope="module")
def direct() -> Iterator[str]:
    with mock_server() as address:
        yield address


class TraceIds(list[str]):
    """The trace ids of the answers that came through the proxy, in order."""

    def note(self, response: httpx2.Response) -> None:
        if trace_id := response.headers.get("x-tracequill-trace-id"):
            self.append(trace_id)

    async def note_async(self, response: httpx2.Response) -> None:
        self.note(response)


def client(url: str, ids: TraceIds, **options: Any) -> anthropic.Anthropic:
    http_client = httpx2.Client(trust_env=False, event_hooks={"response": [ids.note]})
    given = {"api_key": CANARY, "max_retries": 0, "http_client": http_client, **options}
    return anthropic.Anthropic(base_url=url, **given)


def async_client(url: str, ids: TraceIds) -> anthropic.AsyncAnthropic:
    http_client = httpx2.AsyncClient(trust_env=False, event_hooks={"response": [ids.note_async]})
    return anthropic.AsyncAnthropic(
        base_url=url, api_key=CANARY, max_retries=0, http_client=http_client
    )


async def spans_of(proxy: ProxyProcess, ids: TraceIds) -> list[RecordedSpan]:
    """Give the spans of calls, and make sure that their records hold no key."""
    exchanges = await proxy.exchanges(ids)
    assert not any(CANARY.encode() in exchange.to_bytes() for exchange in exchanges)
    return [interpret(exchange, "default") for exchange in exchanges]


# --- the same answers ---------------------------------------------------------------------


def create(made: anthropic.Anthropic) -> Any:
    return made.messages.create(**ASKED).model_dump()


def think(made: anthropic.Anthropic) -> Any:
    return made.messages.create(**ASKED, thinking={"type": "adaptive"}).model_dump()


def stream(made: anthropic.Anthropic) -> Any:
    return [event.model_dump() for event in made.messages.create(**ASKED, stream=True)]


def helper(made: anthropic.Anthropic) -> Any:
    with made.messages.stream(**ASKED) as answer:
        return list(answer.text_stream), answer.get_final_message().model_dump()


def tools(made: anthropic.Anthropic) -> Any:
    asked: list[Any] = [{"role": "user", "content": WEATHER}]
    first = made.messages.create(model=MODEL, max_tokens=200, messages=asked, tools=[TOOL])
    calls = [block for block in first.content if block.type == "tool_use"]
    assert len(calls) == 2
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls
    ]
    turns = [*asked, first.to_param(), {"role": "user", "content": results}]
    last = made.messages.create(model=MODEL, max_tokens=200, messages=turns, tools=[TOOL])
    return first.model_dump(), last.model_dump()


def tools_stream(made: anthropic.Anthropic) -> Any:
    asked: list[Any] = [{"role": "user", "content": WEATHER}]
    with made.messages.stream(model=MODEL, max_tokens=200, messages=asked, tools=[TOOL]) as answer:
        kinds = [event.type for event in answer]
        return kinds, answer.get_final_message().model_dump()


def count(made: anthropic.Anthropic) -> Any:
    return made.messages.count_tokens(model=MODEL, messages=HELLO).model_dump()


def beta(made: anthropic.Anthropic) -> Any:
    return made.beta.messages.create(**ASKED, betas=["context-management-2025-06-27"]).model_dump()


def no_model(made: anthropic.Anthropic) -> Any:
    with pytest.raises(anthropic.NotFoundError) as raised:
        made.messages.create(**{**ASKED, "model": "no-such-model"})
    return raised.value.message, raised.value.body, raised.value.request_id


def no_messages(made: anthropic.Anthropic) -> Any:
    with pytest.raises(anthropic.BadRequestError) as raised:
        made.messages.create(**{**ASKED, "messages": []})
    return raised.value.message, raised.value.body, raised.value.request_id


SPANS: dict[Callable[[anthropic.Anthropic], Any], list[str]] = {
    create: ["messages.create"],
    think: ["messages.create"],
    stream: ["messages.create"],
    helper: ["messages.stream"],
    tools: ["messages.create"] * 2,
    tools_stream: ["messages.stream"],
    count: ["messages.count_tokens"],
    beta: ["beta.messages.create"],
    no_model: ["messages.create"],
    no_messages: ["messages.create"],
}


@pytest.mark.parametrize("call", SPANS, ids=lambda call: call.__name__)
async def test_the_client_gets_the_same_answer_through_the_proxy(
    proxy: ProxyProcess, direct: str, call: Callable[[anthropic.Anthropic], Any]
) -> None:
    ids = TraceIds()

    def made(url: str) -> Any:
        with client(url, ids) as before:
            return call(before)

    expected = await asyncio.to_thread(made, direct)
    result = await asyncio.to_thread(made, proxy.url("/mock"))
    spans = await spans_of(proxy, ids)

    assert result == expected
    assert [span.name for span in spans] == SPANS[call]
    failed = call in (no_model, no_messages)
    assert {span.status for span in spans} == {"ERROR" if failed else "OK"}
    assert {span.attributes.get(attributes.PROBLEM) for span in spans} == {None}


async def async_create(made: anthropic.AsyncAnthropic) -> Any:
    return (await made.messages.create(**ASKED)).model_dump()


async def async_stream(made: anthropic.AsyncAnthropic) -> Any:
    return [event.model_dump() async for event in await made.messages.create(**ASKED, stream=True)]


async def async_helper(made: anthropic.AsyncAnthropic) -> Any:
    async with made.messages.stream(**ASKED) as answer:
        return (await answer.get_final_message()).model_dump()


@pytest.mark.parametrize(
    "call", [async_create, async_stream, async_helper], ids=lambda call: call.__name__
)
async def test_the_async_client_gets_the_same_answer_through_the_proxy(
    proxy: ProxyProcess, direct: str, call: Callable[[anthropic.AsyncAnthropic], Awaitable[Any]]
) -> None:
    ids = TraceIds()
    results = []
    for url in (direct, proxy.url("/mock")):
        async with async_client(url, ids) as made:
            results.append(await call(made))
    (span,) = await spans_of(proxy, ids)

    assert results[0] == results[1]
    assert span.attributes["llm.output_messages.0.message.role"] == "assistant"
    assert span.attributes["llm.token_count.completion"] > 0


# --- keys ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        pytest.param({}, b"x-api-key", CANARY, id="x-api-key"),
        pytest.param(
            {"api_key": None, "auth_token": CANARY},
            b"authorization",
            f"Bearer {CANARY}",
            id="authorization",
        ),
    ],
)
async def test_a_key_crosses_and_is_never_kept(
    proxy: ProxyProcess, options: dict[str, Any], name: bytes, value: str
) -> None:
    requests: list[Message] = []
    error = {"type": "authentication_error", "message": "invalid x-api-key"}
    body = json.dumps({"type": "error", "error": error}).encode()
    answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\n"
    answer += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    ids = TraceIds()

    def refused() -> str:
        with (
            client(proxy.url("/anthropic"), ids, **options) as made,
            pytest.raises(anthropic.AuthenticationError) as raised,
        ):
            made.messages.create(**ASKED)
        return raised.value.message

    async with upstream(proxy.upstream_port, answering(answer, requests)):
        message = await asyncio.to_thread(refused)
    (span,) = await spans_of(proxy, ids)

    assert requests[0].header(name) == value.encode()
    assert "invalid x-api-key" in message
    assert "invalid x-api-key" in span.status_message
    assert CANARY not in repr(span)


# --- streams that do not end well ---------------------------------------------------------


async def streamed(
    proxy: ProxyProcess, events: list[Any], *, cut: bool
) -> tuple[Any, RecordedSpan]:
    """Stream *events* from an upstream; give what the client read or met, and the span."""
    body = encode_body({"sse": events})

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        writer.write(STREAM_HEAD + chunk(body) + (b"" if cut else b"0\r\n\r\n"))
        await writer.drain()
        writer.close()

    ids = TraceIds()
    read: list[Any] = []
    async with (
        upstream(proxy.upstream_port, conversation),
        async_client(proxy.url("/anthropic"), ids) as made,
    ):
        try:
            async for event in await made.messages.create(**ASKED, stream=True):
                read.append(event.type)
        except (anthropic.APIError, httpx2.HTTPError) as error:
            read.append(error)
    (span,) = await spans_of(proxy, ids)
    return read, span


async def test_a_stream_that_the_upstream_cuts_gives_a_span_with_what_came(
    proxy: ProxyProcess,
) -> None:
    read, span = await streamed(proxy, [START, BLOCK, HALF], cut=True)

    prefix = "llm.output_messages.0.message.contents.0.message_content"
    assert isinstance(read[-1], Exception)
    assert span.status == "ERROR"
    assert span.attributes[attributes.END] == "upstream_cut"
    assert span.attributes[f"{prefix}.text"] == "Half"
    assert span.attributes["llm.token_count.prompt"] == 12
    assert span.attributes[attributes.UPSTREAM_REQUEST_ID] == "req_1"


async def test_an_error_in_a_stream_reaches_client_and_span(proxy: ProxyProcess) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    read, span = await streamed(proxy, [START, BLOCK, HALF, error], cut=False)

    assert isinstance(read[-1], anthropic.APIStatusError)
    assert "Overloaded" in str(read[-1])
    assert span.status == "ERROR"
    assert "Overloaded" in span.status_message


async def test_a_future_event_reaches_the_client_and_the_span(proxy: ProxyProcess) -> None:
    news = {"type": "weather_report", "sky": "blue"}
    stop = {"type": "content_block_stop", "index": 0}
    events = [START, news, BLOCK, HALF, stop, {"type": "message_stop"}]
    read, span = await streamed(proxy, events, cut=False)

    assert read[1] == "weather_report"
    assert span.status == "OK"
    assert json.loads(span.attributes["output.value"])["other_events"] == [news]
    assert span.attributes[attributes.PROBLEM] == "stream holds unknown events: weather_report"
