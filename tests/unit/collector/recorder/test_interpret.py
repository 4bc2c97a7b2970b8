from __future__ import annotations

import json
from typing import Any

import pytest
from openinference.semconv.trace import OpenInferenceSpanKindValues

from tests.exchange_cases import SPAN_ID, START_UNIX_NS, TRACE_ID, Case, own_case, own_cases
from tracequill_collector.errors import PermanentError
from tracequill_collector.recorder import attributes
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


def test_a_clock_that_was_set_back_during_the_call_makes_no_negative_time() -> None:
    start = START_UNIX_NS
    span = _span(end_unix_ns=start - 5_000_000_000, first_byte_unix_ns=start - 6_000_000_000)

    assert (span.start_unix_ns, span.end_unix_ns) == (start, start)
    assert "tracequill.time_to_first_token_ms" not in span.attributes


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_the_same_exchange_gives_the_same_span(case: Case) -> None:
    first, second = (encode_span(_span(case)).SerializeToString() for _ in range(2))

    assert first == second


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_every_span_says_what_kind_it_is(case: Case) -> None:
    kinds = {kind.value for kind in OpenInferenceSpanKindValues}

    assert _span(case).attributes["openinference.span.kind"] in kinds


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
    span = _span(own_case("unknown-vendor"))

    assert span.name == "POST /v2/answer"
    assert span.attributes["openinference.span.kind"] == "CHAIN"
    assert span.attributes["llm.model_name"] == "oracle-small"
    assert json.loads(span.attributes["output.value"])["answer"] == "Into the Havel."
    assert span.attributes["llm.token_count.prompt"] == 7
    assert span.attributes["llm.token_count.completion"] == 4


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
    beginning = _STREAM.response_body[: _STREAM.response_body.index(b"data: [DONE]")]
    span = _span(
        _STREAM,
        end="client_disconnected",
        response_body=beginning,
        response_body_bytes=len(beginning),
    )

    assert span.status == "UNSET"
    assert span.attributes[attributes.END] == "client_disconnected"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("openai-chat-stream", "OK"),
        ("openai-completions-stream", "OK"),
        ("openai-responses-stream", "OK"),
        ("openai-responses-stream-failed", "ERROR"),
        ("anthropic-stream", "OK"),
        ("gemini-interaction-stream", "OK"),
        ("mistral-conversation-stream", "OK"),
    ],
)
def test_a_client_that_left_after_the_last_event_has_all_of_the_answer(
    name: str, status: str
) -> None:
    case = own_case(name)
    span = _span(case, end="client_disconnected", error="the client closed the connection.")

    assert span.status == status
    assert span.attributes == _span(case).attributes
    assert attributes.END not in span.attributes


@pytest.mark.parametrize(
    "end", [b"data: [DON", b"data: [DONE", b'data: {"type": "message_stop"', b": [DONE]\n\n"]
)
def test_an_end_that_did_not_come_whole_is_none(end: bytes) -> None:
    body = _STREAM.response_body.replace(b"data: [DONE]\n\n", end)
    span = _span(
        _STREAM, end="client_disconnected", response_body=body, response_body_bytes=len(body)
    )

    assert span.status == "UNSET"
    assert span.attributes[attributes.END] == "client_disconnected"


def test_of_a_body_that_was_recorded_in_part_nobody_knows_the_end() -> None:
    span = _span(_STREAM, end="client_disconnected", response_body_bytes=10**9)

    assert span.status == "UNSET"


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
    """Class: path traversal on disk. MLflow made a file's name of a trace id (CVE-2026-53995)."""
    with pytest.raises(PermanentError, match=r"exchange has"):
        _span(**wrong)


def test_an_interpreter_that_fails_leaves_a_plain_span(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(call: Call) -> None:
        raise LookupError(call.request_text)

    monkeypatch.setattr("tracequill_collector.recorder.interpret._INTERPRETERS", (fail,))
    span = _span()

    assert span.name == "POST /v1/chat/completions"
    assert span.attributes[attributes.PROBLEM] == "cannot be interpreted (LookupError)"
