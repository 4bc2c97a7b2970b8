from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exchange_cases import SPAN_ID, TRACE_ID, Case, encode_body, own_case, own_cases
from tracequill_collector.errors import PermanentError
from tracequill_collector.recorder import attributes, bedrock, openai
from tracequill_collector.recorder.call import Call
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import RecordedSpan, encode_span

_CASES = own_cases()
_CHAT = own_case("openai-chat")
_STREAM = own_case("openai-chat-stream")


def _span(case: Case = _CHAT, **changes: Any) -> RecordedSpan:
    return interpret(case.exchange(**changes), "default-project")


def test_ids_times_and_parent_come_from_the_exchange() -> None:
    span = _span(parent_span_id="00f067aa0ba902b7")

    assert (span.trace_id, span.span_id) == (TRACE_ID, SPAN_ID)
    assert span.parent_span_id == "00f067aa0ba902b7"
    assert span.end_unix_ns - span.start_unix_ns == 1_000_000_000


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_the_same_exchange_gives_the_same_span(case: Case) -> None:
    first, second = (encode_span(_span(case)).SerializeToString() for _ in range(2))

    assert first == second


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_every_span_says_what_kind_it_is(case: Case) -> None:
    assert _span(case).attributes["openinference.span.kind"] in ("LLM", "EMBEDDING", "CHAIN")


def test_facts_stand_on_every_span() -> None:
    found = _span(chunk_count=3, region="us-east-1").attributes

    assert {key: found[key] for key in sorted(found) if key.startswith("tracequill.")} == {
        attributes.CHUNK_COUNT: 3,
        attributes.METHOD: "POST",
        attributes.PATH: "/v1/chat/completions",
        attributes.STATUS_CODE: 200,
        attributes.RATE_LIMITS: json.dumps(
            {
                "x-ratelimit-limit-requests": "500",
                "x-ratelimit-remaining-requests": "499",
                "x-ratelimit-remaining-tokens": "199000",
            }
        ),
        attributes.REGION: "us-east-1",
        attributes.REQUEST_BYTES: len(_CHAT.request_body),
        attributes.REQUEST_CONTENT_TYPE: "application/json",
        attributes.RESPONSE_BYTES: len(_CHAT.response_body),
        attributes.RESPONSE_CONTENT_TYPE: "application/json",
        attributes.ROUTE: "openai",
        attributes.TIME_TO_FIRST_TOKEN_MS: 250.0,
        attributes.UPSTREAM_REQUEST_ID: "req_0001",
        attributes.VENDOR: "openai",
    }


def test_session_user_tags_and_metadata_stand_on_every_span() -> None:
    found = _span(
        session_id="conv-42", user_id="u-7", tags=("beta", "de"), metadata='{"team": "desk"}'
    ).attributes

    assert found["session.id"] == "conv-42"
    assert found["user.id"] == "u-7"
    assert found["tag.tags"] == ["beta", "de"]
    assert found["metadata"] == '{"team": "desk"}'


def test_metadata_that_is_no_object_is_a_problem() -> None:
    found = _span(metadata="[1]").attributes

    assert "metadata" not in found
    assert found[attributes.PROBLEM] == "metadata is not a JSON object"


def test_the_project_is_that_of_the_call_or_the_default() -> None:
    assert _span(project_name="support-bot").project_name == "support-bot"
    assert _span().project_name == "default-project"


@pytest.mark.parametrize("case", [_CHAT, _STREAM], ids=["plain", "stream"])
def test_a_traced_call_gives_its_facts_and_no_second_llm_span(case: Case) -> None:
    span = _span(case, traced=True, parent_span_id="00f067aa0ba902b7", session_id="conv-42")

    assert span.name == "tracequill.proxy"
    assert span.attributes["openinference.span.kind"] == "CHAIN"
    assert span.attributes[attributes.UPSTREAM_REQUEST_ID] == "req_0001"
    assert not [key for key in span.attributes if key.startswith(("llm.", "input.", "output."))]
    assert span.events == []


def test_a_traced_call_that_failed_says_only_the_status() -> None:
    span = _span(own_case("openai-chat-rate-limited"), traced=True)

    assert (span.status, span.status_message) == ("ERROR", "HTTP 429")


def test_a_format_that_is_not_known_is_recorded_plainly() -> None:
    span = _span(own_case("anthropic-messages"))

    assert span.name == "POST /v1/messages"
    assert span.attributes["openinference.span.kind"] == "CHAIN"
    assert span.attributes["llm.model_name"] == "claude-small"
    assert json.loads(span.attributes["output.value"])["stop_reason"] == "end_turn"
    assert not [key for key in span.attributes if key.startswith("llm.token_count")]


def test_reading_a_stored_response_counts_no_tokens_again() -> None:
    span = _span(own_case("openai-responses"), method="GET", path="/v1/responses/resp_01")

    assert span.name == "GET /v1/responses/resp_01"
    assert not [key for key in span.attributes if key.startswith("llm.token_count")]


def test_keys_in_a_plain_answer_are_removed() -> None:
    body = b'{"value": "sk-admin-0123456789abcdef"}'
    span = _span(
        path="/v1/organization/admin_api_keys",
        response_body=body,
        response_body_bytes=len(body),
    )

    assert span.attributes["output.value"] == '{"value": "[key removed]"}'


def test_a_cut_request_is_kept_as_text_with_a_mark() -> None:
    beginning = _CHAT.request_body[:40]
    span = _span(request_body=beginning)

    assert span.attributes["input.value"] == beginning.decode()
    assert span.attributes[attributes.REQUEST_CUT] is True
    assert span.attributes[attributes.PROBLEM] == "request body is not a JSON object"
    assert span.attributes["llm.model_name"] == "gpt-5-nano-2026-01-01"


def test_a_cut_stream_gives_what_came() -> None:
    beginning = _STREAM.response_body[: _STREAM.response_body.index(b"Havel")]
    span = _span(_STREAM, response_body=beginning)

    assert span.attributes["llm.output_messages.0.message.content"] == "Into the "
    assert span.attributes[attributes.RESPONSE_CUT] is True
    assert span.status == "OK"


def test_a_client_that_left_early_is_neither_success_nor_failure() -> None:
    span = _span(_STREAM, end="client_disconnected")

    assert span.status == "UNSET"
    assert span.attributes[attributes.END] == "client_disconnected"


@pytest.mark.parametrize("end", ["upstream_cut", "upstream_unreachable"])
def test_an_upstream_that_failed_is_an_error(end: str) -> None:
    span = _span(
        end=end, error="connection reset", status=0, response_body=b"", first_byte_unix_ns=0
    )

    assert (span.status, span.status_message) == ("ERROR", "connection reset")
    assert span.events[-1].attributes["exception.type"] == f"tracequill.{end}"
    assert span.attributes["llm.input_messages.1.message.role"] == "user"
    assert attributes.STATUS_CODE not in span.attributes


@pytest.mark.parametrize("encoding", ["compress", "x-unknown"])
def test_an_encoding_that_is_not_known_is_a_problem(encoding: str) -> None:
    headers = (("content-type", "application/json"), ("content-encoding", encoding))
    span = _span(response_headers=headers)

    assert encoding in span.attributes[attributes.PROBLEM]
    assert span.status == "OK"


@pytest.mark.parametrize(
    "wrong",
    [
        {"trace_id": "0af7"},
        {"trace_id": "0" * 32},
        {"span_id": "B7AD6B7169203331"},
        {"span_id": "0" * 16},
        {"parent_span_id": "xyz"},
        {"end_unix_ns": -1},
    ],
    ids=str,
)
def test_an_exchange_without_usable_ids_or_times_makes_no_span(wrong: dict[str, Any]) -> None:
    with pytest.raises(PermanentError, match=r"exchange has"):
        _span(**wrong)


def test_an_interpreter_that_fails_leaves_a_plain_span(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(call: Call) -> None:
        raise LookupError(call.request_text)

    monkeypatch.setattr("tracequill_collector.recorder.interpret._INTERPRETERS", (fail,))
    span = _span()

    assert span.name == "POST /v1/chat/completions"
    assert span.attributes[attributes.PROBLEM] == "cannot be interpreted (LookupError)"


# --- nothing raises for bad data ----------------------------------------------------------

_WORDS = st.sampled_from(
    """messages role content type text tool_calls function name arguments id index delta choices
    usage input output tools system toolUse toolResult source bytes message data embedding prompt
    contentBlockIndex start stopReason results generations model input_tokens image_url url summary
    inferenceConfig additionalModelRequestFields toolConfig json metadata response error""".split()
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats() | _WORDS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=5),
    max_leaves=20,
)


def _changed(value: Any, change: st.DataObject, depth: int = 0) -> Any:
    """Give a valid body in which some values are replaced by any others."""
    if depth and change.draw(st.integers(0, 9)) == 0:
        return change.draw(_VALUES)
    if isinstance(value, dict):
        return {key: _changed(item, change, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_changed(item, change, depth + 1) for item in value]
    return value


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_json_makes_an_interpreter_raise(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from([case for case in _CASES if case.vendor != "anthropic"]))
    request = _changed(case.request_json, data) if case.request_body else None
    response: Any = None
    if case.response_headers[0][1] == "application/json" and case.response_body:
        response = _changed(json.loads(case.response_body), data)
    exchange = case.exchange(
        request_body=json.dumps(request).encode(),
        response_body=case.response_body if response is None else json.dumps(response).encode(),
    )
    call = Call(exchange)

    _ = bedrock.interpret(call) or openai.interpret(call)
    encode_span(interpret(exchange, "p"))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_stream_makes_an_interpreter_raise(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(["chat/completions", "responses", "completions"]))
    events = data.draw(st.lists(st.dictionaries(_WORDS, _VALUES, max_size=5), max_size=5))
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    exchange = _STREAM.exchange(path=f"/v1/{path}", response_body=body)

    openai.interpret(Call(exchange))
    encode_span(interpret(exchange, "p"))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_event_stream_makes_an_interpreter_raise(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from([case for case in _CASES if "stream" in case.path]))
    body = bytearray(case.response_body)
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] ^= 1
    exchange = case.exchange(response_body=bytes(body[: data.draw(st.integers(0, len(body)))]))

    bedrock.interpret(Call(exchange))
    encode_span(interpret(exchange, "p"))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_event_of_bedrock_makes_an_interpreter_raise(data: st.DataObject) -> None:
    kinds = ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop"]
    claude = ["message_start", "content_block_start", "content_block_delta", "message_delta"]
    events = []
    for _ in range(data.draw(st.integers(1, 6))):
        event = data.draw(st.dictionaries(_WORDS, _VALUES, max_size=5))
        event["type"] = data.draw(st.sampled_from([*claude, "message_stop"]))
        event[data.draw(st.sampled_from([*kinds, "metadata"]))] = data.draw(_VALUES)
        events.append((data.draw(st.sampled_from([*kinds, "messageStop", "metadata"])), event))
    case = data.draw(st.sampled_from([case for case in _CASES if "stream" in case.path]))
    call = Call(case.exchange(response_body=b"".join(_frames(events, "invoke" in case.path))))

    bedrock.interpret(call)


def _frames(events: list[tuple[str, Any]], chunked: bool) -> list[bytes]:
    return [
        encode_body(
            {"eventstream": [{"chunk": event} if chunked else {"event": kind, "payload": event}]}
        )
        for kind, event in events
    ]
