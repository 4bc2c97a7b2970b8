"""A conversation as every vendor means it: the vendors' modules build it, the answers read it.

It also states the token rule of the mock, which no real vendor shares:

- A token is up to eight letters or digits, or one other sign, with the white space before it.
- A message costs its tokens and 4 more, an image 85, the beginning of the answer 3.
- Tools cost the tokens of their names, descriptions and schemas.
- Past 20,000 characters a text counts one token for every four characters.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

Json = dict[str, Any]
Role = Literal["system", "user", "assistant", "tool"]

_TOKEN = re.compile(r"\s*\w{1,8}|\s*[^\w\s]|\s+")
_COUNTED_CHARACTERS = 20_000
_TOKENS_PER_MESSAGE = 4
_TOKENS_PER_IMAGE = 85
_TOKENS_PER_ANSWER = 3

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the application offers."""

    name: str
    description: str
    schema: Json
    """JSON schema of its arguments; an empty object when it takes none."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The answer asks the application to run a function."""

    name: str
    arguments: Json

    @property
    def arguments_text(self) -> str:
        """The arguments as the vendors write them: compact JSON text."""
        return orjson.dumps(self.arguments).decode()


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; a message of the role ``tool`` carries what a function returned."""

    role: Role
    text: str = ""
    tool_name: str = ""
    """Which function returned *text*; only for the role ``tool``, empty when unknown."""
    images: int = 0
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is asked, whoever asks it in whatever format."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: Literal["auto", "none", "required"] = "auto"
    forced_tool: str = ""
    """The one function that must be called; empty when none is named."""
    parallel_calls: bool = True
    json_answer: bool = False
    """The answer must be a JSON object."""
    json_schema: Json = field(default_factory=dict)
    """The schema of that object; empty when any object will do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says: a text, or functions to call."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Cut:
    """A text as far as the request lets it go."""

    text: str
    by: Literal["", "limit", "stop"]
    stop: str = ""
    """The stop sequence that ended it."""


def tokens(text: str) -> list[str]:
    """Cut *text* into tokens; joined again they are *text*."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """Count the tokens of *text* by the rule above."""
    if len(text) > _COUNTED_CHARACTERS:
        return len(text) // 4
    return len(_TOKEN.findall(text))


def prompt_tokens(conversation: Conversation) -> int:
    """Count what the conversation costs before the answer begins."""
    total = _TOKENS_PER_ANSWER
    for message in conversation.messages:
        total += _TOKENS_PER_MESSAGE + count_tokens(message.text)
        total += _TOKENS_PER_IMAGE * message.images
        total += call_tokens(message.calls)
    for tool in conversation.tools:
        total += count_tokens(f"{tool.name} {tool.description} ")
        total += count_tokens(orjson.dumps(tool.schema).decode())
    return total


def call_tokens(calls: Sequence[ToolCall]) -> int:
    """Count what the calls of an answer cost."""
    return sum(
        _TOKENS_PER_MESSAGE + count_tokens(call.name) + count_tokens(call.arguments_text)
        for call in calls
    )


def cut(text: str, limit: int | None = None, stops: Sequence[str] = ()) -> Cut:
    """End *text* before the first of *stops*, and after *limit* tokens at most."""
    stop = ""
    for candidate in stops:
        if isinstance(candidate, str) and candidate and candidate in text:
            text, stop = text.split(candidate, 1)[0], candidate
    pieces = tokens(text) if limit is not None else []
    if limit is not None and len(pieces) > limit:
        return Cut("".join(pieces[:limit]), "limit")
    return Cut(text, "stop" if stop else "", stop)


def identifier(length: int, *parts: str | bytes, alphabet: str = _LETTERS) -> str:
    """Give an id of *length* signs that depends on *parts* alone."""
    digest = hashlib.shake_256()
    for part in parts:
        digest.update(part.encode(errors="replace") if isinstance(part, str) else part)
        digest.update(b"\0")
    return "".join(alphabet[byte % len(alphabet)] for byte in digest.digest(length))


def hex_identifier(length: int, *parts: str | bytes) -> str:
    """Give an id of *length* hexadecimal digits that depends on *parts* alone."""
    return identifier(length, *parts, alphabet="0123456789abcdef")


def uuid_identifier(*parts: str | bytes) -> str:
    """Give an id in the shape of a UUID that depends on *parts* alone."""
    digits = hex_identifier(32, *parts)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
