"""What the proxy keeps of calls of real clients, and that it keeps no key."""

from __future__ import annotations

import asyncio
import binascii
import struct
from collections.abc import Iterator
from typing import Any

import boto3
import httpx2
import openai
import orjson
import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.exchange_cases import own_case
from tests.integration.proxy_rig import (
    WAIT_SECONDS,
    Message,
    ProxyProcess,
    answering,
    chunk,
    plain,
    read_body,
    read_head,
    upstream,
)
from tracequill_collector.recorder import attributes
from tracequill_collector.recorder.interpret import interpret

pytestmark = pytest.mark.integration

MODEL = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
STREAM = "openai-chat-stream"
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "42"},
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
CONVERSATION = {
    "output": {"message": {"role": "assistant", "content": [{"text": "42"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
    "metrics": {"latencyMs": 1},
}


@pytest.fixture
def bedrock(proxy: ProxyProcess) -> Iterator[Any]:
    """A boto3 client with a bearer key.

    botocore puts ``AWS_BEARER_TOKEN_BEDROCK`` on https endpoints only, so the key is added here.
    """
    runtime = bedrock_runtime(proxy.url("/bedrock/us-east-1"), signature_version=UNSIGNED)
    runtime.meta.events.register("before-send.bedrock-runtime", add_bearer_key)
    yield runtime
    runtime.close()


def bedrock_runtime(url: str, **config: Any) -> Any:
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="AKIATEST",
        aws_secret_access_key="secret-test",
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


def add_bearer_key(request: AWSPreparedRequest, **_: Any) -> None:
    request.headers["Authorization"] = "Bearer bedrock-key"


def ask_openai(proxy: ProxyProcess) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=proxy.url("/openai/v1"),
        api_key="sk-test",
        max_retries=0,
        http_client=httpx2.AsyncClient(trust_env=False),
    )


def frame(event: str, payload: dict[str, Any]) -> bytes:
    """One frame of AWS's eventstream."""
    headers = b""
    for name, value in (
        (":event-type", event),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ):
        headers += struct.pack("!B", len(name)) + name.encode() + b"\x07"
        headers += struct.pack("!H", len(value)) + value.encode()
    body = orjson.dumps(payload)
    prelude = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack("!I", binascii.crc32(prelude)) + headers + body
    return message + struct.pack("!I", binascii.crc32(message))


async def test_openai_completes_a_chat(proxy: ProxyProcess) -> None:
    requests: list[Message] = []
    answer = plain(orjson.dumps(COMPLETION), b"Content-Type: application/json", b"x-request-id: r1")
    async with (
        upstream(proxy.upstream_port, answering(answer, requests)),
        ask_openai(proxy) as client,
    ):
        raw = await client.chat.completions.with_raw_response.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "6 x 7?"}],
            extra_headers={"x-tracequill-session-id": "conv-1"},
        )
    exchange = await proxy.exchange(raw.headers["x-tracequill-trace-id"])

    completion = raw.parse()
    assert completion.choices[0].message.content == "42"
    assert requests[0].first_line == b"POST /v1/chat/completions HTTP/1.1"
    assert requests[0].header(b"authorization") == b"Bearer sk-test"
    assert requests[0].header(b"x-tracequill-session-id") is None
    assert exchange.session_id == "conv-1"
    assert orjson.loads(exchange.request_body)["messages"][0]["content"] == "6 x 7?"
    assert orjson.loads(exchange.response_body) == COMPLETION
    assert ("x-request-id", "r1") in exchange.response_headers


async def test_openai_streams_a_chat(proxy: ProxyProcess) -> None:
    events = [
        orjson.dumps(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "gpt-4o",
                "choices": [{"index": 0, "delta": {"content": part}, "finish_reason": None}],
            }
        )
        for part in ("4", "2", "\u00fc")
    ]
    stream = b"".join(b"data: " + event + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(chunk(stream[at : at + 37]) for at in range(0, len(stream), 37))
        + b"0\r\n\r\n"
    )
    async with upstream(proxy.upstream_port, answering(answer)), ask_openai(proxy) as client:
        response = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "?"}], stream=True
        )
        trace_id = response.response.headers["x-tracequill-trace-id"]
        text = "".join([part.choices[0].delta.content or "" async for part in response])
    exchange = await proxy.exchange(trace_id)

    assert text == "42\u00fc"
    assert exchange.response_body == stream


async def test_openais_client_that_hangs_up_at_the_end_of_a_stream_has_not_left_it(
    proxy: ProxyProcess,
) -> None:
    """C05: it closes its connection as soon as it has read `[DONE]`, and most servers end the body
    in a packet of its own. The call is as whole as the span that the SDK writes of it.
    """
    left = asyncio.Event()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + chunk(own_case(STREAM).response_body)
        )
        # The end of the body comes after the client has gone.
        assert await reader.read() == b""
        left.set()

    async with upstream(proxy.upstream_port, conversation), ask_openai(proxy) as client:
        response = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "?"}], stream=True
        )
        trace_id = response.response.headers["x-tracequill-trace-id"]
        assert [part async for part in response]
        await asyncio.wait_for(left.wait(), WAIT_SECONDS)
    exchange = await proxy.exchange(trace_id)
    span = interpret(exchange, "default")

    assert exchange.end == "client_disconnected"
    assert (span.status, attributes.END in span.attributes) == ("OK", False)


async def test_openai_reads_an_error_of_the_upstream_and_one_of_ours(proxy: ProxyProcess) -> None:
    error = orjson.dumps({"error": {"message": "slow down", "type": "requests", "code": "rate"}})
    limited = plain(error, b"Content-Type: application/json", status=b"429 Too Many Requests")
    async with ask_openai(proxy) as client:
        async with upstream(proxy.upstream_port, answering(limited)):
            with pytest.raises(openai.RateLimitError, match="slow down"):
                await client.models.list()
        with pytest.raises(openai.InternalServerError, match="cannot connect") as caught:
            await client.models.list()

    assert caught.value.code == "tracequill_upstream"
    assert caught.value.status_code == 502


async def test_boto3_converses_with_a_bearer_token(proxy: ProxyProcess, bedrock: Any) -> None:
    requests: list[Message] = []
    answer = plain(
        orjson.dumps(CONVERSATION),
        b"Content-Type: application/json",
        b"x-amzn-RequestId: 3f1c",
    )
    async with upstream(proxy.upstream_port, answering(answer, requests)):
        response = await asyncio.to_thread(
            bedrock.converse,
            modelId=MODEL,
            messages=[{"role": "user", "content": [{"text": "6 x 7?"}]}],
        )
    headers = response["ResponseMetadata"]["HTTPHeaders"]
    exchange = await proxy.exchange(headers["x-tracequill-trace-id"])

    assert response["output"]["message"]["content"][0]["text"] == "42"
    assert requests[0].first_line.endswith(b"application-inference-profile%2Fabc/converse HTTP/1.1")
    assert requests[0].header(b"authorization") == b"Bearer bedrock-key"
    assert (exchange.route, exchange.region) == ("bedrock", "us-east-1")
    assert "bedrock-key" not in repr(exchange)


async def test_a_signature_crosses_to_an_upstream_that_is_not_aws_and_is_not_kept(
    proxy: ProxyProcess,
) -> None:
    """LocalStack and mocks look at no signature; AWS itself does (test_proxy_signing.py)."""
    requests: list[Message] = []
    runtime = bedrock_runtime(proxy.url("/bedrock/us-east-1"))
    answer = plain(orjson.dumps(CONVERSATION), b"Content-Type: application/json")
    async with upstream(proxy.upstream_port, answering(answer, requests)):
        response = await asyncio.to_thread(
            runtime.converse,
            modelId=MODEL,
            messages=[{"role": "user", "content": [{"text": "?"}]}],
        )
    runtime.close()
    headers = response["ResponseMetadata"]["HTTPHeaders"]
    exchange = await proxy.exchange(headers["x-tracequill-trace-id"])

    signature = requests[0].header(b"authorization") or b""
    assert signature.startswith(b"AWS4-HMAC-SHA256 Credential=AKIATEST/")
    assert requests[0].header(b"x-amz-date")
    assert "AKIATEST" not in repr(exchange)


async def test_boto3_reads_an_event_stream(proxy: ProxyProcess, bedrock: Any) -> None:
    stream = b"".join(
        frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})
        for text in ("4", "2")
    ) + frame("messageStop", {"stopReason": "end_turn"})
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
        + b"".join(chunk(stream[at : at + 11]) for at in range(0, len(stream), 11))
        + b"0\r\n\r\n"
    )

    def converse() -> tuple[str, str]:
        response = bedrock.converse_stream(
            modelId=MODEL, messages=[{"role": "user", "content": [{"text": "?"}]}]
        )
        text = "".join(
            event["contentBlockDelta"]["delta"]["text"]
            for event in response["stream"]
            if "contentBlockDelta" in event
        )
        return text, response["ResponseMetadata"]["HTTPHeaders"]["x-tracequill-trace-id"]

    async with upstream(proxy.upstream_port, answering(answer)):
        text, trace_id = await asyncio.to_thread(converse)
    exchange = await proxy.exchange(trace_id)

    assert text == "42"
    assert exchange.response_body == stream


async def test_boto3_reads_an_error_of_ours(proxy: ProxyProcess, bedrock: Any) -> None:
    with pytest.raises(ClientError, match="cannot connect") as caught:
        await asyncio.to_thread(
            bedrock.converse,
            modelId=MODEL,
            messages=[{"role": "user", "content": [{"text": "?"}]}],
        )

    assert caught.value.response["Error"]["Code"] == "ServiceUnavailableException"


async def test_both_clients_talk_to_the_mock(proxy: ProxyProcess) -> None:
    runtime = bedrock_runtime(proxy.url("/mock"))
    async with openai.AsyncOpenAI(
        base_url=proxy.url("/mock/v1"),
        api_key="sk-test",
        http_client=httpx2.AsyncClient(trust_env=False),
    ) as client:
        completion = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "hello"}]
        )
    conversation = await asyncio.to_thread(
        runtime.converse,
        modelId="anthropic.claude-3-5-sonnet-20240620-v1:0",
        messages=[{"role": "user", "content": [{"text": "hello"}]}],
    )
    runtime.close()
    trace_id = conversation["ResponseMetadata"]["HTTPHeaders"]["x-tracequill-trace-id"]

    assert completion.choices[0].message.content
    assert conversation["output"]["message"]["content"][0]["text"]
    assert (await proxy.exchange(trace_id)).vendor == "bedrock"
