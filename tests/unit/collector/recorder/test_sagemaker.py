from __future__ import annotations

import json
from typing import Any

import pytest

from tests.exchange_cases import encode_body, own_case
from tracequill_collector.recorder import attributes
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import RecordedSpan

_JSON = ("content-type", "application/json")


def _span(case: str, **changes: Any) -> RecordedSpan:
    return interpret(own_case(case).exchange(**changes), "p")


@pytest.mark.parametrize("case", ["sagemaker-chat", "sagemaker-chat-stream"])
def test_chat_completions_make_an_llm_span(case: str) -> None:
    """B16: two operations, one of them a stream, which litellm long made up from a whole answer
    (13604).
    """
    found = _span(case).attributes

    assert found["openinference.span.kind"] == "LLM"
    assert found["llm.provider"] == "aws"
    assert found["llm.model_name"] == "visitors"
    assert found["llm.input_messages.1.message.content"] == "Where does the Spree end?"
    assert found["llm.output_messages.0.message.content"] == "In the Havel."
    assert found["llm.finish_reason"] == "stop"
    assert found["llm.token_count.prompt"] == 27
    assert found["llm.token_count.completion"] == 6


def test_a_stream_has_the_name_of_its_operation() -> None:
    assert _span("sagemaker-chat").name == "sagemaker.invoke_endpoint"
    name = "sagemaker.invoke_endpoint_with_response_stream"
    assert _span("sagemaker-chat-stream").name == name


def test_the_model_is_the_inference_component_where_one_is_asked() -> None:
    headers = (_JSON, ("X-Amzn-SageMaker-Inference-Component", "small-llama"))
    found = _span("sagemaker-chat", request_headers=headers).attributes

    assert found["llm.model_name"] == "small-llama"
    assert found[attributes.INFERENCE_COMPONENT] == "small-llama"
    assert attributes.INFERENCE_COMPONENT not in _span("sagemaker-chat").attributes


@pytest.mark.parametrize(
    ("case", "tokens"), [("sagemaker-generation", (2, 5)), ("sagemaker-generation-stream", (7, 3))]
)
def test_text_generation_makes_an_llm_span(case: str, tokens: tuple[int, int]) -> None:
    found = _span(case).attributes

    assert found["openinference.span.kind"] == "LLM"
    assert found["input.value"] == "Where does the Spree end?"
    assert json.loads(found["llm.invocation_parameters"])["max_new_tokens"] == 64
    assert found["output.value"] == "In the Havel."
    assert found["llm.finish_reason"] == "eos_token"
    counts = (found["llm.token_count.prompt"], found["llm.token_count.completion"])
    assert counts == tokens
    assert found["llm.token_count.total"] == sum(tokens)


@pytest.mark.parametrize("case", ["sagemaker-completion", "sagemaker-completion-stream"])
def test_a_completed_prompt_makes_an_llm_span(case: str) -> None:
    found = _span(case).attributes

    assert found["openinference.span.kind"] == "LLM"
    assert found["input.value"] == "Where does the Spree end?"
    assert "prompt" not in json.loads(found["llm.invocation_parameters"])
    assert found["output.value"] == " In the Havel."
    assert found["llm.finish_reason"] == "length"
    assert found["llm.token_count.total"] == 12


def test_a_stream_that_fails_gives_what_came_and_the_error() -> None:
    span = _span("sagemaker-generation-lines")

    assert span.attributes["output.value"] == "In the Ha"
    assert span.status == "ERROR"
    assert span.status_message == (
        "An error occurred (ModelStreamError) when calling the InvokeEndpointWithResponseStream "
        "operation: Your model primary timed out."
    )
    assert [event.name for event in span.events] == ["exception"]


def test_a_model_that_fails_is_an_error_without_an_answer() -> None:
    span = _span("sagemaker-failed")

    assert span.status == "ERROR"
    assert span.events[0].attributes["exception.type"] == "botocore.errorfactory.ModelError"
    assert "output.value" not in span.attributes


@pytest.mark.parametrize(
    ("case", "output"),
    [
        ("sagemaker-other", '{"predictions": [0.25, 0.75]}'),
        ("sagemaker-other-stream", "In the Havel."),
        ("sagemaker-classification", '[{"label": "RIVERS", "score": 0.98}]'),
        ("sagemaker-embedding", "[[0.5, -0.5]]"),
    ],
)
def test_any_other_language_is_a_plain_span_of_the_model(case: str, output: str) -> None:
    """B16: what a model reads and says is its own affair; nothing is guessed."""
    span = _span(case)

    assert span.name.startswith("POST /endpoints/visitors/invocations")
    assert span.attributes["openinference.span.kind"] == "CHAIN"
    assert span.attributes["llm.model_name"] == "visitors"
    assert span.attributes["output.value"] == output


def test_an_asynchronous_call_says_where_question_and_answer_lie() -> None:
    headers = (_JSON, ("X-Amzn-SageMaker-InputLocation", "s3://questions/1.json"))
    found = _span("sagemaker-async", request_headers=headers).attributes

    assert found["input.value"] == "s3://questions/1.json"
    assert json.loads(found["output.value"]) == {
        "InferenceId": "inf-1",
        "OutputLocation": "s3://answers/1.out",
        "FailureLocation": "s3://failures/1.out",
    }


@pytest.mark.parametrize(
    ("case", "body", "output"),
    [
        pytest.param("sagemaker-chat", b"<html>", None, id="no JSON"),
        pytest.param("sagemaker-generation", b"no JSON", "no JSON", id="text"),
        pytest.param("sagemaker-chat", b"", None, id="nothing"),
        pytest.param("sagemaker-chat", b"[1, 2]", None, id="a list"),
    ],
)
def test_an_answer_that_is_no_object_is_a_problem(
    case: str, body: bytes, output: str | None
) -> None:
    found = _span(case, response_body=body, response_headers=(("content-type", "x/y"),)).attributes

    assert "response holds no JSON object" in found[attributes.PROBLEM]
    assert found.get("output.value") == output


def test_a_stream_that_is_cut_gives_what_came() -> None:
    whole = own_case("sagemaker-chat-stream").response_body
    first = len(encode_body({"eventstream": [{"part": ""}]}))
    found = _span("sagemaker-chat-stream", response_body=whole[: len(whole) - first]).attributes

    assert found["llm.output_messages.0.message.content"].startswith("In the ")
    assert "event stream is cut" in found[attributes.PROBLEM]
