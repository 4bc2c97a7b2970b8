"""OpenAI's client for Python gets the same through the proxy, on the wire and as objects."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.integration.clients.ways import Ways

pytestmark = pytest.mark.integration

MODEL = "gpt-4o-mini"
HELLO: list[Any] = [{"role": "user", "content": "Repeat after me: Grüße 😀"}]
WEATHER: list[Any] = [{"role": "user", "content": "What is the weather in Paris and in London?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}


class Answer(BaseModel):
    """What a structured answer holds."""

    answer: str


def client(url: str, **options: Any) -> openai.OpenAI:
    given = {"api_key": "sk-test", "max_retries": 0, **options}
    return openai.OpenAI(base_url=f"{url}/v1", **given)


def chat(url: str) -> Any:
    with client(url) as made:
        raw = made.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO, n=2)
    answer = raw.parse()
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.choices[0].message.content == "Grüße 😀"
    assert raw.headers["x-request-id"] == answer._request_id
    return answer.model_dump(), answer._request_id


def chat_stream(url: str) -> Any:
    with client(url) as made:
        stream = made.chat.completions.create(
            model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Grüße 😀"
    assert chunks[-1].usage is not None
    return [chunk.model_dump() for chunk in chunks]


def tools(url: str) -> Any:
    with client(url) as made:
        first = made.chat.completions.create(model=MODEL, messages=WEATHER, tools=[TOOL])
        message = first.choices[0].message
        assert message.tool_calls is not None
        assert len(message.tool_calls) == 2
        history: list[Any] = [*WEATHER, message]
        for call in message.tool_calls:
            history.append({"role": "tool", "tool_call_id": call.id, "content": "4 degrees"})
        last = made.chat.completions.create(model=MODEL, messages=history, tools=[TOOL])
    assert last.choices[0].message.content
    return first.model_dump(), last.model_dump()


def tools_stream(url: str) -> Any:
    with (
        client(url) as made,
        made.chat.completions.stream(model=MODEL, messages=WEATHER, tools=[TOOL]) as stream,
    ):
        kinds = [event.type for event in stream]
        answer = stream.get_final_completion()
    assert answer.choices[0].message.tool_calls
    return kinds, answer.model_dump()


def structured(url: str) -> Any:
    with client(url) as made:
        answer = made.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Answer)
    assert answer.choices[0].message.parsed is not None
    return answer.choices[0].message.parsed, answer.id, answer.usage


def responses(url: str) -> Any:
    with client(url) as made:
        first = made.responses.create(model=MODEL, input="Repeat after me: one")
        second = made.responses.create(
            model=MODEL, input="Repeat after me: two", previous_response_id=first.id
        )
    assert (first.output_text, second.output_text) == ("one", "two")
    return first.model_dump(), second.model_dump()


def responses_stream(url: str) -> Any:
    with client(url) as made, made.responses.stream(model=MODEL, input=HELLO) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_response()
    assert answer.output_text == "Grüße 😀"
    return kinds, answer.model_dump()


def responses_tools(url: str) -> Any:
    tool: Any = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}
    with client(url) as made:
        answer = made.responses.create(model=MODEL, input=WEATHER, tools=[tool])
    assert [item.type for item in answer.output] == ["function_call", "function_call"]
    return answer.model_dump()


def embeddings(url: str) -> Any:
    with client(url) as made:
        answer = made.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    assert len(answer.data) == 2
    return answer.model_dump()


def images(url: str) -> Any:
    with client(url) as made:
        answer = made.images.generate(model="gpt-image-1", prompt="a parcel", quality="low")
        stream = made.images.generate(
            model="gpt-image-1", prompt="a parcel", stream=True, partial_images=1
        )
        events = [event.model_dump() for event in stream]
    assert answer.data is not None
    assert answer.data[0].b64_json
    assert events[-1]["type"] == "image_generation.completed"
    return answer.model_dump(), events


def upload(url: str) -> Any:
    content = b'{"messages": []}\n\xff\x00\r\n' * 20_000
    with client(url) as made:
        file = made.files.create(file=("t.jsonl", io.BytesIO(content)), purpose="fine-tune")
    assert file.bytes > len(content)
    return file.model_dump()


def models(url: str) -> Any:
    with client(url) as made:
        listed = [model.id for model in made.models.list()]
        return listed, made.models.retrieve(listed[0]).model_dump()


def error_of(call: Callable[[], Any], kind: type[openai.APIStatusError]) -> Any:
    with pytest.raises(kind) as raised:
        call()
    error = raised.value
    return error.message, error.status_code, error.body, error.request_id


def wrong_key(url: str) -> Any:
    with client(url, api_key="invalid") as made:
        return error_of(made.models.list, openai.AuthenticationError)


def wrong_model(url: str) -> Any:
    with client(url) as made:
        return error_of(
            lambda: made.chat.completions.create(model="no-such-model", messages=HELLO),
            openai.NotFoundError,
        )


def wrong_request(url: str) -> Any:
    with client(url) as made:
        return error_of(
            lambda: made.chat.completions.create(model=MODEL, messages=[]), openai.BadRequestError
        )


async def async_chat(made: openai.AsyncOpenAI) -> Any:
    answer = await made.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.choices[0].message.content == "Grüße 😀"
    return answer.model_dump()


async def async_stream(made: openai.AsyncOpenAI) -> Any:
    stream = await made.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Grüße 😀"
    return [chunk.model_dump() for chunk in chunks]


async def async_responses_stream(made: openai.AsyncOpenAI) -> Any:
    stream = await made.responses.create(model=MODEL, input=HELLO, stream=True)
    events = [event.model_dump() async for event in stream]
    assert events[-1]["type"] == "response.completed"
    return events


async def async_upload(made: openai.AsyncOpenAI) -> Any:
    return (await made.files.create(file=("a.jsonl", b"{}\n"), purpose="fine-tune")).model_dump()


CALLS = [
    (chat, 1),
    (chat_stream, 1),
    (tools, 2),
    (tools_stream, 1),
    (structured, 1),
    (responses, 2),
    (responses_stream, 1),
    (responses_tools, 1),
    (embeddings, 1),
    (images, 2),
    (upload, 1),
    (models, 2),
    (wrong_key, 1),
    (wrong_model, 1),
    (wrong_request, 1),
]
ASYNC_CALLS = [async_chat, async_stream, async_responses_stream, async_upload]


def names_of(values: list[Any]) -> list[str]:
    return [getattr(value, "__name__", "") for value in values]


@pytest.mark.parametrize(("call", "count"), CALLS, ids=names_of([call for call, _ in CALLS]))
def test_openai_gets_the_same_through_the_proxy(
    ways: Ways, call: Callable[[str], Any], count: int
) -> None:
    _, requests = ways.compare(call, "/openai")

    assert requests == count


@pytest.mark.parametrize("call", ASYNC_CALLS, ids=names_of(ASYNC_CALLS))
def test_async_openai_gets_the_same_through_the_proxy(
    ways: Ways, call: Callable[[openai.AsyncOpenAI], Awaitable[Any]]
) -> None:
    async def made(url: str) -> Any:
        async with openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key="sk-test", max_retries=0
        ) as made:
            return await call(made)

    _, requests = ways.compare(lambda url: asyncio.run(made(url)), "/openai")

    assert requests == 1


def test_openai_tries_again_through_the_proxy_as_it_does_straight(ways: Ways) -> None:
    def twice(url: str) -> Any:
        with client(url, max_retries=1) as made:
            return [
                made.chat.completions.create(model=MODEL, messages=HELLO).model_dump()
                for _ in range(2)
            ]

    _, requests = ways.compare(twice, "/openai", error_share=0.5)

    assert requests == 3
