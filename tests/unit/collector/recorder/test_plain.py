"""Where no instrumentor covers an endpoint the span still says what can be said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.exchange_cases import own_case
from tracequill_collector.recorder import attributes
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import RecordedSpan

_TOKENS = tuple(f"llm.token_count.{name}" for name in ("prompt", "completion", "total"))


def _span(name: str, **changes: Any) -> RecordedSpan:
    return interpret(own_case(name).exchange(**changes), "default-project")


def _tokens(span: RecordedSpan) -> tuple[Any, ...]:
    return tuple(span.attributes.get(name) for name in _TOKENS)


@pytest.mark.parametrize(
    ("case", "name", "model", "tokens"),
    [
        ("openai-moderations", "POST /v1/moderations", "omni-moderation-small", ()),
        (
            "openai-audio-transcription",
            "POST /v1/audio/transcriptions",
            "transcribe-small",
            (14, 6, 20),
        ),
        ("openai-audio-transcription-text", "POST /v1/audio/transcriptions", "whisper-1", ()),
        ("openai-audio-speech", "POST /v1/audio/speech", "speech-small", ()),
        ("openai-audio-speech-stream", "POST /v1/audio/speech", "speech-small", (9, 31, 40)),
        ("openai-file-upload", "POST /v1/files", None, ()),
        ("openai-file-content", "GET /v1/files/file-01/content", None, ()),
        ("openai-fine-tuning-job", "POST /v1/fine_tuning/jobs", "gpt-small", ()),
        ("openai-batch-cancel", "POST /v1/batches/batch_01/cancel", "gpt-small", ()),
        (
            "openai-realtime-session",
            "POST /v1/realtime/client_secrets",
            "gpt-realtime-small",
            (),
        ),
        ("openai-vector-store-search", "POST /v1/vector_stores/vs_01/search", None, ()),
        (
            "openai-stored-completion",
            "POST /v1/chat/completions/chatcmpl-77",
            "gpt-small",
            (),
        ),
        ("openai-stored-completion-list", "GET /v1/chat/completions", None, ()),
        ("openai-response-get", "GET /v1/responses/resp_77", "gpt-small", ()),
        ("openai-response-cancel", "POST /v1/responses/resp_77/cancel", "gpt-small", ()),
        (
            "openai-model-delete",
            "DELETE /v1/models/ft:gpt-small:acme::ab12",
            "ft:gpt-small:acme::ab12",
            (),
        ),
        ("unknown-vendor", "POST /v2/answer", "oracle-small", (7, 4, 11)),
    ],
)
def test_an_endpoint_without_an_instrumentor_has_model_tokens_status_and_latency(
    case: str, name: str, model: str | None, tokens: tuple[int, ...]
) -> None:
    span = _span(case)

    assert span.name == name
    assert span.attributes["openinference.span.kind"] == "CHAIN"
    assert span.attributes.get("llm.model_name") == model
    assert _tokens(span) == (tokens or (None, None, None))
    assert span.status == "OK"
    assert span.attributes[attributes.STATUS_CODE] == 200
    assert span.attributes[attributes.TIME_TO_FIRST_TOKEN_MS] == 250.0
    assert span.attributes["output.value"]


def test_the_model_of_a_session_is_found_in_a_form() -> None:
    found = _span("openai-realtime-call").attributes

    assert found["llm.model_name"] == "gpt-realtime-small"
    assert found["output.value"].startswith("v=0")


def test_a_form_is_recorded_as_an_object_without_its_file() -> None:
    found = _span("openai-audio-transcription").attributes

    assert found["input.mime_type"] == "application/json"
    assert json.loads(found["input.value"]) == {
        "model": "transcribe-small",
        "language": "en",
        "timestamp_granularities[]": ["word", "segment"],
        "file": {"filename": "grüße.wav", "content_type": "audio/wav", "bytes": 44},
    }


def test_a_cut_form_is_described_as_far_as_it_came() -> None:
    whole = own_case("openai-file-upload").request_body
    found = _span("openai-file-upload", request_body=whole[:-60]).attributes

    assert json.loads(found["input.value"])["purpose"] == "fine-tune"
    assert found[attributes.PROBLEM] == "multipart body is cut"
    assert found[attributes.REQUEST_CUT] is True


def test_a_binary_answer_is_described_by_what_crossed() -> None:
    found = _span("openai-audio-speech", response_body_bytes=60_000_000).attributes

    assert found["output.value"] == "audio/mpeg, 60000000 bytes"
    assert found["output.mime_type"] == "text/plain"


def test_a_binary_request_is_described() -> None:
    found = _span(
        "unknown-vendor",
        request_headers=(("content-type", "audio/flac"),),
        request_body=b"fLaC\x00\xff",
        request_body_bytes=6,
    ).attributes

    assert found["input.value"] == "audio/flac, 6 bytes"


@pytest.mark.parametrize(
    ("body", "value"),
    [(b'{"a": 1}', '{"a": 1}'), (b"\x00\x01\x02", "binary, 3 bytes"), (b"\xff", "binary, 1 bytes")],
)
def test_a_body_without_a_type_is_text_if_it_reads_as_text(body: bytes, value: str) -> None:
    found = _span(
        "unknown-vendor", response_headers=(), response_body=body, response_body_bytes=len(body)
    ).attributes

    assert found["output.value"] == value


def test_a_secret_in_an_answer_is_removed() -> None:
    assert "ek_" not in _span("openai-realtime-session").attributes["output.value"]


@pytest.mark.parametrize(
    ("method", "path", "model"),
    [
        ("POST", "/v1beta/models/gemini-small:countTokens", "gemini-small"),
        ("GET", "/v1/models/ft:gpt-small:acme::ab", "ft:gpt-small:acme::ab"),
        ("POST", "/model/amazon.small-v1%3A0/count-tokens", "amazon.small-v1:0"),
        ("POST", "/openai/deployments/our%20model/audio/speech", "our model"),
        ("GET", "/v1/models", None),
        ("GET", "/v1/models/", None),
    ],
)
def test_the_model_is_found_in_the_path(method: str, path: str, model: str | None) -> None:
    found = _span("unknown-vendor", method=method, path=path, request_body=b"").attributes

    assert found.get("llm.model_name") == model


def test_lines_of_json_are_searched_for_tokens() -> None:
    body = b'{"text": "In"}\n\nnot json\n{"usage": {"input_tokens": 3, "output_tokens": 2}}\n'
    span = _span(
        "unknown-vendor",
        response_headers=(("content-type", "application/x-ndjson"),),
        response_body=body,
    )

    assert _tokens(span) == (3, 2, 5)
    assert span.attributes["output.value"] == body.decode()


def test_an_answer_that_failed_counts_nothing() -> None:
    span = _span("unknown-vendor", status=500)

    assert (span.status, span.status_message) == ("ERROR", "HTTP 500")
    assert _tokens(span) == (None, None, None)
    assert "Into the Havel" in span.attributes["output.value"]
