"""Exchanges to record: what an application sends and what its vendors answer, in a realistic mix.

The answers are those of the built-in mock upstream, so every shape is a vendor's. Ids and times are
new in every exchange; the texts repeat.
"""

from __future__ import annotations

import dataclasses
import json
import random
import time
from collections.abc import Iterator
from typing import Any

from tracequill_collector.exchange import Exchange
from tracequill_collector.mock import MockUpstream

SEED = 20_26
_TEMPLATES = 200
_CLAUDE = "anthropic.claude-3-haiku-20240307-v1%3A0"
_NOVA = "us.amazon.nova-lite-v1%3A0"
_WORDS = (
    "order delivery garden hose spade return carrier address invoice refund warranty season seed "
    "planter gloves rake discount stock weather question answer colour size metal handle"
).split()
_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_FUNCTION = {"name": "get_weather", "description": "finds the weather", "parameters": _SCHEMA}
_WEATHER = "What is the weather in Paris and in London?"

MIX: dict[str, float] = {
    "OpenAI chat": 0.34,
    "OpenAI chat, streamed": 0.26,
    "OpenAI chat with tools": 0.12,
    "OpenAI responses, streamed": 0.06,
    "OpenAI embeddings": 0.04,
    "Bedrock Converse": 0.06,
    "Bedrock Converse, streamed": 0.06,
    "Bedrock InvokeModel, Claude": 0.03,
    "Bedrock InvokeModel, Claude, streamed": 0.03,
}
"""What is recorded, and its share."""


async def make_templates() -> list[Exchange]:
    """Give one exchange for each of 200 calls; the same ones every time."""
    chance = random.Random(SEED)
    mock = MockUpstream(clock=lambda: 1_790_000_000.0)
    kinds = [kind for kind, share in MIX.items() for _ in range(round(share * _TEMPLATES))]
    chance.shuffle(kinds)
    return [await _template(mock, chance, kind) for kind in kinds]


def fresh(templates: list[Exchange], chance: random.Random) -> Iterator[Exchange]:
    """Give exchanges without end, each with ids and times of its own."""
    while True:
        for template in templates:
            now = time.time_ns()
            yield dataclasses.replace(
                template,
                trace_id=chance.randbytes(16).hex(),
                span_id=chance.randbytes(8).hex(),
                start_unix_ns=now - 900_000_000,
                first_byte_unix_ns=now - 600_000_000,
                end_unix_ns=now,
            )


async def _template(mock: MockUpstream, chance: random.Random, kind: str) -> Exchange:
    path, body = _call(chance, kind)
    content = json.dumps(body).encode()
    is_bedrock = path.startswith("/model/")
    sent = [("content-type", "application/json")]
    if not is_bedrock:
        sent.append(("authorization", "Bearer sk-mock"))
    response = await mock.handle("POST", path, sent, content)
    chunks = [chunk async for chunk in response.chunks]
    answer = b"".join(chunks)
    if response.status != 200:
        raise ValueError(f"the mock refused {kind}: {answer[:200]!r}")
    vendor = "bedrock" if is_bedrock else "openai"
    return Exchange(
        route=vendor,
        vendor=vendor,
        region="us-east-1" if is_bedrock else "",
        method="POST",
        path=path,
        trace_id="",
        span_id="",
        parent_span_id="",
        traced=False,
        start_unix_ns=0,
        first_byte_unix_ns=0,
        end_unix_ns=0,
        end="complete",
        error="",
        status=200,
        chunk_count=len(chunks),
        request_headers=(("content-type", "application/json"), ("user-agent", "openai-python")),
        response_headers=(
            *((name, value) for name, value in response.headers if name != "content-length"),
            ("x-ratelimit-remaining-requests", "4999"),
            ("x-ratelimit-remaining-tokens", "149984"),
        ),
        request_body_bytes=len(content),
        response_body_bytes=len(answer),
        session_id=f"session-{chance.randrange(1000)}",
        user_id=f"user-{chance.randrange(100)}",
        request_body=content,
        response_body=answer,
    )


def _call(chance: random.Random, kind: str) -> tuple[str, dict[str, Any]]:
    """Give path and body of one call."""
    streamed = kind.endswith("streamed")
    if kind.startswith("OpenAI chat"):
        messages = _messages(chance)
        body: dict[str, Any] = {"model": "gpt-4o-mini", "messages": messages, "temperature": 0.2}
        if kind.endswith("tools"):
            messages.append({"role": "user", "content": _WEATHER})
            body["tools"] = [{"type": "function", "function": _FUNCTION}]
        if streamed:
            messages.append({"role": "user", "content": _long_answer(chance)})
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return "/v1/chat/completions", body
    if kind.startswith("OpenAI responses"):
        return "/v1/responses", {
            "model": "gpt-4o-mini",
            "input": [*_messages(chance), {"role": "user", "content": _long_answer(chance)}],
            "stream": streamed,
        }
    if kind == "OpenAI embeddings":
        texts = [_text(chance, 40) for _ in range(2)]
        model = "text-embedding-3-small"
        return "/v1/embeddings", {"model": model, "input": texts, "encoding_format": "base64"}
    question = _long_answer(chance) if streamed else _text(chance, 40) + "?"
    if kind.startswith("Bedrock Converse"):
        operation = "converse-stream" if streamed else "converse"
        return f"/model/{_NOVA}/{operation}", {
            "system": [{"text": _text(chance, 60)}],
            "messages": [{"role": "user", "content": [{"text": question}]}],
            "inferenceConfig": {"maxTokens": 1024, "temperature": 0.2},
        }
    operation = "invoke-with-response-stream" if streamed else "invoke"
    return f"/model/{_CLAUDE}/{operation}", {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 1024,
        "system": _text(chance, 60),
        "messages": [{"role": "user", "content": question}],
    }


def _messages(chance: random.Random) -> list[dict[str, Any]]:
    """Give a conversation of one to three turns."""
    messages = [{"role": "system", "content": _text(chance, 60)}]
    for _ in range(chance.randrange(3)):
        messages.append({"role": "user", "content": _text(chance, 30) + "?"})
        messages.append({"role": "assistant", "content": _text(chance, 90)})
    messages.append({"role": "user", "content": f"Repeat after me: {_text(chance, 100)}"})
    return messages


def _long_answer(chance: random.Random) -> str:
    return f"Repeat after me: {_text(chance, chance.randrange(40, 160))}"


def _text(chance: random.Random, words: int) -> str:
    return " ".join(chance.choice(_WORDS) for _ in range(words))
