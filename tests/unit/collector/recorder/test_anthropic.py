"""What of Anthropic's format no library shows: cut streams, unknown things, older endpoints."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.exchange_cases import Case, corpus_cases, encode_body, own_case
from tracequill_collector.exporter.cost import ModelRow, PriceRow, Prices
from tracequill_collector.recorder import attributes
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.message import REDACTED
from tracequill_collector.recorder.span import RecordedSpan

_MESSAGES = own_case("anthropic-messages")
_STREAM = own_case("anthropic-stream")
_START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5",
        "content": [],
        "usage": {"input_tokens": 12, "output_tokens": 1},
    },
}
_OUTPUT_TEXT = "llm.output_messages.0.message.contents.0.message_content.text"


def _span(case: Case = _MESSAGES, **changes: Any) -> RecordedSpan:
    return interpret(case.exchange(**changes), "default-project")


def _answered(body: Any, **changes: Any) -> RecordedSpan:
    """The span of a call that is answered with *body* as JSON."""
    encoded = json.dumps(body).encode()
    return _span(response_body=encoded, response_body_bytes=len(encoded), **changes)


def _streamed(*events: Any, **changes: Any) -> RecordedSpan:
    """The span of a call that is answered with a stream of *events*."""
    body = encode_body({"sse": list(events)})
    return _span(_STREAM, response_body=body, response_body_bytes=len(body), **changes)


def _asked(body: Any) -> RecordedSpan:
    """The span of a call that sent *body* as JSON."""
    encoded = json.dumps(body).encode()
    return _span(request_body=encoded, request_body_bytes=len(encoded))


def _problem(span: RecordedSpan) -> str:
    return str(span.attributes.get(attributes.PROBLEM, ""))


# --- names and paths ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [
        ("/v1/messages", {}, "messages.create"),
        ("/v1/messages/", {}, "messages.create"),
        ("/anthropic/v1/messages", {}, "messages.create"),
        ("/v1/messages?beta=true", {}, "beta.messages.create"),
        ("/v1/messages?beta=false", {}, "messages.create"),
        ("/v1/messages", {"X-Stainless-Helper-Method": "stream"}, "messages.stream"),
        (
            "/v1/messages?beta=true",
            {"x-stainless-helper": "beta.messages.parse"},
            "beta.messages.parse",
        ),
        ("/v1/messages/count_tokens", {}, "messages.count_tokens"),
        ("/v1/messages/count_tokens?beta=true", {}, "beta.messages.count_tokens"),
        ("/v1/complete", {}, "Completions"),
        ("/v1/messages/batches", {}, "POST /v1/messages/batches"),
        ("/v1/messages/batches/b_1/results", {}, "POST /v1/messages/batches/b_1/results"),
        ("/v1/threads/t_1/messages", {}, "POST /v1/threads/t_1/messages"),
    ],
)
def test_the_span_is_named_like_the_method_of_the_library(
    path: str, headers: dict[str, str], name: str
) -> None:
    span = _span(path=path, request_headers=tuple(headers.items()))

    assert span.name == name


def test_batches_are_recorded_plainly_and_their_results_count_no_tokens() -> None:
    batch = {"id": "msgbatch_1", "type": "message_batch", "processing_status": "in_progress"}
    begun = _answered(batch, path="/v1/messages/batches")
    results = b'{"custom_id": "a", "result": {"message": {"usage": {"input_tokens": 3}}}}\n{}\n'
    read = _span(
        method="GET",
        path="/v1/messages/batches/msgbatch_1/results",
        response_headers=(("content-type", "application/x-jsonl"),),
        response_body=results,
        response_body_bytes=len(results),
    )

    assert json.loads(begun.attributes["output.value"]) == batch
    assert read.attributes["output.value"] == results.decode()
    for span in (begun, read):
        assert span.attributes["openinference.span.kind"] == "CHAIN"
    assert not [name for name in read.attributes if name.startswith("llm.token_count")]


def test_the_provider_is_that_of_the_route() -> None:
    assert _span().attributes["llm.provider"] == "anthropic"
    assert _span(vendor="azure").attributes["llm.provider"] == "azure"
    assert _span(vendor="azure").attributes["llm.system"] == "anthropic"


# --- streams that are cut, or newer than the recorder -------------------------------------


@pytest.mark.parametrize("end", ["upstream_cut", "client_disconnected"])
def test_a_cut_stream_gives_what_was_said_and_paid_for(end: str) -> None:
    whole = encode_body(
        {
            "sse": [
                _START,
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "text_delta", "text": "Hello, "},
                },
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "text_delta", "text": "wörld"},
                },
            ]
        }
    )
    cut = whole[: whole.index("ö".encode()) + 1]
    span = _span(
        _STREAM, response_body=cut, response_body_bytes=len(cut), end=end, error="connection reset"
    )

    found = span.attributes
    assert found[_OUTPUT_TEXT] == "Hello, "
    assert found["llm.token_count.prompt"] == 12
    assert found["llm.model_name"] == "claude-haiku-4-5"
    assert found[attributes.END] == end
    assert (span.status == "ERROR") is (end == "upstream_cut")


def test_a_stream_that_just_ends_says_so() -> None:
    assert _problem(_streamed(_START)) == "stream ends before its last event"
    assert _problem(_streamed(_START, {"type": "message_stop"})) == ""


def test_events_of_an_unknown_type_are_kept_and_named() -> None:
    news = {"type": "weather_report", "sky": "blue"}
    span = _streamed(_START, news, {"type": "message_stop"})
    alone = _streamed(news)

    assert json.loads(span.attributes["output.value"])["other_events"] == [news]
    assert _problem(span) == "stream holds unknown events: weather_report"
    assert json.loads(alone.attributes["output.value"]) == {"other_events": [news]}
    assert alone.name == "messages.create"


def test_a_delta_without_its_block_is_kept() -> None:
    delta = {"type": "text_delta", "text": "lost"}
    span = _streamed(_START, {"type": "content_block_delta", "index": 7, "delta": delta})

    assert "lost" in span.attributes["output.value"]


def test_pieces_of_unknown_deltas_are_joined() -> None:
    span = _streamed(
        _START,
        {"type": "content_block_start", "index": 0, "content_block": {"type": "sound"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "sound_delta", "wave": "ab"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "sound_delta", "wave": "cd"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_stop"},
    )

    assert json.loads(span.attributes["output.value"])["content"] == [
        {"type": "sound", "wave": "abcd"}
    ]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"data: {}\n\n", id="an empty event"),
        pytest.param(b"data: nothing\n\n", id="no JSON"),
        pytest.param(b"data: [1, 2]\n\n", id="a list"),
        pytest.param(b"\xff\xfe\x00", id="no text"),
    ],
)
def test_a_stream_of_nonsense_gives_a_span_with_the_question(body: bytes) -> None:
    span = _span(_STREAM, response_body=body, response_body_bytes=len(body))

    assert span.name == "messages.create"
    assert span.attributes["llm.input_messages.0.message.content"] == "Hello"
    assert _problem(span)


def test_an_error_in_a_stream_keeps_no_key_and_what_came_before() -> None:
    error = {"type": "authentication_error", "message": "bad key sk-ant-api03-abcdefghijkl"}
    span = _streamed(_START, {"type": "error", "error": error})

    assert span.status == "ERROR"
    assert "authentication_error" in span.status_message
    assert "abcdefghijkl" not in span.status_message
    assert "[key removed]" in span.status_message
    assert span.attributes["llm.token_count.prompt"] == 12


def test_an_error_event_that_is_no_json_is_an_error() -> None:
    body = b"event: error\ndata: out of order\n\n"
    span = _span(_STREAM, response_body=body, response_body_bytes=len(body))

    assert span.status == "ERROR"
    assert span.status_message.endswith("out of order")


# --- unknown JSON -------------------------------------------------------------------------


@pytest.mark.parametrize("body", [[], [1], 7, "text", None, {}, {"content": 7, "usage": "none"}])
def test_any_json_as_an_answer_gives_a_span_that_keeps_it(body: Any) -> None:
    span = _answered(body)

    assert span.name == "messages.create"
    assert json.loads(span.attributes["output.value"]) == body
    assert span.attributes["llm.request.model_name"] == "claude-haiku-4-5"


@pytest.mark.parametrize("body", [[], 7, "text"])
def test_any_json_as_a_request_gives_a_span_that_keeps_it(body: Any) -> None:
    span = _asked(body)

    assert json.loads(span.attributes["input.value"]) == body
    assert _problem(span) == "request body is not a JSON object"
    assert span.attributes["llm.finish_reason"] == "end_turn"


def test_fields_of_a_wrong_type_are_left_out_of_the_messages_only() -> None:
    body = {"model": 5, "messages": ["a", {"role": "user", "content": {"b": 1}}, 7], "tools": "x"}
    span = _asked(body)

    assert json.loads(span.attributes["input.value"]) == body
    assert span.attributes["llm.input_messages.1.message.role"] == "user"


# --- images, counts, metadata -------------------------------------------------------------


def test_a_large_image_stands_whole_in_the_input_alone() -> None:
    data = "A" * 40_000
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    span = _asked({"messages": [{"role": "user", "content": [image]}]})

    prefix = "llm.input_messages.0.message.contents.0.message_content"
    assert span.attributes[f"{prefix}.type"] == "image"
    assert span.attributes[f"{prefix}.image.image.url"] == REDACTED
    assert data in span.attributes["input.value"]


@pytest.mark.parametrize(
    ("usage", "prompt", "completion", "total"),
    [
        ({"input_tokens": 5, "output_tokens": 2}, 5, 2, 7),
        (
            {
                "input_tokens": 5,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 10,
                "output_tokens": 2,
            },
            115,
            2,
            117,
        ),
        ({"cache_read_input_tokens": 100, "output_tokens": 0}, 100, 0, 100),
        ({"input_tokens": 5}, 5, None, None),
        ({"output_tokens": 2}, None, 2, None),
        ({"input_tokens": "5", "output_tokens": True}, None, None, None),
        ([], None, None, None),
    ],
)
def test_the_prompt_is_what_was_sent_read_from_the_cache_and_written_to_it(
    usage: Any, prompt: int | None, completion: int | None, total: int | None
) -> None:
    found = _answered({"usage": usage}).attributes

    assert found.get("llm.token_count.prompt") == prompt
    assert found.get("llm.token_count.completion") == completion
    assert found.get("llm.token_count.total") == total
    counted = usage if isinstance(usage, dict) else {}
    details = "llm.token_count.prompt_details"
    assert found.get(f"{details}.cache_read") == counted.get("cache_read_input_tokens")
    assert found.get(f"{details}.cache_write") == counted.get("cache_creation_input_tokens")


def test_a_cached_prompt_costs_what_phoenix_asks_for_each_part() -> None:
    prices = Prices()
    rows = [
        PriceRow("input", True, 1.0),
        PriceRow("cache_read", True, 0.1),
        PriceRow("cache_write", True, 1.25),
        PriceRow("output", False, 5.0),
    ]
    prices.merge([ModelRow(1, "anthropic", "claude-haiku-4-5", True, None, False, tuple(rows))])
    nested: dict[str, Any] = {}
    for name, value in _span(own_case("anthropic-messages-cache")).attributes.items():
        if name.startswith(("llm.token_count.", "llm.model_name", "llm.provider", "openinfer")):
            *path, last = name.split(".")
            place = nested
            for part in path:
                place = place.setdefault(part, {})
            place[last] = value
    cost = prices.cost(datetime(2026, 1, 1, tzinfo=UTC), nested)

    assert cost is not None
    assert cost.prompt_cost == pytest.approx(6 * 1.0 + 2048 * 0.1 + 40 * 1.25)
    assert cost.completion_cost == pytest.approx(5 * 5.0)


def test_what_the_call_says_of_itself_stands_beside_what_the_vendor_says() -> None:
    span = _span(own_case("anthropic-messages-refusal"), metadata='{"tenant": "a"}')

    assert set(json.loads(span.attributes["metadata"])) == {"tenant", "stop_details"}


# --- completions of a prompt --------------------------------------------------------------


def test_a_completion_has_prompt_answer_model_and_parameters() -> None:
    span = _span(own_case("anthropic-complete"))

    assert span.status == "OK"
    assert {key: span.attributes[key] for key in span.attributes if key.startswith("llm.")} == {
        "llm.provider": "anthropic",
        "llm.system": "anthropic",
        "llm.model_name": "claude-2.1",
        "llm.invocation_parameters": '{"model": "claude-2.1", "max_tokens_to_sample": 64}',
        "llm.prompts.0.prompt.text": "\n\nHuman: 6 x 7?\n\nAssistant:",
        "llm.choices.0.completion.text": " 42",
        "llm.finish_reason": "stop_sequence",
    }


def test_a_streamed_completion_is_the_same_answer() -> None:
    span = _span(own_case("anthropic-complete-stream"))
    broken = _span(own_case("anthropic-complete-stream-error"))

    assert span.attributes["llm.choices.0.completion.text"] == " 42"
    assert span.attributes["llm.finish_reason"] == "stop_sequence"
    assert _problem(span) == ""
    assert broken.status == "ERROR"
    assert broken.attributes["llm.choices.0.completion.text"] == " 4"


_COMPLETIONS = [case for case in corpus_cases("anthropic") if case.path == "/v1/complete"]

if _COMPLETIONS:

    @pytest.mark.parametrize("case", _COMPLETIONS, ids=lambda case: case.name)
    def test_a_recorded_completion_has_prompt_and_answer(case: Case) -> None:
        span = _span(case)

        assert span.name == "Completions"
        assert span.attributes["llm.prompts.0.prompt.text"] == case.request_json["prompt"]
        assert span.attributes["llm.choices.0.completion.text"].strip()
        assert span.attributes["llm.finish_reason"] == "stop_sequence"
        assert _problem(span) == ""
