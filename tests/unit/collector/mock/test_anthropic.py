"""Anthropic's messages, token counts, models and errors."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.unit.collector.mock.exchange import Got, ask, fixed_upstream

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
VERSION = [("anthropic-version", "2023-06-01")]
TOOL = {
    "name": "get_weather",
    "description": "finds the weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


def body(*texts: str, **more: Any) -> dict[str, Any]:
    """A request with *texts* as the turns of user and assistant."""
    roles = ("user", "assistant")
    turns = [{"role": roles[index % 2], "content": text} for index, text in enumerate(texts)]
    return {"model": "claude-haiku-4-5", "max_tokens": 200, "messages": turns, **more}


async def send(fields: Any, path: str = MESSAGES, **more: Any) -> Got:
    return await ask(path, fields, headers=VERSION, **more)


def whole(got: Got) -> dict[str, Any]:
    """The message that a stream's events stand for, put together by hand."""
    message: dict[str, Any] = {}
    written: dict[int, str] = {}
    for event in got.events:
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                message["content"].append(event["content_block"])
                written[event["index"]] = ""
            case "content_block_delta":
                block, delta = message["content"][event["index"]], event["delta"]
                match delta["type"]:
                    case "signature_delta":
                        block["signature"] = delta["signature"]
                    case "thinking_delta":
                        block["thinking"] += delta["thinking"]
                    case "text_delta":
                        block["text"] += delta["text"]
                    case "input_json_delta":
                        written[event["index"]] += delta["partial_json"]
            case "message_delta":
                message |= event["delta"]
                message["usage"] |= event["usage"]
    for index, text in written.items():
        if text:
            message["content"][index]["input"] = orjson.loads(text)
    return message


async def test_a_message_has_the_shape_of_the_vendor() -> None:
    got = await send(body("How do I cancel my order?"))

    message = got.json
    assert got.status == 200
    assert got.headers["content-type"] == "application/json"
    assert got.headers["request-id"].startswith("req_01")
    assert got.headers["anthropic-ratelimit-requests-remaining"] == "3999"
    assert message["id"].startswith("msg_01")
    assert (message["type"], message["role"]) == ("message", "assistant")
    assert message["model"] == "claude-haiku-4-5-20251001"
    assert message["content"][0]["type"] == "text"
    assert message["stop_reason"] == "end_turn"
    assert message["usage"]["input_tokens"] > 0
    assert message["usage"]["output_tokens"] > 0


async def test_the_events_of_a_stream_are_the_same_message() -> None:
    asked = body("Repeat after me: Grüße 😀", thinking={"type": "adaptive"})
    plain = (await send(asked)).json
    got = await send({**asked, "stream": True})

    kinds = [event["type"] for event in got.events]
    assert got.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert kinds[:3] == ["message_start", "content_block_start", "ping"]
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert len(got.chunks) == len(kinds)
    assert got.chunks[0].startswith(b"event: message_start\ndata: {")
    # The id hangs on the body, which says in one of them that a stream is wanted.
    streamed = whole(got)
    assert streamed["content"][-1] == plain["content"][-1] == {"type": "text", "text": "Grüße 😀"}
    assert streamed["content"][0]["thinking"] == plain["content"][0]["thinking"]
    assert streamed["usage"] == plain["usage"]
    assert plain["usage"]["output_tokens_details"]["thinking_tokens"] > 0


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_are_called_and_what_they_return_is_reported(streamed: bool) -> None:
    asked = body("What is the weather in Paris and in London?", tools=[TOOL])
    got = await send({**asked, "stream": streamed})
    message = whole(got) if streamed else got.json
    calls = [block for block in message["content"] if block["type"] == "tool_use"]
    results = [
        {
            "type": "tool_result",
            "tool_use_id": call["id"],
            "content": [{"type": "text", "text": f"sunny in {call['input']['city']}"}],
        }
        for call in calls
    ]
    turns = [
        *asked["messages"],
        {"role": "assistant", "content": message["content"]},
        {"role": "user", "content": results},
    ]
    final = (await send({**asked, "messages": turns})).json

    assert message["stop_reason"] == "tool_use"
    assert all(call["id"].startswith("toolu_01") for call in calls)
    assert [call["input"]["city"] for call in calls] == ["Paris", "London"]
    assert final["content"][0]["text"] == ("Here is what I found. sunny in Paris. sunny in London.")


async def test_an_answer_ends_at_a_limit_a_stop_sequence_or_before_it_begins() -> None:
    cut = (await send(body("Count to 9", max_tokens=3))).json
    stopped = (await send(body("Count to 9", stop_sequences=["5"]))).json
    nothing = (await send(body("Count to 9", max_tokens=0))).json

    assert cut["stop_reason"] == "max_tokens"
    assert cut["usage"]["output_tokens"] == 3
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", "5")
    assert nothing["content"] == []
    assert nothing["usage"]["output_tokens"] == 0


async def test_system_images_and_a_schema_are_read() -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}}
    shaped = (
        await send(
            body(
                "Repeat after me: yes",
                system=[{"type": "text", "text": "Be short."}],
                output_config={"format": {"type": "json_schema", "schema": schema}},
            )
        )
    ).json
    image = {"type": "image", "source": {"type": "url", "url": "https://pictures.test/a.png"}}
    seen = [{"role": "user", "content": [image, {"type": "text", "text": "Hello"}]}]
    counted = (await send({**body(), "messages": seen}, COUNT)).json
    without = (await send(body("Hello"), COUNT)).json

    assert shaped["content"][0]["text"].startswith('{"answer":')
    assert counted["input_tokens"] == without["input_tokens"] + 85


async def test_a_count_is_what_the_same_message_costs() -> None:
    asked = body("How do I cancel my order?", tools=[TOOL], system="Be kind.")
    counted = (await send(asked, COUNT)).json

    assert counted == {"input_tokens": (await send(asked)).json["usage"]["input_tokens"]}


async def test_a_long_prompt_that_may_be_cached_is_read_from_the_cache() -> None:
    long = "word " * 1500
    plain = (await send(body(long))).json["usage"]
    cached = (await send(body(long, cache_control={"type": "ephemeral"}))).json["usage"]

    assert plain["cache_read_input_tokens"] == 0
    assert cached["cache_read_input_tokens"] > 1024
    assert cached["input_tokens"] + cached["cache_read_input_tokens"] == plain["input_tokens"]


async def test_models_are_listed_and_found() -> None:
    listed = (await send(None, "/v1/models", method="GET")).json
    found = (await send(None, "/v1/models/claude-opus-4-5", method="GET")).json
    missing = await send(None, "/v1/models/nothing", method="GET")

    assert found in listed["data"]
    assert listed["last_id"] == listed["data"][-1]["id"]
    assert missing.status == 404


@pytest.mark.parametrize(
    ("fields", "status", "kind", "said"),
    [
        pytest.param([], 400, "invalid_request_error", "an object", id="no object"),
        pytest.param({}, 400, "invalid_request_error", "model: Field required", id="no model"),
        pytest.param(body("?", model=4), 400, "invalid_request_error", "model: ", id="model"),
        pytest.param(body("?", model="gpt-4o"), 404, "not_found_error", "model: gpt-4o", id="gpt"),
        pytest.param(
            body("?", max_tokens="9"), 400, "invalid_request_error", "max_tokens: ", id="text"
        ),
        pytest.param(
            body("?", max_tokens=-1), 400, "invalid_request_error", "max_tokens: ", id="-1"
        ),
        pytest.param(body(), 400, "invalid_request_error", "at least one", id="no messages"),
        pytest.param(body(""), 400, "invalid_request_error", "non-empty", id="empty"),
        pytest.param(
            body("?", temperature=1.5), 400, "invalid_request_error", "range: 0..1", id="heat"
        ),
        pytest.param(
            body(messages=[{"role": "tool", "content": "?"}]),
            400,
            "invalid_request_error",
            'Unexpected role "tool"',
            id="role",
        ),
        pytest.param(
            body(messages=[{"role": "assistant", "content": "?"}]),
            400,
            "invalid_request_error",
            "first message",
            id="assistant first",
        ),
        pytest.param(
            body("?", thinking={"type": "enabled", "budget_tokens": 2048}),
            400,
            "invalid_request_error",
            "must be greater than `thinking.budget_tokens`",
            id="budget",
        ),
        pytest.param(
            body(
                messages=[
                    {"role": "user", "content": "?"},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "a"}]},
                    {"role": "user", "content": "never mind"},
                ]
            ),
            400,
            "invalid_request_error",
            "`tool_use` ids were found without `tool_result` blocks immediately after: a",
            id="call without result",
        ),
        pytest.param(
            body(
                messages=[
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "tool_use_id": "b", "content": "?"}],
                    }
                ]
            ),
            400,
            "invalid_request_error",
            "unexpected `tool_use_id` found in `tool_result` blocks: b",
            id="result without call",
        ),
    ],
)
async def test_what_the_vendor_refuses_is_refused_in_its_words(
    fields: Any, status: int, kind: str, said: str
) -> None:
    got = await send(fields)

    assert got.status == status
    assert got.json["type"] == "error"
    assert got.json["error"]["type"] == kind
    assert said in got.json["error"]["message"]
    assert got.json["request_id"] == got.headers["request-id"]


async def test_key_version_path_and_method_are_checked() -> None:
    strange = [*VERSION, ("x-api-key", "invalid")]
    bearer = [*VERSION, ("authorization", "Bearer invalid")]

    assert (await ask(MESSAGES, body("?"), headers=strange)).status == 401
    assert (await ask(MESSAGES, body("?"), headers=bearer)).status == 401
    assert (await ask(MESSAGES, body("?"))).json["error"]["message"].startswith("anthropic-version")
    assert (await send(None, method="GET")).status == 405
    assert (await send({}, "/v1/messages/batches")).status == 404
    assert (await send(None, body=b"{")).status == 400


async def test_faults_are_the_vendors_own() -> None:
    upstream = fixed_upstream(error_share=1)
    plain = [await send(body("Hello"), upstream=upstream) for _ in range(3)]
    broken = await send(body("Hello", stream=True), upstream=upstream)
    limited = fixed_upstream(requests_per_second=1)
    await send(body("Hello"), upstream=limited)
    waiting = await send(body("Hello"), upstream=limited)

    assert [got.status for got in plain] == [500, 429, 529]
    assert [got.json["error"]["type"] for got in plain] == [
        "api_error",
        "rate_limit_error",
        "overloaded_error",
    ]
    assert broken.status == 200
    assert broken.chunks[-1].startswith(b"event: error\ndata: ")
    assert broken.events[-1]["error"]["type"] == "overloaded_error"
    assert "content-length" not in broken.headers
    assert waiting.status == 429
    assert waiting.headers["retry-after"] == "1"
