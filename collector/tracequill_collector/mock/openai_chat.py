"""POST /v1/chat/completions, plain and as a stream of server-sent events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    hex_identifier,
    identifier,
    prompt_tokens,
    tokens,
)
from tracequill_collector.mock.openai_errors import (
    OpenAIError,
    parse_body,
    required_text,
    server_error,
    whole_number,
)
from tracequill_collector.mock.openai_messages import read_chat
from tracequill_collector.mock.openai_models import chat_model, is_reasoning
from tracequill_collector.mock.reply import MockRequest, Reply, compact_json, pretty_json

_CHOICES_MOST = 128
_REASONING_TOKENS = 64
_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP"


@dataclass(frozen=True, slots=True)
class _Choice:
    answer: Answer
    finish_reason: str
    tokens: int


@dataclass(frozen=True, slots=True)
class _Completion:
    """What every form of the answer has in common."""

    id: str
    created: int
    model: str
    fingerprint: str
    choices: list[_Choice]
    usage: Json


def complete(request: MockRequest) -> Reply:
    """Answer one request; an OpenAIError when the vendor would refuse it."""
    fields = parse_body(request.body)
    model = required_text(fields, "model")
    served = chat_model(model)
    conversation = read_chat(fields)
    completion = _completion(request, fields, served, conversation)
    if fields.get("stream") is not True:
        return Reply(200, _headers(), [pretty_json(_plain(completion))])
    options = fields.get("stream_options")
    options = options if isinstance(options, dict) else {}
    chunks = [b"data: " + compact_json(event) + b"\n\n" for event in _events(completion, options)]
    return Reply(
        200,
        [("content-type", "text/event-stream; charset=utf-8")],
        [*chunks, b"data: [DONE]\n\n"],
        broken_off=server_error().event,
    )


def usage(prompt: int, completion: int, reasoning: int) -> Json:
    """Usage with its details; long prompts count as cached, down to a multiple of 128."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached_tokens(prompt), "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def cached_tokens(prompt: int) -> int:
    """The vendor caches prompts of 1,024 tokens and more, in steps of 128."""
    return (prompt - 1) // 128 * 128 if prompt >= 1024 else 0


def reasoning_tokens(model: str) -> int:
    """How many tokens *model* thinks before it answers."""
    return _REASONING_TOKENS if is_reasoning(model) else 0


def _headers() -> list[tuple[str, str]]:
    return [("content-type", "application/json")]


def _completion(
    request: MockRequest, fields: Json, model: str, conversation: Conversation
) -> _Completion:
    limit = whole_number(fields, "max_completion_tokens", 1, 1_000_000) or whole_number(
        fields, "max_tokens", 1, 1_000_000
    )
    wanted = whole_number(fields, "n", 1, _CHOICES_MOST) or 1
    temperature = fields.get("temperature")
    if isinstance(temperature, int | float) and not 0 <= temperature <= 2:
        side = "above maximum" if temperature > 2 else "below minimum"
        bound = "<= 2" if temperature > 2 else ">= 0"
        raise OpenAIError(
            400,
            f"Invalid 'temperature': decimal {side} value. Expected a value {bound}, but got "
            f"{temperature} instead.",
            param="temperature",
            code=f"decimal_{side.replace('imum', '').replace(' ', '_')}_value",
        )
    thought = reasoning_tokens(model)
    stop = fields.get("stop")
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    choices = [_choice(answer(conversation, index), limit, stops) for index in range(wanted)]
    return _Completion(
        id="chatcmpl-" + identifier(29, request.body),
        created=request.created_unix_seconds,
        model=model,
        fingerprint="fp_" + hex_identifier(10, model),
        choices=choices,
        usage=usage(
            prompt_tokens(conversation),
            sum(choice.tokens + thought for choice in choices),
            thought * wanted,
        ),
    )


def _choice(said: Answer, limit: int | None, stops: Sequence[str]) -> _Choice:
    if said.calls:
        return _Choice(said, "tool_calls", call_tokens(said.calls))
    ended = cut(said.text, limit, stops)
    reason = "length" if ended.by == "limit" else "stop"
    return _Choice(Answer(ended.text), reason, count_tokens(ended.text))


def _call_ids(completion: _Completion, index: int) -> Iterator[str]:
    for number, call in enumerate(completion.choices[index].answer.calls):
        yield "call_" + identifier(24, completion.id, str(index), str(number), call.name)


def _plain(completion: _Completion) -> Json:
    return {
        "id": completion.id,
        "object": "chat.completion",
        "created": completion.created,
        "model": completion.model,
        "choices": [
            {
                "index": index,
                "message": _message(completion, index),
                "logprobs": None,
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(completion.choices)
        ],
        "usage": completion.usage,
        "service_tier": "default",
        "system_fingerprint": completion.fingerprint,
    }


def _message(completion: _Completion, index: int) -> Json:
    said = completion.choices[index].answer
    message: Json = {"role": "assistant", "content": said.text}
    if said.calls:
        message["content"] = None
        message["tool_calls"] = [
            {
                "id": call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments_text},
            }
            for call_id, call in zip(_call_ids(completion, index), said.calls, strict=True)
        ]
    return {**message, "refusal": None, "annotations": []}


def _events(completion: _Completion, options: Json) -> Iterator[Json]:
    """All events of the stream, choice after choice, the beginnings of all choices first."""
    counts = options.get("include_usage") is True
    hides = options.get("include_obfuscation") is not False
    shared: Json = {
        "id": completion.id,
        "object": "chat.completion.chunk",
        "created": completion.created,
        "model": completion.model,
        "service_tier": "default",
        "system_fingerprint": completion.fingerprint,
    }
    number = 0
    for index, delta, finish_reason in _deltas(completion):
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        event = {**shared, "choices": [choice]}
        if counts:
            event["usage"] = None
        if hides:
            number += 1
            event["obfuscation"] = _ALPHABET[: number * 7 % 11]
        yield event
    if counts:
        yield {**shared, "choices": [], "usage": completion.usage}


def _deltas(completion: _Completion) -> Iterator[tuple[int, Json, str | None]]:
    for index, choice in enumerate(completion.choices):
        said = choice.answer
        content = None if said.calls else ""
        yield index, {"role": "assistant", "content": content, "refusal": None}, None
    for index, choice in enumerate(completion.choices):
        for piece in tokens(choice.answer.text):
            yield index, {"content": piece}, None
        ids = list(_call_ids(completion, index))
        for number, call in enumerate(choice.answer.calls):
            begin = {
                "index": number,
                "id": ids[number],
                "type": "function",
                "function": {"name": call.name, "arguments": ""},
            }
            yield index, {"tool_calls": [begin]}, None
            for piece in tokens(call.arguments_text):
                part: dict[str, Any] = {"index": number, "function": {"arguments": piece}}
                yield index, {"tool_calls": [part]}, None
        yield index, {}, choice.finish_reason
