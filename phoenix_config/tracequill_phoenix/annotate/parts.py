"""What a message holds, as OpenInference nests it, becomes the parts that a page draws.

In comes one recorded message or document; out come dicts, each with its ``kind``. A text keeps its
exact characters: the page makes control characters visible, not we. Of an address only http and
https are kept, as a link to show; an image is drawn from ``data:`` alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from tracequill_phoenix.annotate.bounds import TEXT_CHARACTERS_MAX, number, short
from tracequill_phoenix.dataset_export.bodies import anthropic_messages
from tracequill_phoenix.dataset_export.conversation import (
    REDACTED,
    Message,
    Part,
    ToolCall,
    items,
    mapping,
    text,
)
from tracequill_phoenix.dataset_export.messages import REASONING

# Kinds that every browser draws; SVG is a document, not a picture.
_DATA_IMAGE = re.compile(r"data:(image/(?:avif|bmp|gif|jpe?g|png|webp));base64,", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?[^,]{0,200},")
_ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)
_ADDRESS_CHARACTERS_MAX = 2_000
_ELSEWHERE = frozenset({"text", "tool_use", "tool_result", "function_call"})
_MEDIA = ("audio", "video", "document", "file")


def text_fields(value: str) -> dict[str, Any]:
    """The fields of every text: what is said, and how long it was before anything was cut."""
    return {"text": value, "size": len(value), "truncated": False}


def is_json(value: str) -> bool:
    """Whether a text is a JSON object or list."""
    stripped = value.strip()
    if stripped[:1] not in ("{", "[") or len(stripped) > TEXT_CHARACTERS_MAX:
        return False
    try:
        return isinstance(orjson.loads(stripped), dict | list)
    except orjson.JSONDecodeError:
        return False


def json_text(value: object) -> str:
    """Write JSON as the page shows it; the page indents it."""
    return json.dumps(value, ensure_ascii=False)


def text_part(value: str, role: str = "assistant") -> dict[str, Any]:
    """A text that somebody wrote; JSON is told apart, and a tool's text is no Markdown."""
    if is_json(value):
        return {"kind": "json", **text_fields(value)}
    style = "plain" if role == "tool" else "markdown"
    return {"kind": "text", "format": style, **text_fields(value)}


def image_part(url: str) -> dict[str, Any]:
    """An image that the page may draw, or the reason why it does not."""
    part = {"kind": "image", "url": "", "target": "", "mime_type": "", "size": 0, "why": ""}
    if found := _DATA_IMAGE.match(url):
        part["mime_type"] = found.group(1).lower()
        data = url[found.end() :]
        part["size"] = len(data) * 3 // 4
        if _BASE64.fullmatch(data):
            part["url"] = url
        else:
            part["why"] = "not_an_image"
    elif url == REDACTED:
        part["why"] = "hidden"
    elif target := address(url):
        part |= {"target": target, "why": "outside"}
    else:
        part["why"] = "not_an_image"
    return part


def address(value: object) -> str:
    """Give an http or https address; empty for anything else."""
    url = text(value)
    if len(url) <= _ADDRESS_CHARACTERS_MAX and _ADDRESS.fullmatch(url):
        return url
    return ""


def recorded_parts(recorded: Mapping[str, Any], message: Message) -> list[dict[str, Any]]:
    """The parts of a recorded message; *message* is the same one, as it is read for training."""
    parts: list[dict[str, Any]] = []
    for entry in items(recorded.get("contents")):
        parts += _parts(mapping(entry.get("message_content")), message.role)
    # Reasoning can stand in its contents, and what was said beside them.
    if not any(part["kind"] in ("text", "json", "image") for part in parts):
        parts += message_parts(message)
    if parts:
        return parts
    whole = recorded.get("content")
    if whole and not isinstance(whole, str):
        return [{"kind": "unknown", **text_fields(json_text(whole))}]
    return []


def message_parts(message: Message) -> list[dict[str, Any]]:
    """The parts of a message that was read from a body."""
    return [part for said in message.parts for part in _said(said, message.role)]


def _said(part: Part, role: str) -> list[dict[str, Any]]:
    if part.kind == "image":
        return [image_part(part.value)]
    return (_blocks(part.value) if role == "tool" else []) or [text_part(part.value, role)]


def _blocks(value: str) -> list[dict[str, Any]]:
    """The parts of a tool's result that was recorded as the JSON of its blocks, as Claude's are."""
    blocks = orjson.loads(value.strip()) if is_json(value) else None
    if not isinstance(blocks, list):
        return []
    known = [isinstance(b, dict) and b.get("type") in ("text", "image") for b in blocks]
    if not all(known):
        return []
    (message,) = anthropic_messages({"messages": [{"role": "tool", "content": blocks}]}, [])
    return [part for said in message.parts for part in _said(Part(said.kind, said.value), "")]


def _parts(content: Mapping[str, Any], role: str) -> list[dict[str, Any]]:
    said = text(content.get("text"))
    if role == "tool" and said and (parts := _blocks(said)):
        return parts
    part = _part(content, said, role)
    return [part] if part is not None else []


def _part(content: Mapping[str, Any], said: str, role: str) -> dict[str, Any] | None:
    kind = text(content.get("type"))
    if kind in REASONING:
        return {"kind": "reasoning", "hidden": not said, **text_fields(said)}
    image = mapping(mapping(content.get("image")).get("image"))
    if url := text(image.get("url")):
        return image_part(url)
    for medium in _MEDIA:
        if kind == medium or content.get(medium):
            file = mapping(content.get(medium))
            return _file(medium, mapping(file.get(medium)) or file)
    if said:
        return text_part(said, role)
    # A call or result stands in the message itself, too.
    if kind in _ELSEWHERE or not any(content.values()):
        return None
    return {"kind": "unknown", **text_fields(json_text(content))}


def _file(medium: str, recorded: Mapping[str, Any]) -> dict[str, Any]:
    url = text(recorded.get("url"))
    found = _DATA_URL.match(url)
    transcript = text(recorded.get("transcript")) or text(recorded.get("content"))
    return {
        "kind": "file",
        "medium": medium,
        "name": short(recorded.get("name")),
        "mime_type": short(recorded.get("mime_type")) or short(found and found.group(1)),
        "target": address(url),
        "size": (len(url) - found.end()) * 3 // 4 if found else 0,
        "transcript": text_fields(transcript) if transcript else None,
    }


def call_part(call: ToolCall) -> dict[str, Any]:
    """A call that the model asked for; its results are added when they are met."""
    return {
        "kind": "tool_call",
        "id": short(call.id),
        "name": short(call.name),
        "arguments": text_fields(call.arguments),
        "results": [],
    }


def document_parts(entries: object) -> list[dict[str, Any]]:
    """The documents of a list as retrievers record them."""
    parts = []
    for entry in items(entries):
        document: dict[str, Any] = mapping(entry.get("document")) or entry
        metadata = document.get("metadata")
        if metadata and not isinstance(metadata, str):
            metadata = json_text(metadata)
        content = document.get("content")
        if content is not None and not isinstance(content, str):
            content = json_text(content)
        parts.append(
            {
                "kind": "document",
                "id": short(document.get("id")),
                "name": short(document.get("name")),
                "score": number(document.get("score")),
                "target": address(document.get("url")),
                "metadata": text_fields(metadata) if metadata else None,
                **text_fields(content or ""),
            }
        )
    return parts
