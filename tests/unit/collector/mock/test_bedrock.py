from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from botocore.eventstream import EventStreamBuffer

from tests.unit.collector.mock.exchange import Got, ask
from tracequill_collector.mock.eventstream import event_frame, exception_frame

CLAUDE = "/model/anthropic.claude-3-haiku-20240307-v1%3A0"
NOVA = "/model/us.amazon.nova-lite-v1%3A0"
TITAN = "/model/amazon.titan-text-express-v1"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL_CONFIG = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": SCHEMA}}}]}
WEATHER = "What is the weather in Paris?"


def converse(question: str = "Hello", **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"text": question}]}], **fields}


def claude(question: str = "Hello", **fields: Any) -> dict[str, Any]:
    return {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": question}],
        **fields,
    }


def frames(got: Got) -> list[tuple[dict[str, Any], Any]]:
    """Headers and payload of every frame; botocore checks both checksums."""
    buffer = EventStreamBuffer()
    buffer.add_data(got.body)
    events: list[Any] = list(buffer)
    return [(event.headers, orjson.loads(event.payload)) for event in events]


def chunks(got: Got) -> list[Any]:
    return [orjson.loads(base64.b64decode(payload["bytes"])) for _, payload in frames(got)]


def test_a_frame_has_the_lengths_and_checksums_of_the_specification() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(
        event_frame("chunk", b'{"a":1}') + exception_frame("throttlingException", b"{}")
    )
    events: list[Any] = list(buffer)
    first, second = events

    assert first.headers == {
        ":event-type": "chunk",
        ":content-type": "application/json",
        ":message-type": "event",
    }
    assert first.payload == b'{"a":1}'
    assert second.headers[":message-type"] == "exception"
    assert second.headers[":exception-type"] == "throttlingException"


async def test_converse_answers_with_usage_and_a_request_id() -> None:
    got = await ask(CLAUDE + "/converse", converse("How do I cancel my order?"))

    body = got.json
    assert got.status == 200
    assert list(body) == ["metrics", "output", "stopReason", "usage"]
    assert body["output"]["message"]["content"][0]["text"].startswith("An order can be cancelled")
    assert body["stopReason"] == "end_turn"
    assert body["usage"]["totalTokens"] == (
        body["usage"]["inputTokens"] + body["usage"]["outputTokens"]
    )
    assert len(got.headers["x-amzn-requestid"]) == 36


async def test_a_converse_stream_says_what_converse_says() -> None:
    plain = (await ask(CLAUDE + "/converse", converse("Repeat after me: Grüße 😀"))).json
    got = await ask(CLAUDE + "/converse-stream", converse("Repeat after me: Grüße 😀"))

    events = [(headers[":event-type"], payload) for headers, payload in frames(got)]
    text = "".join(
        payload["delta"]["text"] for kind, payload in events if kind == "contentBlockDelta"
    )
    assert text == plain["output"]["message"]["content"][0]["text"]
    assert [kind for kind, _ in events if kind != "contentBlockDelta"] == [
        "messageStart",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert events[-1][1]["usage"] == plain["usage"]
    assert got.headers["content-type"] == "application/vnd.amazon.eventstream"


async def test_converse_calls_a_function_and_then_reports_what_it_returned() -> None:
    asked = converse(WEATHER, toolConfig=TOOL_CONFIG)
    message = (await ask(CLAUDE + "/converse", asked)).json["output"]["message"]
    streamed = frames(await ask(CLAUDE + "/converse-stream", asked))
    use = message["content"][0]["toolUse"]
    result = {"toolUseId": use["toolUseId"], "content": [{"json": {"sky": "clear"}}]}
    turns = [*asked["messages"], message, {"role": "user", "content": [{"toolResult": result}]}]
    final = await ask(CLAUDE + "/converse", {**asked, "messages": turns})

    assert (use["name"], use["input"]) == ("get_weather", {"city": "Paris"})
    written = "".join(
        payload["delta"]["toolUse"]["input"]
        for headers, payload in streamed
        if headers[":event-type"] == "contentBlockDelta"
    )
    assert orjson.loads(written) == {"city": "Paris"}
    assert final.json["output"]["message"]["content"] == [
        {"text": "Here is what I found. Sky: clear."}
    ]


async def test_claude_is_invoked_with_messages_plain_and_streamed() -> None:
    plain = await ask(CLAUDE + "/invoke", claude("How do I cancel my order?"))
    events = chunks(
        await ask(CLAUDE + "/invoke-with-response-stream", claude("How do I cancel my order?"))
    )

    body = plain.json
    assert body["model"] == "claude-3-haiku-20240307"
    assert body["stop_reason"] == "end_turn"
    assert plain.headers["x-amzn-bedrock-output-token-count"] == str(body["usage"]["output_tokens"])
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(delta["text"] for delta in deltas) == body["content"][0]["text"]
    assert events[0]["message"]["usage"]["input_tokens"] == body["usage"]["input_tokens"]
    assert events[-1]["type"] == "message_stop"
    assert (
        events[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"]
        == (body["usage"]["output_tokens"])
    )


async def test_claude_uses_a_tool_plain_and_streamed() -> None:
    asked = claude(WEATHER, tools=[{"name": "get_weather", "input_schema": SCHEMA}])
    body = (await ask(CLAUDE + "/invoke", asked)).json
    events = chunks(await ask(CLAUDE + "/invoke-with-response-stream", asked))
    use = body["content"][1]
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": "clear"}
    turns = [
        *asked["messages"],
        {"role": "assistant", "content": body["content"]},
        {"role": "user", "content": [result]},
    ]
    final = (await ask(CLAUDE + "/invoke", {**asked, "messages": turns})).json

    assert (body["stop_reason"], use["name"], use["input"]) == (
        "tool_use",
        "get_weather",
        {"city": "Paris"},
    )
    pieces = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert orjson.loads("".join(piece.get("partial_json", "") for piece in pieces)) == use["input"]
    assert final["content"][0]["text"] == "Here is what I found. clear."


async def test_nova_is_invoked_plain_and_streamed() -> None:
    asked = converse(WEATHER, toolConfig=TOOL_CONFIG, schemaVersion="messages-v1")
    body = (await ask(NOVA + "/invoke", asked)).json
    events = chunks(await ask(NOVA + "/invoke-with-response-stream", asked))
    text = chunks(await ask(NOVA + "/invoke-with-response-stream", converse("Hello")))

    use = body["output"]["message"]["content"][0]["toolUse"]
    assert (body["stopReason"], use["input"]) == ("tool_use", {"city": "Paris"})
    delta = next(event for event in events if "contentBlockDelta" in event)
    written = delta["contentBlockDelta"]["delta"]["toolUse"]["input"]
    assert orjson.loads(written) == {"city": "Paris"}
    assert text[-1]["metadata"]["usage"]["outputTokens"] > 0
    assert "amazon-bedrock-invocationMetrics" in text[-1]


async def test_titan_answers_text_and_embeddings() -> None:
    asked = {"inputText": "Count to 9", "textGenerationConfig": {"maxTokenCount": 4}}
    body = (await ask(TITAN + "/invoke", asked)).json
    events = chunks(await ask(TITAN + "/invoke-with-response-stream", asked))
    first = (await ask("/model/amazon.titan-embed-text-v1/invoke", {"inputText": "spade"})).json
    second = (
        await ask(
            "/model/amazon.titan-embed-text-v2%3A0/invoke",
            {"inputText": "spade", "dimensions": 256},
        )
    ).json

    assert body["results"][0] == {
        "tokenCount": 4,
        "outputText": "1 2 3 4",
        "completionReason": "LENGTH",
    }
    assert "".join(event["outputText"] for event in events) == "1 2 3 4"
    assert events[-1]["totalOutputTextTokenCount"] == 4
    assert (len(first["embedding"]), len(second["embedding"])) == (1536, 256)
    assert second["embeddingsByType"]["float"] == second["embedding"]


@pytest.mark.parametrize(
    ("path", "fields", "status", "name"),
    [
        pytest.param("/model/nothing/converse", converse(), 400, "ValidationException", id="model"),
        pytest.param(CLAUDE + "/sing", {}, 404, "UnknownOperationException", id="operation"),
        pytest.param(
            "/model/arn:aws:bedrock:us-east-1:1:application-inference-profile/abc/converse",
            converse(),
            404,
            "UnknownOperationException",
            id="a literal slash inside the model id",
        ),
        pytest.param(CLAUDE + "/converse", {}, 400, "ValidationException", id="no messages"),
        pytest.param(CLAUDE + "/invoke", {}, 400, "ValidationException", id="no version"),
        pytest.param(CLAUDE + "/invoke", [], 400, "ValidationException", id="no object"),
        pytest.param(TITAN + "/invoke", {}, 400, "ValidationException", id="no text"),
        pytest.param(
            "/model/meta.llama3-8b-instruct-v1%3A0/invoke",
            {},
            400,
            "ValidationException",
            id="body",
        ),
    ],
)
async def test_a_wrong_request_is_refused_in_the_vendors_format(
    path: str, fields: Any, status: int, name: str
) -> None:
    got = await ask(path, fields)

    assert got.status == status
    assert got.headers["x-amzn-errortype"].split(":")[0] == name
    assert isinstance(got.json, dict)


async def test_an_inference_profile_is_one_encoded_segment() -> None:
    arn = "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc"

    assert (await ask(f"/model/{arn}/converse", converse())).status == 200
    assert (await ask(f"/model/{arn}/invoke", claude())).status == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer invalid",
        "AWS4-HMAC-SHA256 Credential=invalid/20260101/us-east-1/bedrock/aws4_request",
    ],
)
async def test_the_key_named_invalid_is_refused(authorization: str) -> None:
    got = await ask(CLAUDE + "/converse", converse(), headers=[("Authorization", authorization)])

    assert got.status == 403
    assert got.headers["x-amzn-errortype"].startswith("UnrecognizedClientException")
