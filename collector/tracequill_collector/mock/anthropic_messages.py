"""An answer as Anthropic's Messages writes it, plain and as the events of a stream.

Bedrock's Claude writes the same; only the ids begin in another way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tracequill_collector.mock.answers import last_question
from tracequill_collector.mock.anthropic_request import Asked
from tracequill_collector.mock.conversation import (
    Answer,
    Json,
    count_tokens,
    identifier,
    tokens,
)
from tracequill_collector.mock.reply import MockRequest, compact_json
from tracequill_collector.mock.said import Said, say

# Claude says a word before it calls a function.
_BEFORE_CALLS = "I will look that up for you."
_THOUGHT_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Written:
    """An answer with its blocks and ids, and what it cost."""

    id: str
    model: str
    content: list[Json]
    said: Said
    thinking_tokens: int


def write(request: MockRequest, asked: Asked, model: str, id_mark: str = "") -> Written:
    """Answer *asked*; *id_mark* stands in all ids: ``msg_{id_mark}01…``."""
    said = say(request, asked.conversation, asked.limit, asked.stops)
    content: list[Json] = []
    thought = 0
    if asked.limit == 0:
        # Only the cache is filled.
        said = replace(said, answer=Answer(), stop_reason="max_tokens", output_tokens=0)
    elif asked.thinks:
        text = _thought(last_question(asked.conversation))
        thought = count_tokens(text)
        signature = identifier(86, request.body, "signature") + "=="
        content.append({"type": "thinking", "thinking": text, "signature": signature})
    if asked.limit:
        content.extend(_content(said, id_mark))
    return Written(
        id=f"msg_{id_mark}01" + identifier(22, request.path, request.body),
        model=model,
        content=content,
        said=replace(said, output_tokens=said.output_tokens + thought),
        thinking_tokens=thought,
    )


def message(written: Written, usage: Json) -> Json:
    """The whole answer as one message; *usage* is what stands beside the output tokens."""
    return {
        **_begun(written),
        "content": written.content,
        "stop_reason": written.said.stop_reason,
        "stop_sequence": written.said.stop_sequence,
        "usage": {**usage, "output_tokens": written.said.output_tokens},
    }


def message_events(written: Written, usage: Json, final_usage: Json) -> Iterator[Json]:
    """The events of a stream, from message_start to message_stop."""
    begun = {
        **_begun(written),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 1},
    }
    yield {"type": "message_start", "message": begun}
    for index, block in enumerate(written.content):
        yield from _block_events(block, index)
    said = written.said
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": said.stop_reason, "stop_sequence": said.stop_sequence},
        "usage": {**final_usage, "output_tokens": said.output_tokens},
    }
    yield {"type": "message_stop"}


def _begun(written: Written) -> Json:
    return {"id": written.id, "type": "message", "role": "assistant", "model": written.model}


def _content(said: Said, id_mark: str) -> list[Json]:
    text = said.answer.text or (_BEFORE_CALLS if said.answer.calls else "")
    content: list[Json] = [{"type": "text", "text": text}]
    for call, call_id in zip(said.answer.calls, said.call_ids, strict=True):
        content.append(
            {
                "type": "tool_use",
                "id": f"toolu_{id_mark}01{call_id}",
                "name": call.name,
                "input": call.arguments,
            }
        )
    return content


def _thought(question: str) -> str:
    asked = question[:_THOUGHT_CHARACTERS]
    return f"The user writes: “{asked}” I look for what our pages say about it."


def _block_events(block: Json, index: int) -> Iterator[Json]:
    match block["type"]:
        case "text":
            empty: Json = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in tokens(block["text"])]
        case "thinking":
            empty = {"type": "thinking", "thinking": "", "signature": ""}
            pieces = tokens(block["thinking"])
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        case _:
            empty = {**block, "input": {}}
            pieces = ["", *tokens(compact_json(block["input"]).decode())]
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    yield {"type": "content_block_start", "index": index, "content_block": empty}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}
