"""The real anthropic client against the mock upstream on a port."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from pydantic import BaseModel

from tests.integration.test_mock import WEATHER, mock_server

pytestmark = pytest.mark.integration

MODEL = "claude-haiku-4-5"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
TOOL: Any = {
    "name": "get_weather",
    "description": "finds the weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


class Answer(BaseModel):
    """What a structured answer holds."""

    answer: str


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with mock_server() as url:
        yield url


def anthropic_client(address: str, **options: Any) -> anthropic.Anthropic:
    given = {"api_key": "sk-ant-mock", "max_retries": 0, **options}
    return anthropic.Anthropic(base_url=address, **given)


@pytest.fixture
def client(address: str) -> Iterator[anthropic.Anthropic]:
    with anthropic_client(address) as made:
        yield made


def ask(client: anthropic.Anthropic, **more: Any) -> Any:
    given = {"model": MODEL, "max_tokens": 200, "messages": HELLO, **more}
    return client.messages.create(**given)


def test_it_answers_plain_streamed_and_to_the_helper(client: anthropic.Anthropic) -> None:
    plain = ask(client)
    kinds = [event.type for event in ask(client, stream=True)]
    with client.messages.stream(model=MODEL, max_tokens=200, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        final: Any = stream.get_final_message()

    assert plain.content[0].text.startswith("Hello")
    assert plain._request_id.startswith("req_01")
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert text == final.content[0].text == plain.content[0].text
    assert (final.usage.input_tokens, final.usage.output_tokens) == (
        plain.usage.input_tokens,
        plain.usage.output_tokens,
    )


async def test_the_async_client_streams_too(address: str) -> None:
    async with anthropic.AsyncAnthropic(base_url=address, api_key="sk-ant-mock") as client:
        plain: Any = await client.messages.create(model=MODEL, max_tokens=200, messages=HELLO)
        async with client.messages.stream(model=MODEL, max_tokens=200, messages=HELLO) as stream:
            final: Any = await stream.get_final_message()

    assert final.content[0].text == plain.content[0].text


@pytest.mark.parametrize("streamed", [False, True])
def test_it_calls_tools_and_gives_a_final_answer(
    client: anthropic.Anthropic, streamed: bool
) -> None:
    messages: list[Any] = [{"role": "user", "content": WEATHER}]
    if streamed:
        with client.messages.stream(
            model=MODEL, max_tokens=200, messages=messages, tools=[TOOL]
        ) as stream:
            message: Any = stream.get_final_message()
    else:
        message = ask(client, messages=messages, tools=[TOOL])
    results = [
        {
            "type": "tool_result",
            "tool_use_id": block.id,
            "content": f"sunny in {block.input['city']}",
        }
        for block in message.content
        if block.type == "tool_use"
    ]
    turns = [
        *messages,
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": results},
    ]
    final = ask(client, messages=turns, tools=[TOOL])

    assert message.stop_reason == "tool_use"
    assert final.content[0].text == "Here is what I found. sunny in Paris. sunny in London."


def test_it_thinks_counts_and_fills_a_schema(client: anthropic.Anthropic) -> None:
    thought = ask(client, thinking={"type": "adaptive"})
    counted = client.messages.count_tokens(model=MODEL, messages=HELLO)
    parsed = client.messages.parse(
        model=MODEL, max_tokens=200, messages=HELLO, output_format=Answer
    )

    assert [block.type for block in thought.content] == ["thinking", "text"]
    assert thought.usage.output_tokens_details.thinking_tokens > 0
    assert counted.input_tokens == thought.usage.input_tokens
    assert parsed.parsed_output is not None


def test_it_speaks_to_the_beta_client_and_lists_models(client: anthropic.Anthropic) -> None:
    beta = client.beta.messages.create(
        model=MODEL, max_tokens=200, messages=HELLO, betas=["context-management-2025-06-27"]
    )
    models = [model.id for model in client.models.list()]

    assert beta.content[0].type == "text"
    assert client.models.retrieve(MODEL).id in models


def test_errors_are_the_clients_own_classes(address: str, client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        ask(client, model="no-such-model")
    with pytest.raises(anthropic.BadRequestError, match="at least one message"):
        ask(client, messages=[])
    with (
        anthropic_client(address, api_key="invalid") as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        ask(stranger)
    with (
        anthropic_client(address, api_key=None, auth_token="invalid") as bearer,
        pytest.raises(anthropic.AuthenticationError),
    ):
        ask(bearer)

    assert missing.value.type == "not_found_error"
    assert missing.value.request_id is not None


def test_faults_reach_the_client_in_turn() -> None:
    with mock_server("--error-share", "1") as address, anthropic_client(address) as client:
        for expected in (anthropic.InternalServerError, anthropic.RateLimitError):
            with pytest.raises(expected):
                ask(client)
        with pytest.raises(anthropic.APIStatusError, match="overloaded_error") as overloaded:
            ask(client)
        with pytest.raises(anthropic.APIStatusError, match="overloaded_error"):
            list(ask(client, stream=True))

    assert overloaded.value.status_code == 529


def test_past_the_rate_the_client_waits_as_told_and_is_let_in() -> None:
    with (
        mock_server("--requests-per-second", "2") as address,
        anthropic_client(address, max_retries=2) as client,
    ):
        raw = [
            client.messages.with_raw_response.create(model=MODEL, max_tokens=9, messages=HELLO)
            for _ in range(3)
        ]

    assert sum(answer.retries_taken for answer in raw) >= 1
    assert {answer.status_code for answer in raw} == {200}
