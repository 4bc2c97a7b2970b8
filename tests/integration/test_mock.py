"""The real openai and boto3 clients against the mock upstream on a port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import boto3
import openai
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

pytestmark = pytest.mark.integration

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
NOVA = "us.amazon.nova-lite-v1:0"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "get_weather", "description": "finds the weather", "parameters": SCHEMA}
WEATHER = "What is the weather in Paris and in London?"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]


@contextmanager
def mock_server(*flags: str) -> Iterator[str]:
    """Run the mock as a process of its own; give its address, and end it as an operator does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tracequill_collector.mock.server", "--port", "0", *flags],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        process.stdout.close()
    assert process.returncode == 0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with mock_server() as url:
        yield url


def openai_client(address: str, **options: Any) -> openai.OpenAI:
    given = {"api_key": "sk-mock", "max_retries": 0, **options}
    return openai.OpenAI(base_url=f"{address}/v1", **given)


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai_client(address) as made:
        yield made


def bedrock_client(address: str, key: str = "AKIAMOCK") -> Any:
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=address,
        aws_access_key_id=key,
        aws_secret_access_key="mock",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture(scope="module")
def bedrock(address: str) -> Iterator[Any]:
    with closing(bedrock_client(address)) as made:
        yield made


# --- OpenAI -------------------------------------------------------------------------------


def test_openai_chats_plain_with_choices_and_in_a_schema(client: openai.OpenAI) -> None:
    plain = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, n=2)
    shaped = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Hello, as JSON please"}],
        response_format={"type": "json_object"},
    )

    assert [choice.index for choice in plain.choices] == [0, 1]
    assert (plain.choices[0].message.content or "").startswith("Hello")
    assert plain.usage is not None
    assert plain.usage.completion_tokens_details is not None
    assert plain._request_id is not None
    assert "answer" in json.loads(shaped.choices[0].message.content or "")


def test_openai_streams_with_usage(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Repeat after me: Grüße 😀"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "Grüße 😀"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens > 0


async def test_the_async_client_streams_too(address: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="sk-mock") as client:
        stream = await client.chat.completions.create(
            model="gpt-4o-mini", messages=HELLO, stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        plain = await client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)

    assert text == plain.choices[0].message.content


@pytest.mark.parametrize("streamed", [False, True])
def test_openai_calls_tools_and_gets_a_final_answer(client: openai.OpenAI, streamed: bool) -> None:
    messages: list[Any] = [{"role": "user", "content": WEATHER}]
    tools: list[Any] = [{"type": "function", "function": FUNCTION}]
    if streamed:
        with client.chat.completions.stream(
            model="gpt-4o-mini", messages=messages, tools=tools
        ) as stream:
            message: Any = stream.get_final_completion().choices[0].message
    else:
        message = (
            client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools)
            .choices[0]
            .message
        )
    cities = [json.loads(call.function.arguments)["city"] for call in message.tool_calls]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"sunny in {city}"}
        for call, city in zip(message.tool_calls, cities, strict=True)
    ]
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
        for call in message.tool_calls
    ]
    turns: list[Any] = [*messages, {"role": "assistant", "tool_calls": calls}, *results]
    final = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=turns,
        tools=tools,
    )

    assert cities == ["Paris", "London"]
    assert final.choices[0].message.content == (
        "Here is what I found. sunny in Paris. sunny in London."
    )


def test_openai_responds_plain_streamed_and_with_tools(client: openai.OpenAI) -> None:
    plain = client.responses.create(model="gpt-4.1", input="Hello")
    with client.responses.stream(model="gpt-5-mini", input="Hello") as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_response()
    tool: Any = {"type": "function", "strict": True, **FUNCTION}
    asked = client.responses.create(model="gpt-4.1", input=WEATHER, tools=[tool])
    output: Any = [
        {"type": "function_call_output", "call_id": item.call_id, "output": "sunny"}
        for item in asked.output
        if item.type == "function_call"
    ]
    final = client.responses.create(
        model="gpt-4.1", input=output, previous_response_id=asked.id, tools=[tool]
    )

    assert streamed.output_text == plain.output_text
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert streamed.usage is not None
    assert streamed.usage.output_tokens_details.reasoning_tokens == 64
    assert len(output) == 2
    assert final.output_text == "Here is what I found. sunny. sunny."


def test_openai_embeds_and_lists_models(client: openai.OpenAI) -> None:
    # The client asks for base64 when nothing is said, and decodes it.
    packed = client.embeddings.create(model="text-embedding-3-small", input=["a spade", "a hoe"])
    numbers = client.embeddings.create(
        model="text-embedding-3-small", input="a spade", encoding_format="float"
    )
    models = {model.id for model in client.models.list()}

    assert packed.data[0].embedding == pytest.approx(numbers.data[0].embedding)
    assert len(packed.data) == 2
    assert client.models.retrieve("gpt-4o").id in models


def test_openai_makes_images_plain_and_streamed(client: openai.OpenAI) -> None:
    plain = client.images.generate(model="gpt-image-1", prompt="A spade", n=2, size="1024x1536")
    stream = client.images.generate(
        model="gpt-image-1", prompt="A spade", stream=True, partial_images=1
    )
    events = list(stream)

    assert plain.size == "1024x1536"
    assert [bool(image.b64_json) for image in plain.data or []] == [True, True]
    assert plain.usage is not None
    assert plain.usage.output_tokens == 2 * 408
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    with pytest.raises(openai.BadRequestError, match="Supported values are"):
        client.images.generate(model="gpt-image-1", prompt="A spade", size="256x256")


def test_openai_errors_are_the_clients_own_classes(address: str, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="no-such-model", messages=HELLO)
    with pytest.raises(openai.BadRequestError) as empty:
        client.chat.completions.create(model="gpt-4o", messages=[])
    with (
        openai_client(address, api_key="invalid") as stranger,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        stranger.chat.completions.create(model="gpt-4o", messages=HELLO)

    assert missing.value.code == "model_not_found"
    assert empty.value.param == "messages"
    assert refused.value.code == "invalid_api_key"


# --- Bedrock ------------------------------------------------------------------------------


def converse_messages(text: str) -> list[Any]:
    return [{"role": "user", "content": [{"text": text}]}]


def test_bedrock_converses_plain_and_streamed(bedrock: Any) -> None:
    plain = bedrock.converse(modelId=CLAUDE, messages=converse_messages("Hello"))
    stream = bedrock.converse_stream(modelId=CLAUDE, messages=converse_messages("Hello"))
    events = list(stream["stream"])

    text = "".join(
        event["contentBlockDelta"]["delta"]["text"]
        for event in events
        if "contentBlockDelta" in event
    )
    assert text == plain["output"]["message"]["content"][0]["text"]
    assert events[-1]["metadata"]["usage"] == plain["usage"]
    assert len(plain["ResponseMetadata"]["RequestId"]) == 36


def test_bedrock_calls_tools_and_gets_a_final_answer(bedrock: Any) -> None:
    spec = {"name": "get_weather", "description": "weather", "inputSchema": {"json": SCHEMA}}
    config = {"tools": [{"toolSpec": spec}]}
    messages = converse_messages(WEATHER)
    asked = bedrock.converse(modelId=NOVA, messages=messages, toolConfig=config)
    message = asked["output"]["message"]
    results = [
        {"toolResult": {"toolUseId": block["toolUse"]["toolUseId"], "content": [{"text": "sunny"}]}}
        for block in message["content"]
    ]
    final = bedrock.converse(
        modelId=NOVA,
        messages=[*messages, message, {"role": "user", "content": results}],
        toolConfig=config,
    )

    assert asked["stopReason"] == "tool_use"
    assert len(results) == 2
    assert final["output"]["message"]["content"][0]["text"] == (
        "Here is what I found. sunny. sunny."
    )


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (
            CLAUDE,
            {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 90, "messages": HELLO},
        ),
        (NOVA, {"schemaVersion": "messages-v1", "messages": converse_messages("Hello")}),
        ("amazon.titan-text-express-v1", {"inputText": "Hello"}),
    ],
)
def test_bedrock_invokes_plain_and_streamed(bedrock: Any, model: str, body: Any) -> None:
    plain = bedrock.invoke_model(modelId=model, body=json.dumps(body))
    stream = bedrock.invoke_model_with_response_stream(modelId=model, body=json.dumps(body))
    events = [json.loads(event["chunk"]["bytes"]) for event in stream["body"]]

    written = json.loads(plain["body"].read())
    headers = plain["ResponseMetadata"]["HTTPHeaders"]
    metrics = events[-1]["amazon-bedrock-invocationMetrics"]
    assert plain["contentType"] == stream["contentType"] == "application/json"
    assert "Fennel & Finch" in json.dumps(written)
    assert headers["x-amzn-bedrock-output-token-count"] == str(metrics["outputTokenCount"])


def test_bedrock_embeds(bedrock: Any) -> None:
    answer = bedrock.invoke_model(
        modelId="amazon.titan-embed-text-v2:0", body=json.dumps({"inputText": "a spade"})
    )

    assert len(json.loads(answer["body"].read())["embedding"]) == 1024


def test_bedrock_errors_are_the_clients_own_classes(address: str, bedrock: Any) -> None:
    with pytest.raises(bedrock.exceptions.ValidationException):
        bedrock.converse(modelId="nothing", messages=converse_messages("Hello"))
    with (
        closing(bedrock_client(address, key="invalid")) as stranger,
        pytest.raises(ClientError) as refused,
    ):
        stranger.converse(modelId=CLAUDE, messages=converse_messages("Hello"))

    assert refused.value.response["Error"]["Code"] == "UnrecognizedClientException"


# --- latency, rate, errors ----------------------------------------------------------------


def test_errors_reach_both_clients_in_turn() -> None:
    with mock_server("--error-share", "1") as address:
        with openai_client(address) as client, closing(bedrock_client(address)) as bedrock:
            with pytest.raises(openai.InternalServerError):
                client.chat.completions.create(model="gpt-4o", messages=HELLO)
            with pytest.raises(bedrock.exceptions.ThrottlingException):
                bedrock.converse(modelId=CLAUDE, messages=converse_messages("Hello"))
            with pytest.raises(bedrock.exceptions.ServiceUnavailableException):
                bedrock.converse(modelId=CLAUDE, messages=converse_messages("Hello"))
            broken = bedrock.converse_stream(modelId=CLAUDE, messages=converse_messages("Hello"))
            with (
                closing(broken["stream"]) as stream,
                pytest.raises(EventStreamError, match="modelStreamErrorException"),
            ):
                list(stream)


def test_a_broken_off_stream_reaches_the_openai_client() -> None:
    with mock_server("--error-share", "1") as address, openai_client(address) as client:
        for expected in (openai.InternalServerError, openai.RateLimitError):
            with pytest.raises(expected):
                client.chat.completions.create(model="gpt-4o", messages=HELLO)
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
        with (
            client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True) as stream,
            pytest.raises(openai.APIError, match="had an error"),
        ):
            list(stream)


def test_past_the_rate_the_client_waits_as_told_and_is_let_in() -> None:
    with (
        mock_server("--requests-per-second", "4") as address,
        openai_client(address, max_retries=2) as client,
    ):
        raw = [
            client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)
            for _ in range(6)
        ]

    assert sum(answer.retries_taken for answer in raw) >= 1
    assert {answer.status_code for answer in raw} == {200}


def test_latency_and_the_pause_between_chunks_are_kept() -> None:
    with (
        mock_server("--latency-seconds", "0.2", "--chunk-seconds", "0.05") as address,
        openai_client(address) as client,
    ):
        started = time.monotonic()
        stream = client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "Count to 6"}], stream=True
        )
        came = [time.monotonic() - started for _ in stream]

    # Beginning, six numbers and end; the closing [DONE] is not shown by the client.
    assert len(came) == 8
    assert came[0] >= 0.2
    # From the beginning: a client that is held up at its first piece gets the next ones sooner.
    assert came[-1] >= 0.2 + 7 * 0.05 * 0.9


def test_a_taken_port_is_one_sentence(address: str) -> None:
    port = address.rsplit(":", 1)[1]
    result = subprocess.run(
        [sys.executable, "-m", "tracequill", "mock", "--port", port],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "NO_COLOR": "1"},
    )

    assert result.returncode == 1
    assert f"port {port} on 127.0.0.1 cannot be used" in result.stderr
    assert "Traceback" not in result.stderr
