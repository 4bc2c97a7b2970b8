from __future__ import annotations

import json
from typing import Any

import pytest

from tests.exchange_cases import Case, corpus_cases, own_case
from tracequill_collector.recorder import attributes
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import RecordedSpan

_CORPUS = corpus_cases("ollama")


def _span(name: str, **changes: Any) -> RecordedSpan:
    return interpret(own_case(name).exchange(**changes), "default-project")


def _part(span: RecordedSpan, prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in span.attributes.items()
        if name.startswith(prefix)
    }


def test_a_chat_has_messages_tokens_model_and_provider() -> None:
    span = _span("ollama-chat")

    assert (span.name, span.status) == ("Chat", "OK")
    assert span.attributes["openinference.span.kind"] == "LLM"
    assert _part(span, "llm.") == {
        "provider": "ollama",
        "model_name": "qwen-small",
        "invocation_parameters": '{"stream": false, "think": true, '
        '"options": {"temperature": 0, "seed": 42}}',
        "input_messages.0.message.role": "system",
        "input_messages.0.message.content": "Be brief.",
        "input_messages.1.message.role": "user",
        "input_messages.1.message.content": "Where does the Spree end?",
        "output_messages.0.message.role": "assistant",
        "output_messages.0.message.content": "In the Havel.",
        "output_messages.0.message.contents.0.message_content.type": "reasoning",
        "output_messages.0.message.contents.0.message_content.text": "It flows west.",
        "finish_reason": "stop",
        "token_count.prompt": 31,
        "token_count.completion": 12,
        "token_count.total": 43,
    }
    assert json.loads(span.attributes["output.value"])["done_reason"] == "stop"
    assert span.attributes["input.mime_type"] == "application/json"


def test_tools_calls_results_and_images_are_recorded() -> None:
    span = _span("ollama-chat-tools")

    assert json.loads(span.attributes["llm.tools.0.tool.json_schema"])["type"] == "function"
    question = _part(span, "llm.input_messages.0.message.")
    assert question.pop("contents.1.message_content.image.image.url").startswith(
        "data:image/png;base64,iVBORw0KGgo"
    )
    assert question == {
        "role": "user",
        "contents.0.message_content.type": "text",
        "contents.0.message_content.text": "Which river is this?",
        "contents.1.message_content.type": "image",
    }
    assert _part(span, "llm.input_messages.1.message.tool_calls.0.tool_call.") == {
        "function.name": "find_river",
        "function.arguments": '{"name": "Spree"}',
    }
    assert _part(span, "llm.input_messages.2.message.") == {
        "role": "tool",
        "name": "find_river",
        "content": "Berlin",
    }
    assert _part(span, "llm.output_messages.0.message.") == {
        "role": "assistant",
        "tool_calls.0.tool_call.id": "call_1",
        "tool_calls.0.tool_call.function.name": "find_river",
        "tool_calls.0.tool_call.function.arguments": '{"name": "Havel", "long": true}',
    }


def test_images_that_are_no_list_are_none() -> None:
    message = {"role": "user", "content": "Which river?", "images": 7}
    body = json.dumps({"model": "qwen-small", "messages": [message]}).encode()
    span = _span("ollama-chat-tools", request_body=body)

    assert span.attributes["llm.input_messages.0.message.content"] == "Which river?"


def test_a_stream_is_put_together() -> None:
    span = _span("ollama-chat-stream")

    assert _part(span, "llm.output_messages.0.message.") == {
        "role": "assistant",
        "content": "In the Havel.",
        "contents.0.message_content.type": "reasoning",
        "contents.0.message_content.text": "It flows west.",
        "tool_calls.0.tool_call.function.name": "find_river",
        "tool_calls.0.tool_call.function.arguments": '{"name": "Havel"}',
        "tool_calls.1.tool_call.function.name": "find_river",
        "tool_calls.1.tool_call.function.arguments": '{"name": "Elbe"}',
    }
    assert span.attributes["llm.token_count.total"] == 43
    whole = json.loads(span.attributes["output.value"])
    assert whole["message"]["content"] == "In the Havel."
    assert whole["done"] is True


def test_a_cut_stream_gives_what_came() -> None:
    body = own_case("ollama-chat-stream").response_body
    span = _span("ollama-chat-stream", response_body=body[: body.index(b"Havel")])

    assert span.attributes["llm.output_messages.0.message.content"] == "In the "
    assert span.attributes[attributes.PROBLEM] == "stream holds a line that is not a JSON object"
    assert span.attributes["llm.model_name"] == "qwen-small"
    assert "llm.token_count.total" not in span.attributes


def test_an_error_in_a_stream_fails_the_span_and_keeps_what_came() -> None:
    span = _span("ollama-chat-stream-error")

    assert (span.status, span.status_message) == (
        "ERROR",
        "ResponseError: llama runner process has terminated (status code: -1)",
    )
    assert span.attributes["llm.output_messages.0.message.content"] == "In the "


def test_an_error_says_what_the_library_raises() -> None:
    span = _span("ollama-chat-unknown-model")

    assert span.status_message == "ResponseError: model 'nowhere' not found (status code: 404)"
    assert span.attributes["llm.model_name"] == "nowhere"


@pytest.mark.parametrize("name", ["ollama-generate", "ollama-generate-stream"])
def test_an_answer_to_a_prompt_is_a_conversation(name: str) -> None:
    span = _span(name)

    assert (span.name, span.attributes["openinference.span.kind"]) == ("Generate", "LLM")
    texts = [
        value
        for key, value in span.attributes.items()
        if key.startswith("llm.input_messages") and key.endswith((".content", "content.text"))
    ]
    assert texts[-1] == "Where does the Spree end?"
    assert span.attributes["llm.output_messages.0.message.role"] == "assistant"
    assert span.attributes["llm.output_messages.0.message.content"] == "In the Havel."
    assert span.attributes["llm.token_count.total"] == 43
    assert json.loads(span.attributes["output.value"])["response"] == "In the Havel."


def test_system_and_images_of_a_prompt_are_messages() -> None:
    found = _part(_span("ollama-generate"), "llm.input_messages.")

    assert found["0.message.role"] == "system"
    assert found["1.message.contents.1.message_content.type"] == "image"


@pytest.mark.parametrize(
    ("name", "texts", "tokens"),
    [
        ("ollama-embed", ["The Spree", "The Havel"], 8),
        ("ollama-embeddings", ["The Spree"], None),
    ],
)
def test_embeddings_have_texts_and_vectors(name: str, texts: list[str], tokens: int | None) -> None:
    span = _span(name)
    found = _part(span, "embedding.embeddings.")

    assert (span.name, span.attributes["openinference.span.kind"]) == (
        "CreateEmbeddings",
        "EMBEDDING",
    )
    assert [found[f"{index}.embedding.text"] for index in range(len(texts))] == texts
    assert found["0.embedding.vector"] == [0.25, -0.5]
    assert span.attributes["embedding.model_name"] == "embed-small"
    assert span.attributes.get("llm.token_count.prompt") == tokens


def test_other_paths_of_ollama_are_plain_spans() -> None:
    span = _span("ollama-show")

    assert span.name == "POST /api/show"
    assert span.attributes["llm.model_name"] == "qwen-small"


if _CORPUS:

    @pytest.mark.parametrize("case", _CORPUS, ids=lambda case: case.name)
    def test_a_recorded_chat_has_messages_tokens_model_and_provider(case: Case) -> None:
        span = interpret(case.exchange(), "default-project")
        answer = json.loads(case.response_body)
        message = _part(span, "llm.output_messages.0.message.")

        assert (span.name, span.status) == ("Chat", "OK")
        assert attributes.PROBLEM not in span.attributes
        assert span.attributes["llm.provider"] == "ollama"
        assert span.attributes["llm.model_name"] == answer["model"]
        assert span.attributes["llm.token_count.prompt"] == answer["prompt_eval_count"]
        assert span.attributes["llm.token_count.completion"] == answer["eval_count"]
        assert span.attributes["llm.input_messages.0.message.role"] == "user"
        assert message.get("content", "") == answer["message"]["content"]
        called = [call["function"]["name"] for call in answer["message"].get("tool_calls", ())]
        assert [message.get("tool_calls.0.tool_call.function.name")] == (called or [None])
