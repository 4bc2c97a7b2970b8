"""The canonical conversation: what all recordings become and all training formats start from.

Plain data, and the words for it. Nothing here knows how a conversation was recorded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from tracequill_phoenix.dataset_export.finding import Finding

ROLES = {
    "ai": "assistant",
    "assistant": "assistant",
    "developer": "system",
    "function": "tool",
    "human": "user",
    "model": "assistant",
    "system": "system",
    "tool": "tool",
    "user": "user",
}
# What OpenInference's TraceConfig writes in place of what it hides.
REDACTED = "__REDACTED__"


@dataclass(slots=True)
class Part:
    """A piece of content; *value* is a text, or the URL of an image."""

    kind: Literal["text", "image"]
    value: str


@dataclass(slots=True)
class ToolCall:
    """A call that the model asked for; *arguments* is the JSON text as it was recorded."""

    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class Message:
    """One turn. *role* is system, user, assistant or tool, or an unknown word as recorded."""

    role: str
    parts: list[Part] = field(default_factory=list)
    tool_calls: list[ToolCall] = field(default_factory=list)
    tool_call_id: str = ""
    name: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of the message, as of one that held reasoning alone."""
        return not self.parts and not self.tool_calls


@dataclass(slots=True)
class Conversation:
    """What the model saw (*history*, *tools*) and what it said (*answer*).

    The answer stands apart so that a correction by a person can take its place.
    """

    history: list[Message]
    answer: Message | None
    tools: list[dict[str, Any]]
    parallel_tool_calls: bool | None
    findings: list[Finding]


# --- what both ways of recording are read with ---------------------------------------------


def text_part(text: str, findings: list[Finding]) -> Part:
    """A text, and a finding if the application hid it."""
    if text == REDACTED:
        findings.append(_redacted("a text"))
    return Part("text", text)


def image_part(url: str, findings: list[Finding]) -> Part:
    """An image, and a finding if the application hid it."""
    if url == REDACTED:
        findings.append(_redacted("an image"))
    return Part("image", url)


def _redacted(what: str) -> Finding:
    return Finding("redacted_content", f"{what} was hidden by the application when it was recorded")


def unsupported(medium: str) -> Finding:
    """The finding for content that no row can hold."""
    return Finding(
        "unsupported_content", f"a message holds {medium}; a row can hold text and images"
    )


def arguments_text(recorded: object) -> str:
    """Arguments as JSON text; a call without any was recorded without them."""
    if recorded is None or recorded == "":
        return "{}"
    # The standard library's, because it also writes an integer past 64 bits.
    if isinstance(recorded, str):
        return recorded
    return json.dumps(recorded, ensure_ascii=False, separators=(",", ":"))


def items(value: object) -> list[dict[str, Any]]:
    """The entries of a list, also of one that was stored as a mapping of its indexes."""
    if isinstance(value, Mapping):
        value = [value[key] for key in sorted(filter(str.isdecimal, value), key=int)]
    if not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, dict)]


def mapping(value: object) -> dict[str, Any]:
    """*value* if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def parsed(value: object) -> Any:
    """The JSON that a text holds; None for what is none; anything but a text as it is."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None


def text(value: object) -> str:
    """*value* if it is a text, else an empty one."""
    return value if isinstance(value, str) else ""
