"""What Google's library cannot show: other paths, other spellings, streams without events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.exchange_cases import Case, own_case
from tracequill_collector.recorder import attributes
from tracequill_collector.recorder.gemini.arguments import arguments_of_pieces
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.message import MAX_IMAGE_URL_CHARACTERS, REDACTED
from tracequill_collector.recorder.span import RecordedSpan

_GENERATE = own_case("gemini-generate")
_STREAM = own_case("gemini-stream-thoughts")
_EMBED = own_case("gemini-embed")
_JSON = (("content-type", "application/json; charset=UTF-8"),)


def _span(case: Case = _GENERATE, **changes: Any) -> RecordedSpan:
    for name in ("request_body", "response_body"):
        if name in changes:
            changes.setdefault(f"{name}_bytes", len(changes[name]))
    return interpret(case.exchange(**changes), "default")


def _body(value: Any) -> bytes:
    return json.dumps(value).encode()


def _meaning(span: RecordedSpan) -> dict[str, Any]:
    """Give what a span says that does not depend on how it crossed."""
    return {
        name: value
        for name, value in span.attributes.items()
        if not name.startswith(attributes.PREFIX)
    }


def _array(case: Case, end: str = "\n]") -> bytes:
    """Give a stream as it comes without ``alt=sse``."""
    events = case.response_body.decode().strip().split("\n\n")
    return ("[" + "\n,\r\n".join(event.removeprefix("data: ") for event in events) + end).encode()


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1beta/models/gemini-3-small", "gemini-3-small"),
        ("/v1/models/gemini-3-small", "gemini-3-small"),
        ("/v1alpha/models/gemini-3-small", "gemini-3-small"),
        ("/v1beta/tunedModels/rivers-42", "tunedModels/rivers-42"),
        ("/v1/publishers/google/models/gemini-3-small", "gemini-3-small"),
        (
            "/v1/projects/p/locations/europe-west3/publishers/google/models/gemini-3-small",
            "gemini-3-small",
        ),
        ("/v1/projects/p/locations/l/endpoints/42", "projects/p/locations/l/endpoints/42"),
    ],
)
@pytest.mark.parametrize("colon", [":", "%3A"])
def test_the_path_names_the_model(path: str, model: str, colon: str) -> None:
    span = _span(path=f"{path}{colon}generateContent?key=***", response_body=b"{}")

    assert span.name == "GenerateContent"
    assert span.attributes["llm.model_name"] == model


def test_the_answer_names_the_model_more_exactly() -> None:
    assert _span().attributes["llm.model_name"] == "gemini-3-small-001"


def test_googles_id_of_the_request_is_recorded() -> None:
    assert _span().attributes[attributes.UPSTREAM_REQUEST_ID] == "goog-1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1beta/models/gemini-3-small:countTokens"),
        ("POST", "/v1beta/models/gemini-3-small:batchGenerateContent"),
        ("POST", "/v1/publishers/google/models/imagen-4:predict"),
        ("POST", "/v1/publishers/mistralai/models/mistral-small:rawPredict"),
        ("GET", "/v1beta/models/gemini-3-small:generateContent"),
        ("GET", "/v1beta/models"),
        ("GET", "/v1beta/cachedContents"),
        ("GET", "/v1beta/interactions/v1_int-1"),
        ("PATCH", "/v1beta/cachedContents/rivers"),
        ("DELETE", "/v1beta/files/rivers"),
        ("POST", "/upload/v1beta/files"),
        ("POST", "/generateContent"),
    ],
)
def test_other_endpoints_make_plain_spans_without_tokens(method: str, path: str) -> None:
    span = _span(method=method, path=path, response_body=b'{"totalTokens": 12}')

    assert span.name == f"{method} {path}"
    assert span.attributes["openinference.span.kind"] == "CHAIN"
    assert span.attributes["output.value"] == '{"totalTokens": 12}'
    assert not [name for name in span.attributes if name.startswith("llm.token_count")]


def test_googles_endpoint_for_openais_clients_is_read_as_openais_format() -> None:
    case = own_case("openai-chat")
    path = "/v1beta/openai/chat/completions"
    span = _span(case, vendor="gemini", route="gemini", path=path)

    assert span.name == "ChatCompletion"
    assert span.attributes["llm.provider"] == "google"
    assert span.attributes["llm.system"] == "openai"
    assert _meaning(span) == {**_meaning(_span(case)), "llm.provider": "google"}


def test_a_request_may_be_spelled_in_snake_case_and_without_lists_of_one() -> None:
    camel = {
        "contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]}],
        "systemInstruction": {"parts": [{"text": "You answer in one sentence."}]},
        "generationConfig": {"maxOutputTokens": 8},
        "tools": [{"functionDeclarations": [{"name": "now", "parametersJsonSchema": {}}]}],
    }
    snake = {
        "contents": {"parts": {"inline_data": {"mime_type": "image/png", "data": "aGk="}}},
        "system_instruction": {"parts": {"text": "You answer in one sentence."}},
        "generation_config": {"max_output_tokens": 8},
        "tools": [{"function_declarations": [{"name": "now", "parameters_json_schema": {}}]}],
    }
    first, second = (_meaning(_span(request_body=_body(body))) for body in (camel, snake))
    first.pop("input.value"), second.pop("input.value")

    assert first == second
    assert first["llm.input_messages.1.message.contents.0.message_content.image.image.url"]


def test_a_stream_without_events_is_the_same_span() -> None:
    """C29: without ``alt=sse`` a stream is one JSON array."""
    path = _STREAM.path.partition("?")[0]
    span = _span(_STREAM, path=path, response_headers=_JSON, response_body=_array(_STREAM))

    assert _meaning(span) == _meaning(_span(_STREAM))


def test_an_array_that_is_cut_counts_as_far_as_it_came() -> None:
    whole = _array(_STREAM)
    span = _span(
        _STREAM,
        response_headers=_JSON,
        response_body=whole[: whole.index(b"Trave.")],
        response_body_bytes=len(whole),
    )

    contents = "llm.output_messages.0.message.contents"
    assert span.attributes[f"{contents}.1.message_content.text"] == "The "
    assert f"{contents}.2.message_content.text" not in span.attributes
    assert span.attributes[attributes.RESPONSE_CUT] is True
    assert span.status == "OK"


def test_an_error_in_an_array_is_that_of_the_call() -> None:
    error = {"error": {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}}
    body = _array(_STREAM, ",\n" + json.dumps(error) + "]")
    span = _span(_STREAM, response_headers=_JSON, response_body=body)

    assert span.status == "ERROR"
    assert span.status_message.startswith("ServerError: 503 UNAVAILABLE. ")
    assert span.attributes["llm.output_messages.0.message.contents.0.message_content.text"]


def test_an_error_that_refuses_a_stream_may_be_an_array() -> None:
    error = {"error": {"code": 429, "message": "Quota.", "status": "RESOURCE_EXHAUSTED"}}
    span = _span(_STREAM, status=429, response_headers=_JSON, response_body=_body([error]))

    assert span.status_message == f"ClientError: 429 RESOURCE_EXHAUSTED. {error}"


def test_an_event_that_was_cut_is_no_error() -> None:
    body = _STREAM.response_body
    cut = body[: body.index(b"Trave.")]
    span = _span(_STREAM, end="client_disconnected", response_body=cut)

    assert span.status == "UNSET"
    assert span.attributes["llm.output_messages.0.message.contents.1.message_content.text"]
    assert "not a JSON object" in span.attributes[attributes.PROBLEM]


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [
        ([{"json_path": "$.a", "string_value": "x"}], {"a": "x"}),
        (
            [
                {"json_path": "$.a", "string_value": "Tra", "will_continue": True},
                {"json_path": "$.a", "string_value": "ve"},
                {"json_path": "$.b", "number_value": 2},
            ],
            {"a": "Trave", "b": 2},
        ),
        (
            [
                {"json_path": "$.a[0].b", "bool_value": True},
                {"json_path": "$.a[1].b", "null_value": "NULL_VALUE"},
                {"json_path": "$['a.b'][0]", "string_value": "x"},
            ],
            {"a": [{"b": True}, {"b": None}], "a.b": ["x"]},
        ),
        ([{"json_path": "$.a[7]", "string_value": "x"}], {"a": []}),
        ([{"json_path": "$..a", "string_value": "x"}, {"json_path": "a"}, {}], {}),
        ([{"json_path": "$[0]", "string_value": "x"}], {}),
        ([{"json_path": "$" + ".a" * 51, "string_value": "x"}], {}),
        ([{"json_path": "$.a", "string_value": "x"}, {"json_path": "$.a.b"}], {"a": {"b": None}}),
    ],
)
def test_pieces_of_arguments_find_their_place(pieces: list[Any], arguments: Any) -> None:
    assert arguments_of_pieces(pieces) == arguments


def test_arguments_in_pieces_are_those_of_the_call() -> None:
    span = _span(own_case("gemini-stream-partial-arguments"))

    call = "llm.output_messages.0.message.tool_calls.0.tool_call.function"
    assert span.attributes[f"{call}.name"] == "water_level"
    assert span.attributes[f"{call}.arguments"] == '{"river": "Trave"}'


def test_large_images_are_replaced_in_all_places() -> None:
    large = "A" * MAX_IMAGE_URL_CHARACTERS
    part = {"inlineData": {"mimeType": "image/png", "data": large}}
    span = _span(
        request_body=_body({"contents": [{"parts": [part, {"text": "What is it?"}]}]}),
        response_body=_body({"candidates": [{"content": {"parts": [part], "role": "model"}}]}),
    )

    assert large not in str(span.attributes)
    for side in ("input", "output"):
        image = f"llm.{side}_messages.0.message.contents.0.message_content.image.image.url"
        assert span.attributes[image] == REDACTED
        assert f'"data": "{REDACTED}"' in span.attributes[f"{side}.value"]


def test_large_data_that_is_no_image_stays() -> None:
    large = "A" * MAX_IMAGE_URL_CHARACTERS
    part = {"inlineData": {"mimeType": "audio/wav", "data": large}}
    span = _span(request_body=_body({"contents": [{"parts": [part]}]}))

    assert large in span.attributes["input.value"]


def test_a_large_image_of_an_interaction_is_replaced_and_its_names_stay() -> None:
    case = own_case("gemini-interaction-parts")
    large = "A" * MAX_IMAGE_URL_CHARACTERS
    request = case.request_json
    request["input"][0]["content"][1]["data"] = large
    span = _span(case, request_body=_body(request))

    assert large not in str(span.attributes)
    assert "bridgeName" in span.attributes["input.value"]


def test_one_content_is_embedded_as_many_are() -> None:
    request = {"content": {"parts": [{"text": "The Trave."}]}, "taskType": "CLUSTERING"}
    span = _span(
        _EMBED,
        path="/v1beta/models/gemini-embedding-001:embedContent",
        request_body=_body(request),
        response_body=_body({"embedding": {"values": [0.5, 1]}}),
    )

    assert span.name == "EmbedContent"
    assert span.attributes["embedding.embeddings.0.embedding.text"] == "The Trave."
    assert span.attributes["embedding.embeddings.0.embedding.vector"] == [0.5, 1.0]
    assert json.loads(span.attributes["embedding.invocation_parameters"]) == {
        "task_type": "CLUSTERING"
    }


def test_numbers_that_are_none_make_no_vector() -> None:
    values = [[1, "2"], [10**400], [], None, [0.5]]
    answer = {"embeddings": [{"values": item} for item in values]}
    span = _span(_EMBED, response_body=json.dumps(answer).encode())

    vectors = [name for name in span.attributes if name.endswith("embedding.vector")]
    assert vectors == ["embedding.embeddings.4.embedding.vector"]


@pytest.mark.parametrize("name", ["gemini-generate", "gemini-interaction", "gemini-stream"])
def test_a_request_that_is_not_json_is_kept_as_text(name: str) -> None:
    span = _span(own_case(name), request_body=b'{"contents": [{"par')

    assert span.attributes["input.value"] == '{"contents": [{"par'
    assert "request body is not a JSON object" in span.attributes[attributes.PROBLEM]
    assert span.attributes["openinference.span.kind"] == "LLM"
    assert span.attributes["llm.token_count.total"] > 0


def test_an_interaction_of_an_unknown_content_keeps_it() -> None:
    """What the library does not know is in ``output.value``, streamed or not."""
    events = [
        {"event_type": "step.start", "index": 0, "step": {"type": "new_call"}},
        {"event_type": "step.delta", "index": 0, "delta": {"type": "new_call", "newField": 1}},
        {"event_type": "step.delta", "index": 3, "delta": {"type": "audio", "data": "aGk="}},
        {"event_type": "step.delta", "index": 3, "delta": {"type": "audio", "data": "aG8="}},
    ]
    body = b"".join(b"data: " + _body(event) + b"\n\n" for event in events)
    span = _span(own_case("gemini-interaction-stream"), response_body=body)

    assert json.loads(span.attributes["output.value"])["steps"] == [
        {"type": "new_call", "newField": 1},
        {"type": "model_output", "content": [{"type": "audio", "data": "aGlobw=="}]},
    ]


def test_turns_with_roles_are_messages() -> None:
    """The library sends them no longer; its older versions do."""
    turns = [
        {"role": "user", "content": "Which river?"},
        {"role": "model", "content": [{"type": "text", "text": "The Trave."}]},
        {"content": [{"type": "text", "text": "Sure?"}]},
    ]
    span = _span(own_case("gemini-interaction"), request_body=_body({"input": turns}))

    prefix = "llm.input_messages"
    assert span.attributes[f"{prefix}.0.message.content"] == "Which river?"
    assert span.attributes[f"{prefix}.1.message.contents.0.message_content.text"] == "The Trave."
    assert [span.attributes[f"{prefix}.{index}.message.role"] for index in range(3)] == [
        "user",
        "model",
        "model",
    ]
