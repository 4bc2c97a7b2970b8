"""Anthropic's client gets the same through the proxy, on the wire and as objects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anthropic
import pytest

from tests.integration.clients.ways import Ways

pytestmark = pytest.mark.integration

ASKED: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 200,
    "messages": [{"role": "user", "content": "Repeat after me: Grüße 😀"}],
}
TOOLS: dict[str, Any] = {
    "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
    "tools": [
        {
            "name": "get_weather",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
        }
    ],
}


def client(url: str, **options: Any) -> anthropic.Anthropic:
    given = {"api_key": "sk-test", "max_retries": 0, **options}
    return anthropic.Anthropic(base_url=url, **given)


def message(url: str) -> Any:
    with client(url) as made:
        answer = made.messages.create(**ASKED)
    assert answer.content[0].model_dump()["text"] == "Grüße 😀"
    return answer.model_dump(), answer._request_id


def stream(url: str) -> Any:
    with client(url) as made, made.messages.stream(**ASKED) as streamed:
        texts = list(streamed.text_stream)
        answer = streamed.get_final_message()
    assert "".join(texts) == "Grüße 😀"
    return texts, answer.model_dump()


def tools(url: str) -> Any:
    with client(url) as made:
        events = [
            event.model_dump() for event in made.messages.create(**ASKED | TOOLS, stream=True)
        ]
    assert any(event.get("content_block", {}).get("type") == "tool_use" for event in events)
    return events


def count_and_list(url: str) -> Any:
    with client(url) as made:
        counted = made.messages.count_tokens(model=ASKED["model"], messages=ASKED["messages"])
        return counted.model_dump(), [model.model_dump() for model in made.models.list()]


def wrong_key(url: str) -> Any:
    with client(url, api_key="invalid") as made, pytest.raises(anthropic.APIStatusError) as raised:
        made.messages.create(**ASKED)
    return raised.value.status_code, raised.value.body, raised.value.request_id


def asynchronous(url: str) -> Any:
    async def call() -> Any:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="sk-test") as made:
            plain = await made.messages.create(**ASKED)
            streamed = await made.messages.create(**ASKED, stream=True)
            return plain.model_dump(), [event.model_dump() async for event in streamed]

    return asyncio.run(call())


CALLS = [
    (message, 1),
    (stream, 1),
    (tools, 1),
    (count_and_list, 2),
    (wrong_key, 1),
    (asynchronous, 2),
]


@pytest.mark.parametrize(("call", "count"), CALLS, ids=[call.__name__ for call, _ in CALLS])
def test_anthropic_gets_the_same_through_the_proxy(
    ways: Ways, call: Callable[[str], Any], count: int
) -> None:
    _, requests = ways.compare(call, "/anthropic")

    assert requests == count


def test_anthropic_tries_again_through_the_proxy_as_it_does_straight(ways: Ways) -> None:
    def twice(url: str) -> Any:
        with client(url, max_retries=1) as made:
            return [made.messages.create(**ASKED).model_dump() for _ in range(2)]

    _, requests = ways.compare(twice, "/anthropic", error_share=0.5)

    assert requests == 3
