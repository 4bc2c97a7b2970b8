from __future__ import annotations

import json

from tests.exchange_cases import Case, own_case
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.message import (
    MAX_IMAGE_URL_CHARACTERS,
    REDACTED,
    messages_attributes,
)
from tracequill_collector.recorder.span import RecordedSpan

_LARGE = "data:image/png;base64," + "A" * MAX_IMAGE_URL_CHARACTERS
_SMALL = "data:image/png;base64,AAAA"


def _span(case: Case, body: object) -> RecordedSpan:
    encoded = json.dumps(body).encode()
    return interpret(case.exchange(request_body=encoded, request_body_bytes=len(encoded)), "p")


def test_a_message_becomes_flat_attributes_without_what_it_has_not() -> None:
    message = {
        "role": "assistant",
        "contents": [{"type": "text", "text": "One moment."}],
        "tool_calls": [{"id": "a", "name": "find", "arguments": {"number": "17"}}],
    }

    found = dict(messages_attributes("llm.output_messages", [message]))

    assert {key: value for key, value in found.items() if value is not None} == {
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.contents.0.message_content.type": "text",
        "llm.output_messages.0.message.contents.0.message_content.text": "One moment.",
        "llm.output_messages.0.message.tool_calls.0.tool_call.id": "a",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "find",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": (
            '{"number": "17"}'
        ),
    }


def test_a_large_image_in_a_chat_is_replaced_in_message_and_input() -> None:
    def part(url: str) -> dict[str, object]:
        return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}

    body = {
        "model": "gpt-5-nano",
        "messages": [{"role": "user", "content": [part(_LARGE), part(_SMALL)]}],
    }

    found = _span(own_case("openai-chat"), body).attributes

    contents = "llm.input_messages.0.message.contents"
    given = json.loads(found["input.value"])["messages"][0]["content"]
    assert found[f"{contents}.0.message_content.image.image.url"] == REDACTED
    assert found[f"{contents}.1.message_content.image.image.url"] == _SMALL
    assert given == [part(REDACTED), part(_SMALL)]


def test_a_large_image_in_a_response_is_replaced_in_message_and_input() -> None:
    image = {"type": "input_image", "image_url": _LARGE}
    body = {"model": "gpt-5-nano", "input": [{"role": "user", "content": [image]}]}

    found = _span(own_case("openai-responses"), body).attributes

    prefix = "llm.input_messages.1.message.contents.0.message_content"
    assert found[f"{prefix}.image.image.url"] == REDACTED
    assert _LARGE not in found["input.value"]
