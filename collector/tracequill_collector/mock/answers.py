"""What the mock says: a conversation goes in, a text or calls to functions come out.

The same conversation always gets the same answer. It knows no vendor's format.

- The last message is what a function returned: the answer reports it.
- A function fits the last question (``tools.py`` says when): the answer calls it.
- ``Repeat after me: X`` is answered with X, ``Count to N`` with N numbers, one token each.
- Else the answer book is asked, and if it has no page, the answer says so in a full sentence.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from typing import Any

import orjson

from tracequill_collector.mock.book import BOOK, SHOP
from tracequill_collector.mock.conversation import Answer, Conversation, Message, identifier
from tracequill_collector.mock.schema import fill
from tracequill_collector.mock.tools import choose_calls
from tracequill_collector.mock.words import stems

_READ_CHARACTERS = 2_000  # of a question; who pastes a book is answered about its end
_COUNT_MOST = 4_096
_REPEAT = re.compile(r"repeat after me:\s*(.+)", re.IGNORECASE | re.DOTALL)
_COUNT = re.compile(r"count (?:from 1 )?to (\d{1,6})", re.IGNORECASE)
_QUESTION = re.compile(r".*\bquestion:\s*", re.IGNORECASE | re.DOTALL)
# How much of a page's weight the question must hold to be answered from that page.
_LEAST_MATCH = 0.34
_EARLIER_WEIGHT = 0.35

# What a second, third, … choice of the same answer adds.
_ENDINGS = (
    " Is there anything else I can do for you?",
    " Just write again if something is unclear.",
    " I am glad to look at your order as well.",
    " The help pages of our shop say more about it.",
)
_UNKNOWN = (
    "I have no page about “{question}” yet. Tell me an order number, or what you would like to "
    "do, and I will find out.",
    "You asked: “{question}” I only know about orders, deliveries, returns and garden tools of "
    "{shop}. Could you say a little more?",
    "That is a good question: “{question}” I am not sure of the answer, so I pass it on to a "
    "colleague, who writes to you today.",
)


def answer(conversation: Conversation, variation: int = 0) -> Answer:
    """Answer *conversation*; another *variation* says the same in slightly other words."""
    if calls := choose_calls(conversation):
        return Answer(calls=calls)
    text = _text(conversation)
    if conversation.json_answer:
        return Answer(text=_json_text(conversation, text, variation))
    if variation:
        text += _ENDINGS[(variation - 1) % len(_ENDINGS)]
    return Answer(text=text)


def last_question(conversation: Conversation) -> str:
    """Give what the user asked last, without the context that a retriever put before it."""
    asked = [message.text for message in conversation.messages if message.role == "user"]
    return _bare_question(asked[-1]) if asked else ""


def _bare_question(text: str) -> str:
    return _QUESTION.sub("", text[-_READ_CHARACTERS:], count=1).strip()


def _text(conversation: Conversation) -> str:
    results = _results(conversation.messages)
    if results:
        return "Here is what I found. " + " ".join(_report(result.text) for result in results)
    question = last_question(conversation)
    if repeat := _REPEAT.search(question):
        return repeat[1].strip()
    if count := _COUNT.search(question):
        return " ".join(str(number) for number in range(1, min(int(count[1]), _COUNT_MOST) + 1))
    asked = [message.text for message in conversation.messages if message.role == "user"]
    earlier = _bare_question(asked[-2]) if len(asked) > 1 else ""
    return _from_book(question, earlier) or _unknown(question)


def _results(messages: tuple[Message, ...]) -> list[Message]:
    results: list[Message] = []
    for message in reversed(messages):
        if message.role != "tool":
            break
        results.insert(0, message)
    return results


def _report(text: str) -> str:
    """Say what a function returned as a sentence: its JSON fields, or its text."""
    try:
        value: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = text.strip()
    if isinstance(value, dict) and value:
        fields = "; ".join(f"{str(key).replace('_', ' ')}: {_said(value[key])}" for key in value)
        return f"{fields[0].upper()}{fields[1:]}."
    said = _said(value) or "nothing"
    return said if said.endswith((".", "!", "?")) else f"{said}."


def _said(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(_said(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(item)}" for key, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)


@lru_cache(maxsize=1)
def _pages() -> tuple[list[tuple[frozenset[str], str]], dict[str, float]]:
    """The book's pages as word stems, and each stem's weight: rare words say more."""
    pages = [(frozenset(stems(question)), text) for question, text in BOOK]
    seen = Counter(stem for words, _ in pages for stem in words)
    return pages, {stem: 1 / count for stem, count in seen.items()}


def _from_book(question: str, earlier: str) -> str:
    pages, weights = _pages()
    now, before = set(stems(question)), set(stems(earlier))
    known = sum(weights.get(stem, 0.5) for stem in now)
    best, best_score = "", 0.0
    for words, text in pages:
        met = sum(weights[stem] for stem in words & now)
        if not met:
            continue
        share = met / max(known, 0.5)
        score = share + _EARLIER_WEIGHT * sum(weights[stem] for stem in words & (before - now))
        if share >= _LEAST_MATCH and score > best_score:
            best, best_score = text, score
    return best


def _unknown(question: str) -> str:
    words = question.split()
    shown = " ".join(words[:16]) + (" …" if len(words) > 16 else "")
    choice = int(identifier(4, question, alphabet="0123456789"))
    return _UNKNOWN[choice % len(_UNKNOWN)].format_map({"question": shown, "shop": SHOP})


def _json_text(conversation: Conversation, text: str, variation: int) -> str:
    if conversation.json_schema:
        value = fill(conversation.json_schema, last_question(conversation), text)
        return orjson.dumps(value).decode()
    answered: dict[str, Any] = {"answer": text}
    if variation:
        answered["choice"] = variation
    return orjson.dumps(answered).decode()
