"""An answer with what the formats of Bedrock and Anthropic say about it, and their loose JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tracequill_collector.mock.answers import answer
from tracequill_collector.mock.conversation import (
    Answer,
    Conversation,
    Json,
    call_tokens,
    count_tokens,
    cut,
    identifier,
    prompt_tokens,
)
from tracequill_collector.mock.reply import MockRequest

_STOP_REASONS: dict[str, str] = {"": "end_turn", "limit": "max_tokens", "stop": "stop_sequence"}


@dataclass(frozen=True, slots=True)
class Said:
    """An answer with what its formats say about it."""

    answer: Answer
    stop_reason: str
    input_tokens: int
    output_tokens: int
    call_ids: tuple[str, ...]
    stop_sequence: str | None = None


def say(
    request: MockRequest, conversation: Conversation, limit: int | None, stops: Sequence[str]
) -> Said:
    """Answer *conversation* within the request's limits."""
    said = answer(conversation)
    ids = tuple(
        identifier(22, request.path, request.body, str(number), call.name)
        for number, call in enumerate(said.calls)
    )
    prompt = prompt_tokens(conversation)
    if said.calls:
        return Said(said, "tool_use", prompt, call_tokens(said.calls), ids)
    ended = cut(said.text, limit, stops)
    return Said(
        Answer(ended.text),
        _STOP_REASONS[ended.by],
        prompt,
        count_tokens(ended.text),
        (),
        ended.stop or None,
    )


def blocks(value: Any) -> list[Json]:
    """The objects of a list; a list is not required."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_object(value: Any) -> Json:
    """*value* if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}
