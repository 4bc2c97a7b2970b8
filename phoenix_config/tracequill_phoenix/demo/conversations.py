"""What the demo's customers ask, and what a person thought of some of the answers. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Way = Literal[
    "chat",
    "stream",
    "tools",
    "responses",
    "converse",
    "converse_stream",
    "converse_tools",
    "invoke",
    "invoke_stream",
    "embed",
    "wrong_model",
]
"""How a question is put to a model."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person said about an answer."""

    label: Literal["good", "bad"]
    explanation: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One question of a customer."""

    question: str
    way: Way
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """One customer's conversation."""

    name: str
    user: str
    turns: tuple[Turn, ...]
    tags: tuple[str, ...] = ()


SUPPORT_SESSIONS: tuple[Session, ...] = (
    Session(
        "delivery",
        "u-101",
        (
            Turn("Hello!", "chat"),
            Turn(
                "How long does standard delivery take?",
                "chat",
                Verdict("good", "Complete, and it says what happens next."),
            ),
            Turn("And do you deliver abroad?", "stream", Verdict("good", "Days and price.")),
            Turn("Thank you, that helps.", "stream"),
        ),
        ("delivery",),
    ),
    Session(
        "order",
        "u-102",
        (
            Turn(
                "Where is my order A-1042?",
                "tools",
                Verdict("good", "Looked the order up instead of guessing."),
            ),
            Turn("Can I still change the delivery address?", "chat"),
            Turn(
                "What is the status of order B-2210 and of order C-3001?",
                "tools",
                Verdict("bad", "He asked about two orders and got an answer about one."),
            ),
        ),
        ("order", "tools"),
    ),
    Session(
        "refund",
        "u-103",
        (
            Turn(
                "How many days do I have to return an order?",
                "chat",
                Verdict("good", "Correct and short."),
            ),
            Turn(
                "How long does a refund take?",
                "chat",
                Verdict("bad", "Our help page says five working days, not a month."),
            ),
            Turn(
                "Can my neighbour juggle three pumpkins?",
                "chat",
                Verdict("bad", "It should say no politely, not ask for an order number."),
            ),
        ),
        ("returns",),
    ),
    Session(
        "garden",
        "u-104",
        (
            Turn(
                "What warranty do your garden tools have?",
                "converse",
                Verdict("good", "States the ten years and that the receipt is enough."),
            ),
            Turn("Is article B-400 in stock in Ashwick?", "converse_tools"),
            Turn("How do I sharpen my secateurs?", "converse_stream"),
            Turn(
                "Which watering can is best for seedlings?",
                "invoke",
                Verdict("bad", "No help at all: the question was which one."),
            ),
        ),
        ("bedrock",),
    ),
    Session(
        "workshop",
        "u-105",
        (
            Turn("Do you repair tools and have spare parts?", "responses"),
            Turn("How do I care for wooden handles?", "wrong_model"),
            Turn("How do I care for wooden handles?", "invoke_stream"),
        ),
        ("workshop",),
    ),
)

PROXY_SESSIONS: tuple[Session, ...] = (
    Session(
        "voucher",
        "u-106",
        (
            Turn("Are gift cards available?", "chat", Verdict("good", "All she needs to know.")),
            Turn("My discount code does not work", "stream"),
            Turn("Where is my order D-4711?", "tools"),
        ),
    ),
    Session(
        "kitchen",
        "u-107",
        (
            Turn("How do I clean the copper kettle?", "converse"),
            Turn("How do I care for wooden handles?", "converse_stream"),
            Turn("How do I cancel my order?", "invoke"),
            Turn("When are you open?", "invoke_stream"),
        ),
    ),
    Session(
        "night",
        "u-108",
        (
            Turn("How can I track my parcel?", "responses"),
            Turn("How can I track my parcel?", "embed"),
            Turn("How can I track my parcel?", "wrong_model"),
        ),
    ),
)

PAGES: tuple[tuple[str, str], ...] = (
    (
        "delivery",
        "Standard delivery takes three to five working days and costs 4.90 euros. From 60 euros "
        "on it is free. Abroad it takes six to nine working days and costs 11.90 euros.",
    ),
    (
        "returns",
        "An order can be returned within 30 days of delivery, unused and in its box. The label is "
        "free inside the country.",
    ),
    (
        "refunds",
        "A refund is paid within five working days of the return's arrival, the way the order was "
        "paid.",
    ),
    (
        "address",
        "The delivery address can be changed until the order is packed, usually two hours after "
        "it was placed. After that the carrier can redirect the parcel.",
    ),
    (
        "warranty",
        "Garden tools have a warranty of ten years, electrical articles of two. The workshop "
        "repairs secateurs, shears and spades.",
    ),
    (
        "watering cans",
        "For seedlings we recommend the can Drizzle with its fine brass rose; for beds the can "
        "Tern of ten litres.",
    ),
)
"""The help pages that the support desk's retriever searches."""
