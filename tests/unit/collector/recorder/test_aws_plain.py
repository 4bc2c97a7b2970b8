from __future__ import annotations

import json
from typing import Any

import pytest

from tests.exchange_cases import encode_eventstream, own_case
from tracequill_collector.recorder import attributes
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import RecordedSpan


def _span(case: str, **changes: Any) -> RecordedSpan:
    return interpret(own_case(case).exchange(**changes), "p")


def test_the_events_of_a_stream_that_nobody_knows_are_the_output() -> None:
    span = _span("bedrock-agent-flow")

    assert span.name == "POST /flows/FLOW000001/aliases/ALIAS00001"
    assert span.attributes["openinference.span.kind"] == "CHAIN"
    first, last = json.loads(span.attributes["output.value"])
    assert first["flowOutputEvent"]["content"] == {"document": "In the Havel."}
    assert last == {"flowCompletionEvent": {"completionReason": "SUCCESS"}}


def test_an_exception_among_them_is_the_status() -> None:
    span = _span("bedrock-agent-flow-exception")

    assert span.status == "ERROR"
    assert span.status_message == (
        "EventStreamError: An error occurred (dependencyFailedException) when calling the "
        "POST /flows/FLOW000001/aliases/ALIAS00001 operation: A node did not answer."
    )
    assert len(json.loads(span.attributes["output.value"])) == 1


def test_an_event_that_is_no_json_is_text_and_a_cut_is_a_problem() -> None:
    body = (
        encode_eventstream({":message-type": "event", ":event-type": "audio"}, b"\xffpiece")
        + b"\x00\x00"
    )
    found = _span("bedrock-agent-flow", response_body=body).attributes

    assert json.loads(found["output.value"]) == [{"audio": "\ufffdpiece"}]
    assert "event stream is cut" in found[attributes.PROBLEM]


def test_the_model_is_found_where_aws_writes_it() -> None:
    model = "arn:aws:bedrock:us-east-1::foundation-model/cohere.rerank-v3-5:0"
    assert _span("bedrock-agent-rerank").attributes["llm.model_name"] == model
    assert _span("bedrock-async-invoke").attributes["llm.model_name"] == "amazon.nova-reel-v1:0"
    counted = _span("bedrock-count-tokens").attributes
    assert counted["llm.model_name"] == "anthropic.claude-3-haiku-20240307-v1:0"


def test_counting_tokens_uses_none() -> None:
    found = _span("bedrock-count-tokens").attributes

    assert found["output.value"] == '{"inputTokens": 14}'
    assert not [name for name in found if name.startswith("llm.token_count")]


def test_listing_inference_profiles_is_a_plain_span() -> None:
    changes = {"method": "GET", "path": "/inference-profiles?maxResults=100", "request_body": b""}
    span = _span("bedrock-async-invokes", **changes)

    assert span.name == "GET /inference-profiles"
    assert span.attributes["openinference.span.kind"] == "CHAIN"
    assert span.status == "OK"


@pytest.mark.parametrize(
    ("case", "path"),
    [
        ("openai-chat", "/openai/v1/chat/completions"),
        ("openai-chat-stream", "/v1/chat/completions"),
        ("openai-responses-stream", "/v1/responses"),
    ],
)
def test_openai_s_format_on_aws_is_read_as_openai_s(case: str, path: str) -> None:
    """B14: Bedrock's runtime and its other host, bedrock-mantle, send server-sent events there."""
    changed = _span(case, vendor="bedrock", route="mantle", path=path)
    usual = _span(case)

    assert changed.name == usual.name
    assert changed.attributes["llm.provider"] == "aws"
    for name, value in usual.attributes.items():
        if not name.startswith((attributes.PREFIX, "llm.provider")):
            assert changed.attributes[name] == value
