"""Conversations as people meet them: a number enters, the attributes of an LLM span leave.

Most answers are a paragraph or a page; some hold code, a table or JSON, some called tools before,
one of twenty is as long as a report and one as long as a book. The same number gives the same
conversation. Each question begins with its number, by which a page that shows it is known.
"""

from __future__ import annotations

import json
import random
from typing import Any

import orjson

from bench.ingest.servers import connected

TURN = 20
"""After so many conversations the kinds come again."""
REPORT_CHARACTERS = 20_000
BOOK_CHARACTERS = 200_000
_REPORT, _BOOK, _TOOLS, _CODE, _JSON, _HISTORY = (
    (7,),
    (13,),
    (2, 10, 17),
    (4, 15),
    (6,),
    (5, 11, 18),
)

Json = dict[str, Any]

_WORDS = (
    "the order was sent on to our partner and will be with you before the end of week because "
    "a refund needs your bank details please check whether address card number account still "
    "holds customer support team returned item invoice delivery tracking says it waits at "
    "customs we are sorry for this and have asked them to look into what happened again"
).split()
_CODE_BLOCK = """```python
def refund(order: Order, reason: str) -> Refund:
    \"\"\"Give back what *order* has cost.\"\"\"
    if order.is_paid and not order.is_refunded:
        return Refund(order_id=order.id, amount=order.total, reason=reason)
    raise NotRefundable(order.id)
```"""


def marker(number: int) -> str:
    """Give the words by which question *number* is known on a page."""
    return f"Question {number:06d}"


def conversation(number: int) -> Json:
    """Give the attributes of the span of conversation *number*."""
    chance = random.Random(number)
    kind = number % TURN
    question = f"{marker(number)}: {_sentence(chance)}"
    messages = [_message("system", _prose(chance, 600))]
    if kind in _HISTORY:
        for _ in range(chance.randint(2, 4)):
            messages += [
                _message("user", _prose(chance, 120)),
                _message("assistant", _prose(chance, 600)),
            ]
    messages.append(_message("user", question))
    if kind in _TOOLS:
        messages += _tool_call(chance, number)
    answer = _answer(chance, kind)
    return {
        "openinference": {"span": {"kind": "LLM"}},
        "input": {"value": question, "mime_type": "text/plain"},
        "output": {"value": answer, "mime_type": "text/plain"},
        "llm": {
            "model_name": "gpt-4o",
            "input_messages": messages,
            "output_messages": [_message("assistant", answer)],
        },
    }


def _answer(chance: random.Random, kind: int) -> str:
    if kind in _REPORT:
        return _prose(chance, REPORT_CHARACTERS)
    if kind in _BOOK:
        return _prose(chance, BOOK_CHARACTERS)
    if kind in _JSON:
        rows = [{"id": row, "state": "sent", "note": _sentence(chance)} for row in range(12)]
        return json.dumps({"orders": rows})
    if kind in _CODE:
        return f"{_prose(chance, 300)}\n\n{_CODE_BLOCK}\n\n{_prose(chance, 300)}"
    return _prose(chance, chance.choice((200, 400, 800, 1_600, 3_000)))


def _tool_call(chance: random.Random, number: int) -> list[Json]:
    arguments = json.dumps({"order": number, "fields": ["state", "address", "history"]})
    call = {"id": f"call_{number}", "function": {"name": "get_order", "arguments": arguments}}
    rows = [{"at": row, "state": "sent", "text": _sentence(chance)} for row in range(20)]
    asked = {"message": {"role": "assistant", "tool_calls": [{"tool_call": call}]}}
    result = _message("tool", json.dumps({"order": number, "history": rows}))
    result["message"]["tool_call_id"] = call["id"]
    return [asked, result]


def _message(role: str, content: str) -> Json:
    return {"message": {"role": role, "content": content}}


def _prose(chance: random.Random, characters: int) -> str:
    """Give Markdown of about *characters*: paragraphs, and now and then another form."""
    blocks: list[str] = []
    size = 0
    while size < characters:
        blocks.append(_block(chance))
        size += len(blocks[-1]) + 2
    return "\n\n".join(blocks)


def _block(chance: random.Random) -> str:
    form = chance.random()
    if form < 0.08:
        return f"## {_sentence(chance)}"
    if form < 0.2:
        return "\n".join(f"- **{_sentence(chance)}** {_sentence(chance)}" for _ in range(3))
    if form < 0.24:
        rows = "\n".join(f"| {row} | {_sentence(chance)} |" for row in range(4))
        return f"| Day | What happened |\n|---|---|\n{rows}"
    if form < 0.3:
        return _CODE_BLOCK
    sentences = [_sentence(chance) for _ in range(chance.randint(1, 4))]
    return " ".join([*sentences, f"See `order.{chance.choice(_WORDS)}`."])


def _sentence(chance: random.Random) -> str:
    words = chance.choices(_WORDS, k=chance.randint(6, 16))
    return " ".join(words).capitalize() + "."


async def put_into(url: str, span_ids: list[str]) -> None:
    """Let each of these spans hold a conversation, the first one number 0."""
    rows = [
        (orjson.dumps(conversation(number)).decode(), span_id)
        for number, span_id in enumerate(span_ids)
    ]
    async with connected(url) as connection:
        await connection.executemany(_PUT, rows)


# What belongs to the session and its user stays.
_PUT = "UPDATE spans SET attributes = attributes || $1::jsonb WHERE span_id = $2"
