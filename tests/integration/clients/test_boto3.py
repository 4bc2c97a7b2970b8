"""boto3 gets the same through the proxy, on the wire and as objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from tests.integration.clients.ways import Ways

pytestmark = pytest.mark.integration

ROUTE = "/bedrock/us-east-1"
CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
NOVA = "us.amazon.nova-lite-v1:0"
# One segment of the path, with `:` and `/` encoded.
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
HELLO: list[Any] = [{"role": "user", "content": [{"text": "Repeat after me: Grüße 😀"}]}]
WEATHER: list[Any] = [{"role": "user", "content": [{"text": "What is the weather in Paris?"}]}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: Any = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": SCHEMA}}}]}
CLAUDE_BODY = json.dumps(
    {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Repeat after me: Grüße 😀"}],
    }
)


def client(url: str, *, attempts: int = 1, **config: Any) -> Any:
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="AKIATEST",
        aws_secret_access_key="secret-test",
        config=Config(retries={"total_max_attempts": attempts}, **config),
    )


def with_bearer_key(url: str) -> Any:
    """botocore sends a bearer key to https addresses only, so it is added here."""
    made = client(url, signature_version=UNSIGNED)
    made.meta.events.register("before-send.bedrock-runtime", _add_bearer_key)
    return made


def _add_bearer_key(request: AWSPreparedRequest, **_: Any) -> None:
    request.headers["Authorization"] = "Bearer bedrock-key"


def without_ids(answer: dict[str, Any]) -> dict[str, Any]:
    """Give *answer* as both ways must give it: its ``Date`` and our two headers are its own."""
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    for name in ("date", "x-tracequill-trace-id", "x-tracequill-span-id"):
        headers.pop(name, None)
    return answer


def converse(made: Any) -> Any:
    answer = made.converse(modelId=NOVA, messages=HELLO, system=[{"text": "Be short."}])
    assert answer["output"]["message"]["content"] == [{"text": "Grüße 😀"}]
    return without_ids(answer)


def converse_with_tools(made: Any) -> Any:
    answer = made.converse(modelId=CLAUDE, messages=WEATHER, toolConfig=TOOLS)
    assert answer["stopReason"] == "tool_use"
    return without_ids(answer)


def converse_with_a_profile(made: Any) -> Any:
    return without_ids(made.converse(modelId=PROFILE, messages=HELLO))


def converse_stream(made: Any) -> Any:
    answer = made.converse_stream(modelId=NOVA, messages=HELLO)
    events = list(answer.pop("stream"))
    deltas = [
        event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event
    ]
    assert "".join(delta["text"] for delta in deltas) == "Grüße 😀"
    return without_ids(answer), events


def invoke(made: Any) -> Any:
    answer = made.invoke_model(modelId=CLAUDE, body=CLAUDE_BODY)
    body = answer.pop("body").read()
    assert json.loads(body)["content"][0]["text"] == "Grüße 😀"
    return without_ids(answer), body


def invoke_stream(made: Any) -> Any:
    answer = made.invoke_model_with_response_stream(modelId=CLAUDE, body=CLAUDE_BODY)
    events = [event["chunk"]["bytes"] for event in answer.pop("body")]
    assert len(events) > 3
    return without_ids(answer), events


def wrong_model(made: Any) -> Any:
    with pytest.raises(made.exceptions.ValidationException) as raised:
        made.converse(modelId="no-such-model", messages=HELLO)
    return without_ids(raised.value.response)


CALLS = [
    converse,
    converse_with_tools,
    converse_with_a_profile,
    converse_stream,
    invoke,
    invoke_stream,
    wrong_model,
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_boto3_with_a_bearer_key_gets_the_same_through_the_proxy(
    ways: Ways, call: Callable[[Any], Any]
) -> None:
    """B10 and B11: a key needs no signature, so no host has to match; litellm gave empty bodies
    with a 200 on converse (40131). Every answer is equal to the byte.
    """

    def made(url: str) -> Any:
        with closing(with_bearer_key(url)) as runtime:
            return call(runtime)

    _, requests = ways.compare(made, ROUTE)

    assert requests == 1


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_boto3_with_a_signature_gets_the_same_where_the_proxy_signs_anew(
    ways: Ways, call: Callable[[Any], Any]
) -> None:
    def made(url: str) -> Any:
        with closing(client(url)) as runtime:
            return call(runtime)

    _, requests = ways.compare(made, "/signed")

    assert requests == 1


def test_boto3_reads_an_error_in_the_middle_of_a_stream(ways: Ways) -> None:
    """B9: an exception comes as an event, under status 200; it has to cross like any other."""

    def fourth(url: str) -> Any:
        with closing(with_bearer_key(url)) as runtime:
            for _ in range(3):
                with pytest.raises(ClientError):
                    runtime.converse(modelId=NOVA, messages=HELLO)
            answer = runtime.converse_stream(modelId=NOVA, messages=HELLO)
            events: list[Any] = []
            with closing(answer["stream"]) as stream:
                with pytest.raises(EventStreamError) as raised:
                    for event in stream:
                        events.append(event)
                # The end of the body comes after it.
                assert not list(stream._event_generator)
            return events, raised.value.response

    ways.compare(fourth, ROUTE, error_share=1)


def test_boto3_tries_again_through_the_proxy_as_it_does_straight(ways: Ways) -> None:
    def twice(url: str) -> Any:
        with closing(client(url, attempts=2, signature_version=UNSIGNED)) as runtime:
            answers = [runtime.converse(modelId=NOVA, messages=HELLO) for _ in range(2)]
            return [without_ids(answer) for answer in answers]

    _, requests = ways.compare(twice, ROUTE, error_share=0.5)

    assert requests == 3
