"""GenAI attributes are read by Phoenix's converter, loaded without Phoenix, or kept as they are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from tracequill_collector.processor import genai


def fixed(found: dict[str, Any]) -> genai._Converter:
    """Give a converter that always finds *found*."""

    def convert(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        return found

    return convert


def test_what_the_span_says_itself_goes_before_what_is_converted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(genai, "_loaded", [fixed({"llm.model_name": "b", "llm.system": "openai"})])
    attributes = {"gen_ai.request.model": "b", "llm.model_name": "a"}

    assert genai.add_openinference(attributes)

    assert attributes["llm.model_name"] == "a"
    assert attributes["llm.system"] == "openai"


def test_messages_of_both_sides_are_never_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    converted = {
        "llm.input_messages.1.message.content": "theirs",
        "llm.output_messages.0.message.content": "theirs",
    }
    monkeypatch.setattr(genai, "_loaded", [fixed(converted)])
    attributes = {"llm.input_messages.0.message.content": "ours"}

    genai.add_openinference(attributes)

    assert attributes == {
        "llm.input_messages.0.message.content": "ours",
        "llm.output_messages.0.message.content": "theirs",
    }


def test_without_a_converter_attributes_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genai, "_loaded", [None])
    attributes = {"gen_ai.request.model": "a"}

    assert not genai.add_openinference(attributes)
    assert attributes == {"gen_ai.request.model": "a"}


def test_a_converter_that_fails_leaves_attributes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        raise RuntimeError

    monkeypatch.setattr(genai, "_loaded", [fail])

    assert not genai.add_openinference({"gen_ai.request.model": "a"})


def test_phoenix_is_absent_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    assert genai._load() is None


def test_the_converter_is_loaded_without_phoenix_itself() -> None:
    program = (
        "import sys\n"
        "from tracequill_collector.processor import genai\n"
        "attributes = {'gen_ai.request.model': 'gpt-4o', 'gen_ai.operation.name': 'chat'}\n"
        "assert genai.add_openinference(attributes)\n"
        "assert attributes['llm.model_name'] == 'gpt-4o', attributes\n"
        "assert attributes['openinference.span.kind'] == 'LLM', attributes\n"
        "heavy = [name for name in sys.modules if name.split('.')[0] in "
        "('phoenix', 'numpy', 'pandas', 'sqlalchemy', 'fastapi')]\n"
        "assert not heavy, heavy\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr
