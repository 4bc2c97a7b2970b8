from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from tests.unit.collector.mock.exchange import NOW, ask, fixed_upstream

CHAT = "/v1/chat/completions"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "finds the weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def chat(question: str = "How do I cancel my order?", **fields: Any) -> dict[str, Any]:
    return {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": question}],
        **fields,
    }


async def test_a_chat_completion_has_the_fields_and_the_order_of_the_vendor() -> None:
    got = await ask(CHAT, chat())

    body = got.json
    assert got.status == 200
    assert list(body) == [
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "service_tier",
        "system_fingerprint",
    ]
    assert list(body["choices"][0]) == ["index", "message", "logprobs", "finish_reason"]
    assert body["created"] == int(NOW)
    assert body["model"] == "gpt-4o-mini-2024-07-18"
    assert body["choices"][0]["message"]["content"].startswith("An order can be cancelled")
    assert body["usage"]["total_tokens"] == (
        body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    )
    assert got.body.startswith(b'{\n  "id": "chatcmpl-')
    assert got.headers["content-length"] == str(len(got.body))
    assert got.headers["x-request-id"].startswith("req_")
    assert got.headers["openai-version"] == "2020-10-01"
    assert "x-ratelimit-remaining-requests" in got.headers


async def test_the_same_request_gives_the_same_bytes() -> None:
    first = await ask(CHAT, chat(stream=True))
    second = await ask(CHAT, chat(stream=True))
    other = await ask(CHAT, chat("Hello", stream=True))

    assert first.chunks == second.chunks
    assert first.headers == second.headers
    assert other.events[0]["id"] != first.events[0]["id"]


async def test_a_stream_says_what_the_plain_answer_says() -> None:
    plain = (await ask(CHAT, chat("Repeat after me: Grüße 😀"))).json
    got = await ask(
        CHAT, chat("Repeat after me: Grüße 😀", stream=True, stream_options={"include_usage": True})
    )

    events = got.events
    text = "".join(
        event["choices"][0]["delta"].get("content", "") for event in events if event["choices"]
    )
    assert text == plain["choices"][0]["message"]["content"]
    assert events[0]["choices"][0]["delta"] == {
        "role": "assistant",
        "content": "",
        "refusal": None,
    }
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == plain["usage"]
    assert events[0]["usage"] is None
    assert got.chunks[-1] == b"data: [DONE]\n\n"
    assert "content-length" not in got.headers
    assert got.headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_a_stream_counts_and_hides_only_as_asked() -> None:
    silent = (await ask(CHAT, chat(stream=True))).events
    bare = (
        await ask(CHAT, chat(stream=True, stream_options={"include_obfuscation": False}))
    ).events

    assert all("usage" not in event for event in silent)
    assert all("obfuscation" in event for event in silent)
    assert all("obfuscation" not in event for event in bare)


async def test_calls_come_plain_and_in_pieces() -> None:
    fields = chat("What is the weather in Paris and in London?", tools=[WEATHER])
    message = (await ask(CHAT, fields)).json["choices"][0]["message"]
    events = (await ask(CHAT, {**fields, "stream": True})).events

    assert message["content"] is None
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == [
        '{"city":"Paris"}',
        '{"city":"London"}',
    ]
    pieces = [
        part for event in events for part in event["choices"][0]["delta"].get("tool_calls", [])
    ]
    for index in (0, 1):
        own = [part for part in pieces if part["index"] == index]
        written = "".join(part["function"]["arguments"] for part in own)
        assert written == message["tool_calls"][index]["function"]["arguments"]
        assert own[0]["function"]["name"] == "get_weather"
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_several_choices_differ_and_all_count() -> None:
    one = (await ask(CHAT, chat())).json
    three = (await ask(CHAT, chat(n=3))).json

    texts = {choice["message"]["content"] for choice in three["choices"]}
    assert [choice["index"] for choice in three["choices"]] == [0, 1, 2]
    assert len(texts) == 3
    assert three["usage"]["completion_tokens"] > 3 * one["usage"]["completion_tokens"]


async def test_json_answers_are_json_and_fit_their_schema() -> None:
    schema = {
        "type": "object",
        "properties": {"reply": {"type": "string"}, "sure": {"type": "boolean"}},
        "required": ["reply", "sure"],
    }
    any_object = await ask(
        CHAT, chat("Answer in JSON: hello", response_format={"type": "json_object"})
    )
    shaped = await ask(
        CHAT,
        chat(
            response_format={"type": "json_schema", "json_schema": {"name": "r", "schema": schema}}
        ),
    )

    assert any_object.json["choices"][0]["message"]["content"].startswith('{"answer":')
    assert '"sure":true' in shaped.json["choices"][0]["message"]["content"]


async def test_a_limit_cuts_the_answer_and_says_so() -> None:
    choice = (await ask(CHAT, chat("Count to 50", max_completion_tokens=5))).json["choices"][0]

    assert choice["message"]["content"] == "1 2 3 4 5"
    assert choice["finish_reason"] == "length"


async def test_a_long_prompt_has_cached_tokens_and_a_reasoning_model_thinks() -> None:
    long = (await ask(CHAT, chat("word " * 2000, model="o4-mini"))).json["usage"]

    assert long["prompt_tokens_details"]["cached_tokens"] > 1024
    assert long["completion_tokens_details"]["reasoning_tokens"] == 64


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        pytest.param({"messages": []}, 400, None, None, id="no model"),
        pytest.param({"model": "gpt-4o"}, 400, "missing_required_parameter", "messages", id="none"),
        pytest.param(
            {"model": "gpt-4o", "messages": []}, 400, "empty_array", "messages", id="zero"
        ),
        pytest.param(chat(model="no-such"), 404, "model_not_found", None, id="unknown model"),
        pytest.param(chat(model="text-embedding-3-small"), 404, None, "model", id="embeddings"),
        pytest.param(chat(n=1000), 400, "integer_above_max_value", "n", id="too many choices"),
        pytest.param(
            chat(temperature=3), 400, "decimal_above_max_value", "temperature", id="too hot"
        ),
        pytest.param(
            {"model": "gpt-4o", "messages": [{"role": "bird", "content": ""}]},
            400,
            "invalid_value",
            "messages[0].role",
            id="unknown role",
        ),
        pytest.param(
            chat(response_format={"type": "json_object"}), 400, None, "messages", id="no json said"
        ),
    ],
)
async def test_a_wrong_request_is_refused_in_the_vendors_format(
    fields: Any, status: int, code: str | None, param: str | None
) -> None:
    got = await ask(CHAT, fields)

    error = got.json["error"]
    assert got.status == status
    assert (error["code"], error["param"]) == (code, param)
    assert error["type"] == "invalid_request_error"
    assert got.headers["content-type"] == "application/json"


async def test_paths_methods_keys_and_bodies_are_checked() -> None:
    bad_body = await ask(CHAT, body=b"{")
    unknown = await ask("/v1/nothing", {})
    wrong_method = await ask(CHAT, method="GET")
    wrong_key = await ask(CHAT, chat(), headers=[("Authorization", "Bearer invalid")])

    assert bad_body.status == 400
    assert "not valid JSON" in bad_body.json["error"]["message"]
    assert (unknown.status, unknown.json["error"]["message"]) == (
        404,
        "Invalid URL (POST /v1/nothing)",
    )
    assert (wrong_method.status, wrong_method.json["error"]["code"]) == (
        405,
        "method_not_supported",
    )
    assert (wrong_key.status, wrong_key.json["error"]["code"]) == (401, "invalid_api_key")


async def test_models_are_listed_and_described() -> None:
    listed = (await ask("/v1/models?limit=1", method="GET")).json
    one = (await ask("/v1/models/gpt-4o", method="GET")).json
    missing = await ask("/v1/models/nothing", method="GET")

    assert one in listed["data"]
    assert (missing.status, missing.json["error"]["code"]) == (404, "model_not_found")


async def test_embeddings_are_the_same_unit_vectors_as_numbers_and_as_base64() -> None:
    fields = {"model": "text-embedding-3-small", "input": ["a parcel", "a spade"]}
    numbers = (await ask("/v1/embeddings", fields)).json
    packed = (await ask("/v1/embeddings", {**fields, "encoding_format": "base64"})).json

    for plain, encoded in zip(numbers["data"], packed["data"], strict=True):
        vector = plain["embedding"]
        raw = base64.b64decode(encoded["embedding"])
        assert len(vector) == 1536
        assert abs(sum(value * value for value in vector) - 1) < 1e-5
        assert struct.pack(f"<{len(vector)}f", *vector) == raw
    assert numbers["usage"] == {"prompt_tokens": 4, "total_tokens": 4}


@pytest.mark.parametrize("value", ["", [], [[]], None, 5, ["a", 1]])
async def test_an_embedding_of_nothing_is_refused(value: Any) -> None:
    got = await ask("/v1/embeddings", {"model": "text-embedding-3-small", "input": value})

    assert got.status == 400


async def test_embeddings_take_tokens_and_fewer_dimensions() -> None:
    fields = {"model": "text-embedding-3-large", "input": [[1, 2, 3], [4]], "dimensions": 8}
    body = (await ask("/v1/embeddings", fields)).json

    assert [len(item["embedding"]) for item in body["data"]] == [8, 8]
    assert body["usage"]["prompt_tokens"] == 4


async def test_a_response_streams_the_events_of_the_vendor_in_order() -> None:
    fields = {"model": "gpt-4.1", "input": "Repeat after me: one two", "stream": True}
    got = await ask("/v1/responses", fields)

    kinds = [event["type"] for event in got.events]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in got.events] == list(range(len(kinds)))
    assert got.chunks[0].startswith(b"event: response.created\ndata: {")
    plain = (await ask("/v1/responses", {**fields, "stream": False})).json
    assert got.events[-1]["response"]["output"][0]["content"] == plain["output"][0]["content"]


async def test_a_response_calls_a_function_and_then_reports_what_it_returned() -> None:
    tool = {"type": "function", **WEATHER["function"]}  # type: ignore[dict-item]
    fields = {"model": "gpt-4.1", "input": "What is the weather in Paris?", "tools": [tool]}
    upstream = fixed_upstream()
    asked = (await ask("/v1/responses", fields, upstream=upstream)).json
    call = asked["output"][0]
    done = await ask(
        "/v1/responses",
        {
            "model": "gpt-4.1",
            "previous_response_id": asked["id"],
            "input": [
                {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
            ],
        },
        upstream=upstream,
    )

    assert (call["type"], call["name"], call["arguments"]) == (
        "function_call",
        "get_weather",
        '{"city":"Paris"}',
    )
    assert done.json["output"][0]["content"][0]["text"] == "Here is what I found. sunny."


async def test_an_unknown_previous_response_is_refused() -> None:
    got = await ask(
        "/v1/responses", {"model": "gpt-4.1", "input": "x", "previous_response_id": "resp_0"}
    )

    assert (got.status, got.json["error"]["code"]) == (400, "previous_response_not_found")


async def test_a_response_past_its_limit_is_incomplete() -> None:
    fields = {"model": "gpt-4.1", "input": "Count to 50", "max_output_tokens": 16}
    body = (await ask("/v1/responses", fields)).json
    last = (await ask("/v1/responses", {**fields, "stream": True})).events[-1]

    assert body["status"] == "incomplete"
    assert body["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["type"] == "response.incomplete"
