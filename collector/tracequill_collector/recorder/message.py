"""Chat messages and tools, in OpenInference's shape: objects enter, flat attributes leave.

A message has ``role``, ``content`` or ``contents``, ``tool_calls`` and ``tool_call_id``; where
they come from is not known here. No input or output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from openinference.semconv.trace import (
    ImageAttributes,
    MessageAttributes,
    MessageContentAttributes,
    SpanAttributes,
    ToolAttributes,
    ToolCallAttributes,
)

from tracequill_collector.recorder.body import to_json

Pairs = Iterator[tuple[str, Any]]

ROLE = MessageAttributes.MESSAGE_ROLE
CONTENT = MessageAttributes.MESSAGE_CONTENT
CONTENTS = MessageAttributes.MESSAGE_CONTENTS
NAME = MessageAttributes.MESSAGE_NAME
TOOL_CALL_ID_OF_RESULT = MessageAttributes.MESSAGE_TOOL_CALL_ID
TOOL_CALLS = MessageAttributes.MESSAGE_TOOL_CALLS
TYPE = MessageContentAttributes.MESSAGE_CONTENT_TYPE
TEXT = MessageContentAttributes.MESSAGE_CONTENT_TEXT
SIGNATURE = MessageContentAttributes.MESSAGE_CONTENT_SIGNATURE
DATA = MessageContentAttributes.MESSAGE_CONTENT_DATA
IMAGE_URL = f"{MessageContentAttributes.MESSAGE_CONTENT_IMAGE}.{ImageAttributes.IMAGE_URL}"
CALL_ID = ToolCallAttributes.TOOL_CALL_ID
CALL_NAME = ToolCallAttributes.TOOL_CALL_FUNCTION_NAME
CALL_ARGUMENTS = ToolCallAttributes.TOOL_CALL_FUNCTION_ARGUMENTS_JSON
CALL_SIGNATURE = ToolCallAttributes.TOOL_CALL_REASONING_SIGNATURE
INPUT_MESSAGES = SpanAttributes.LLM_INPUT_MESSAGES
OUTPUT_MESSAGES = SpanAttributes.LLM_OUTPUT_MESSAGES
TOOL_SCHEMA = ToolAttributes.TOOL_JSON_SCHEMA

# What OpenInference's instrumentors record of an image in base64, unless told otherwise.
MAX_IMAGE_URL_CHARACTERS = 32_000
REDACTED = "__REDACTED__"
_BASE64 = re.compile(r"(?:data:[\w/+.;=-]{1,100},)?[A-Za-z0-9+/_-]+={0,2}")


def messages_attributes(prefix: str, messages: Iterable[Mapping[str, Any]]) -> Pairs:
    """Flatten *messages* under *prefix*, ``llm.input_messages`` or ``llm.output_messages``."""
    for index, message in enumerate(messages):
        yield from message_attributes(f"{prefix}.{index}.", message)


def message_attributes(prefix: str, message: Mapping[str, Any]) -> Pairs:
    """Flatten one message; *prefix* ends with a dot."""
    yield prefix + ROLE, message.get("role")
    yield prefix + NAME, text_or_none(message.get("name"))
    yield prefix + CONTENT, message.get("content")
    for index, part in enumerate(message.get("contents", ())):
        inner = f"{prefix}{CONTENTS}.{index}."
        yield inner + TYPE, part.get("type")
        yield inner + TEXT, text_or_none(part.get("text"))
        yield inner + IMAGE_URL, image_url(part.get("image_url"))
        yield inner + SIGNATURE, text_or_none(part.get("signature"))
        yield inner + DATA, text_or_none(part.get("data"))
    yield prefix + TOOL_CALL_ID_OF_RESULT, text_or_none(message.get("tool_call_id"))
    for index, call in enumerate(message.get("tool_calls", ())):
        inner = f"{prefix}{TOOL_CALLS}.{index}."
        yield inner + CALL_ID, call.get("id")
        yield inner + CALL_NAME, text_or_none(call.get("name"))
        arguments = call.get("arguments")
        if isinstance(arguments, dict):
            arguments = to_json(arguments)
        yield inner + CALL_ARGUMENTS, text_or_none(arguments)
        yield inner + CALL_SIGNATURE, text_or_none(call.get("signature"))


def tool_attributes(tools: Iterable[Any]) -> Pairs:
    """Give each tool's definition, whole, as JSON."""
    for index, tool in enumerate(tools):
        yield f"{SpanAttributes.LLM_TOOLS}.{index}.{TOOL_SCHEMA}", to_json(tool)


def text_or_none(value: Any) -> str | None:
    """Give *value* when it is text."""
    return value if isinstance(value, str) else None


def image_url(url: Any) -> str | None:
    """Give an image's URL; a large image in base64 is replaced, as the instrumentors do."""
    if not isinstance(url, str) or not url:
        return None
    return REDACTED if is_large_image(url) else url


def is_large_image(url: Any) -> bool:
    """Whether *url* is an image in base64 that the instrumentors would not record."""
    return (
        isinstance(url, str)
        and len(url) > MAX_IMAGE_URL_CHARACTERS
        and url.startswith("data:image/")
        and "base64" in url
    )


def without_large_binary(value: Any) -> Any:
    """Give JSON with every large text that is binary data in base64 replaced."""
    try:
        return _without_large_binary(value)
    except RecursionError:
        return value


def _without_large_binary(value: Any) -> Any:
    match value:
        case str() if len(value) > MAX_IMAGE_URL_CHARACTERS and _BASE64.fullmatch(value):
            return REDACTED
        case list():
            return [_without_large_binary(item) for item in value]
        case dict():
            return {key: _without_large_binary(item) for key, item in value.items()}
    return value


def objects(value: Any) -> list[dict[str, Any]]:
    """Give the objects in a JSON list; anything else has none."""
    if not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, dict)]


def mapping(value: Any) -> dict[str, Any]:
    """Give a JSON object; anything else is an empty one."""
    return value if isinstance(value, dict) else {}
