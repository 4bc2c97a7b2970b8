"""A request or response body, as it crossed the wire, becomes messages.

Bodies stand in ``input.value`` and ``output.value``. They are read where an instrumentor recorded
no messages, or recorded less than the body says: which result answers which call (Claude on
Bedrock, streamed), and content that messages have no word for. Nothing here knows a training
format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tracequill_phoenix.dataset_export.conversation import (
    ROLES,
    Message,
    Part,
    ToolCall,
    arguments_text,
    image_part,
    items,
    mapping,
    parsed,
    text,
    text_part,
    unsupported,
)
from tracequill_phoenix.dataset_export.finding import Finding

# Kinds of content that no row can hold: Converse's keys, and the types of the others.
_MEDIA = {
    "audio": "audio",
    "document": "a document",
    "file": "a file",
    "input_audio": "audio",
    "input_file": "a file",
    "video": "a video",
    "video_url": "a video",
}


_MEDIA_WORD = re.compile(f'"(?:{"|".join(_MEDIA)})"')


def body_of(value: object) -> Any:
    """The JSON of ``input`` or ``output``; None for what is none."""
    recorded = mapping(value)
    return (
        parsed(recorded.get("value")) if recorded.get("mime_type") == "application/json" else None
    )


def lost_media(value: object) -> list[Finding]:
    """Find content in the request that ``input`` holds and that its messages leave out."""
    # Parsing every body a second time would halve the speed for the few that hold such content.
    if not _MEDIA_WORD.search(text(mapping(value).get("value"))):
        return []
    body = body_of(value)
    if isinstance(body, dict):
        body = body.get("messages") or body.get("input")
    for message in items(body if isinstance(body, list) else None):
        for part in items(message.get("content")):
            for kind in (part.get("type"), *part):
                if isinstance(kind, str) and kind in _MEDIA:
                    return [unsupported(_MEDIA[kind])]
    return []


# --- OpenAI ------------------------------------------------------------------------------


def openai_messages(bodies: object, findings: list[Finding]) -> list[Message]:
    """Messages in the shape of OpenAI's chat completions."""
    if not isinstance(bodies, list):
        return []
    messages: list[Message] = []
    for body in bodies:
        role = body.get("role") if isinstance(body, dict) else None
        if not isinstance(role, str):
            return []
        message = Message(ROLES.get(role.lower(), role), name=text(body.get("name")))
        message.tool_call_id = text(body.get("tool_call_id"))
        message.parts = list(openai_parts(body.get("content"), findings))
        if not message.parts and (refusal := text(body.get("refusal"))):
            message.parts = [text_part(refusal, findings)]
        calls = [
            mapping(call.get("function")) | {"id": call.get("id")}
            for call in items(body.get("tool_calls"))
        ]
        for call in [*calls, mapping(body.get("function_call"))]:
            if call:
                arguments = arguments_text(call.get("arguments"))
                message.tool_calls.append(
                    ToolCall(text(call.get("id")), text(call.get("name")), arguments)
                )
        messages.append(message)
    return messages


def openai_parts(content: object, findings: list[Finding]) -> Iterator[Part]:
    """The parts of a ``content`` that is a text or a list of typed parts."""
    if isinstance(content, str) and content:
        yield text_part(content, findings)
    for part in items(content if isinstance(content, list) else None):
        kind = part.get("type")
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        if isinstance(url, str) and url:
            yield image_part(url, findings)
        elif isinstance(part.get("text"), str) and part["text"]:
            yield text_part(part["text"], findings)
        elif isinstance(kind, str) and kind in _MEDIA:
            findings.append(unsupported(_MEDIA[kind]))


def openai_answers(body: object, findings: list[Finding]) -> list[Message]:
    """The answers in a response of OpenAI's chat completions, or in one bare message."""
    response = mapping(body)
    if isinstance(choices := response.get("choices"), list):
        found = [mapping(choice).get("message") for choice in choices]
        return openai_messages([message for message in found if message], findings)
    return openai_messages([response], findings) if response.get("role") == "assistant" else []


# --- Anthropic ---------------------------------------------------------------------------


def anthropic_messages(body: Mapping[str, Any], findings: list[Finding]) -> list[Message]:
    """Messages in the shape of Anthropic's Messages API, its system prompt the first."""
    messages: list[Message] = []
    if system := list(_anthropic_parts(body.get("system"), findings)):
        messages.append(Message("system", system))
    for recorded in items(body.get("messages")):
        role = text(recorded.get("role"))
        message = Message(ROLES.get(role, role))
        content = recorded.get("content")
        blocks = items(content if isinstance(content, list) else None)
        for block in blocks:
            if block.get("type") == "tool_use":
                arguments = arguments_text(block.get("input"))
                message.tool_calls.append(
                    ToolCall(text(block.get("id")), text(block.get("name")), arguments)
                )
            elif block.get("type") == "tool_result":
                result = list(_anthropic_parts(block.get("content"), findings))
                identity = text(block.get("tool_use_id"))
                messages.append(Message("tool", result, tool_call_id=identity))
        message.parts = list(_anthropic_parts(content, findings))
        results_only = bool(blocks) and all(b.get("type") == "tool_result" for b in blocks)
        if not results_only:
            messages.append(message)
    return messages


def _anthropic_parts(content: object, findings: list[Finding]) -> Iterator[Part]:
    if isinstance(content, str) and content:
        yield text_part(content, findings)
    for block in items(content if isinstance(content, list) else None):
        kind = block.get("type")
        if kind == "text" and text(block.get("text")):
            yield text_part(block["text"], findings)
        elif kind == "image":
            source = mapping(block.get("source"))
            url = text(source.get("url"))
            if source.get("type") == "base64":
                url = f"data:{source.get('media_type')};base64,{source.get('data')}"
            if url:
                yield image_part(url, findings)
            else:
                findings.append(unsupported("an image without its URL"))
        elif isinstance(kind, str) and kind in _MEDIA:
            findings.append(unsupported(_MEDIA[kind]))
