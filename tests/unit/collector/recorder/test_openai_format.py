"""Mistral, Groq, Together and Ollama give spans as good as OpenAI's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.exchange_cases import Case, corpus_cases, own_case
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import RecordedSpan

_ANSWER = "llm.output_messages.0.message.content"
_CORPUS = corpus_cases("mistral", "groq", "together")


def _span(name: str, **changes: Any) -> RecordedSpan:
    return interpret(own_case(name).exchange(**changes), "default-project")


@pytest.mark.parametrize(
    ("case", "name", "provider", "model", "tokens", "answer"),
    [
        ("mistral-agent", "ChatCompletion", "mistralai", "m-small", 16, "In the Havel."),
        (
            "mistral-fim",
            "Completion",
            "mistralai",
            "codestral-small",
            16,
            "\n    a = 3.14 * r * r\n    ",
        ),
        (
            "mistral-fim-stream",
            "Completion",
            "mistralai",
            "codestral-small",
            17,
            "\n    a = 3.14 * r * r",
        ),
        ("groq-chat", "ChatCompletion", "groq", "llama-small", 16, "In the Havel."),
        ("groq-chat-stream", "ChatCompletion", "groq", "llama-small", 16, "In the Havel."),
        ("groq-responses", "Response", "groq", "llama-small", 16, None),
        (
            "together-chat-stream",
            "ChatCompletion",
            "together",
            "meta/llama-small",
            16,
            "In the Havel.",
        ),
        ("together-completions", "Completion", "together", "meta/llama-small", 9, None),
        ("ollama-openai-chat", "ChatCompletion", "ollama", "qwen-small", 16, "In the Havel."),
    ],
)
def test_a_call_of_a_model_has_answer_tokens_model_and_provider(
    case: str, name: str, provider: str, model: str, tokens: int, answer: str | None
) -> None:
    span = _span(case)

    assert (span.name, span.status) == (name, "OK")
    assert span.attributes["openinference.span.kind"] == "LLM"
    assert span.attributes["llm.provider"] == provider
    assert span.attributes["llm.model_name"] == model
    assert span.attributes["llm.token_count.total"] == tokens
    assert span.attributes.get(_ANSWER) == answer


@pytest.mark.parametrize("case", ["mistral-chat-thinking", "mistral-chat-stream-thinking"])
def test_an_answer_in_parts_keeps_thinking_and_text_apart(case: str) -> None:
    span = _span(case)
    prefix = "llm.output_messages.0.message.contents."
    parts = {
        name.removeprefix(prefix): value
        for name, value in span.attributes.items()
        if name.startswith(prefix)
    }

    assert parts.pop("0.message_content.text").startswith("It flows west.")
    assert parts == {
        "0.message_content.type": "reasoning",
        "1.message_content.type": "text",
        "1.message_content.text": "In the Havel.",
    }
    assert _ANSWER not in span.attributes
    content = json.loads(span.attributes["output.value"])["choices"][0]["message"]["content"]
    assert [part["type"] for part in content] == ["thinking", "text"]


def test_code_between_two_pieces_has_its_prompt() -> None:
    found = _span("mistral-fim").attributes

    assert found["llm.prompts.0.prompt.text"] == "def area(r):"
    assert json.loads(found["llm.invocation_parameters"])["suffix"] == "return a"


@pytest.mark.parametrize(
    ("case", "name", "model", "tokens"),
    [
        ("mistral-ocr", "POST /v1/ocr", "ocr-small", None),
        ("mistral-conversation-stream", "POST /v1/conversations", None, 24),
    ],
)
def test_what_is_no_call_of_a_known_format_is_a_plain_span(
    case: str, name: str, model: str | None, tokens: int | None
) -> None:
    span = _span(case)

    assert span.name == name
    assert span.attributes["openinference.span.kind"] == "CHAIN"
    assert span.attributes.get("llm.model_name") == model
    assert span.attributes.get("llm.token_count.total") == tokens


def test_a_vendor_that_is_only_configured_names_itself() -> None:
    """Azure and everything else under ``routes`` speak OpenAI's format below paths of theirs."""
    span = _span(
        "openai-chat",
        vendor="fireworks",
        route="fast",
        path="/openai/deployments/our-gpt/chat/completions?api-version=2026-01-01",
    )

    assert (span.name, span.attributes["llm.provider"]) == ("ChatCompletion", "fireworks")


if _CORPUS:

    @pytest.mark.parametrize("case", _CORPUS, ids=lambda case: f"{case.vendor}-{case.name}")
    def test_a_recorded_chat_has_messages_tokens_model_and_provider(case: Case) -> None:
        found = interpret(case.exchange(), "default-project").attributes

        assert found["llm.model_name"]
        assert found["llm.provider"] in ("mistralai", "groq", "together")
        assert found["llm.input_messages.0.message.content"]
        assert found[_ANSWER]
        assert found["llm.token_count.prompt"] + found["llm.token_count.completion"] > 1
