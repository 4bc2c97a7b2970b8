"""The shapes of what the annotation queue's routes answer, below ``data``.

They describe; nothing is checked by them while Phoenix runs. Tests hold real answers to them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

Role = Literal["admin", "member", "viewer"]
Kind = Literal["CATEGORICAL", "CONTINUOUS", "FREEFORM"]
Did = Literal["answer", "skip", "flag"]
Values = Annotated[
    dict[str, dict[str, Any]],
    Field(
        description="By label: `label`, `labels`, `score` or `text`, and mostly `explanation`.",
        examples=[{"quality": {"label": "good"}, "tags": {"labels": ["long"]}}],
    ),
]
Conversation = Annotated[
    dict[str, Any],
    Field(description="`question`, `answer`, `messages`, `earlier`, `documents`, `tools`, …"),
]


class Named(TypedDict):
    """Somebody, and the name under which they are shown."""

    person: Annotated[str, Field(examples=["px-app:VXNlcjox", "tracequill:Ana"])]
    name: Annotated[str, Field(examples=["Ana"])]


class Person(Named):
    """Somebody with a role."""

    role: Role


class Choosable(Person):
    """Somebody who may be assigned."""

    user_id: int | None


class Me(TypedDict):
    """Who asks."""

    person: Person | None
    needs_name: bool
    authentication: bool
    can_create: bool
    waiting: Annotated[int, Field(description="Questions that wait in all queues, at most 1000.")]


class Choice(TypedDict):
    """One value of a label."""

    label: Annotated[str, Field(examples=["good"])]
    score: float | None


class Label(TypedDict):
    """One thing to be said about an answer."""

    name: Annotated[str, Field(examples=["quality"])]
    kind: Kind
    required: bool
    multiple: bool
    description: str
    values: list[Choice]
    lower_bound: float | None
    upper_bound: float | None
    direction: Literal["MAXIMIZE", "MINIMIZE", "NONE"]
    config_id: str | None


class Queue(TypedDict):
    """A queue, counted for whoever asks."""

    queue_id: Annotated[int, Field(examples=[3])]
    name: Annotated[str, Field(examples=["first look"])]
    instructions: Annotated[str, Field(description="Markdown.")]
    overlap: Annotated[int, Field(description="How many people judge each question.")]
    order: Literal["newest", "oldest", "random"]
    assigned_only: bool
    advance_on_digit: bool
    lease_seconds: int
    keep_days: int | None
    labels: list[Label]
    members: list[Named]
    created_at: datetime
    created_by: Named | None
    archived_at: datetime | None
    url: str
    items: int
    done: Annotated[int, Field(description="Questions that everybody has answered.")]
    answers: int
    waiting: int
    mine: int
    questions: Annotated[int, Field(description="To the manager, without reply.")]
    may_answer: bool
    may_manage: bool
    project: str
    where: Annotated[str, Field(description="The filter of the last addition.")]


class Project(TypedDict):
    """A project of Phoenix."""

    name: str
    project_id: str


class Facets(TypedDict):
    """The most frequent models and users of a project's newest calls."""

    models: list[str]
    users: list[str]


class Expression(TypedDict):
    """The filter that a form means."""

    where: Annotated[str, Field(examples=["llm.model_name == 'gpt-4o'"])]


class Previewed(TypedDict):
    """One answer that would be added."""

    span_id: str
    trace_id: str
    asked_at: datetime
    model: str
    user: str
    question: str
    answer: str


class Preview(Expression):
    """What would be added."""

    count: int
    already: int
    counted_all: Annotated[bool, Field(description="Whether there are not more than `count`.")]
    items: list[Previewed]


class Added(TypedDict):
    """What was added."""

    added: int
    already: int
    items: int


class Correction(TypedDict, total=False):
    """The answer as it should have been."""

    text: str
    message: dict[str, Any] | None
    diff: str | None


class Timing(TypedDict):
    """When, by the browser's clock."""

    shown_at: datetime | None
    first_key_at: datetime | None
    submitted_at: datetime | None
    keys: int | None


class Answer(TypedDict):
    """What one person said of one question."""

    answer_id: str
    item_id: int
    queue_id: int
    person: str
    name: str | None
    values: Values
    correction: Correction | None
    timing: Timing
    answered_at: datetime
    seconds: float | None
    replaces: str | None


class Flag(TypedDict):
    """A question to the manager."""

    flag_id: str
    question: str
    asked_at: datetime
    reply: str | None
    replied_by: Any
    replied_at: datetime | None


class Short(TypedDict):
    """A question and its answer in short."""

    question: str
    answer: str


class ListedFlag(Flag):
    """A question to the manager, and what it is about."""

    item_id: int
    person: str
    name: str
    conversation_preview: Short


class Flagged(TypedDict):
    """The question to the manager."""

    flag: Flag


class Lease(TypedDict):
    """How long a question is kept for somebody."""

    until: datetime
    seconds: int


class Draft(TypedDict):
    """What has been said so far."""

    values: Values
    correction: Correction | None
    saved_at: datetime


class Links(TypedDict):
    """Paths of Phoenix's own pages."""

    trace: str | None
    session: str | None


class Item(TypedDict):
    """A question with its conversation, for one person."""

    item_id: Annotated[int, Field(examples=[17])]
    queue_id: int
    position: int
    state: Literal["leased", "returned", "answered", "flagged", "skipped", "open"]
    lease: Lease | None
    span_id: str
    trace_id: str
    project: str
    session_id: str | None
    asked_at: datetime
    model: str
    user: str
    links: Links
    conversation: Conversation | None
    answer: Answer | None
    draft: Draft | None
    flag: Flag | None


class Leased(TypedDict):
    """Questions that are kept for whoever asks."""

    items: list[Item]
    renewed: list[int]
    lost: list[int]
    waiting: int
    held_by_others: int


class Figures(TypedDict):
    """How far a queue is: questions, those done, my answers, and what waits for my reply."""

    items: int
    done: int
    mine: int
    questions: int


class Renewed(TypedDict):
    """Which leases go on."""

    renewed: list[int]
    lost: list[int]


class Released(TypedDict):
    """Which questions were let go."""

    released: list[int]


class Saved(TypedDict):
    """When the draft was kept."""

    saved_at: datetime


class Answered(TypedDict):
    """The answer as it is kept; *repeated* where it had been sent before; *done_change*: how many
    questions more everybody has answered by it."""

    answer: Answer
    repeated: bool
    done_change: Literal[0, 1]


class Skipped(TypedDict):
    """It is not asked again."""

    skipped: Literal[True]


class Undone(TypedDict):
    """What was taken back; its draft holds what had been said."""

    undone: Did
    item: Item
    done_change: Literal[-1, 0]


class Recent(TypedDict):
    """Something that can be undone."""

    kind: Did
    item_id: int
    answer_id: str | None
    at: datetime
    question: str
    summary: str


class Mine(TypedDict):
    """Something that one has done."""

    kind: Did
    item_id: int
    answer_id: str | None
    at: datetime
    question: str
    answer: str
    values: Values | None
    correction: Correction | None
    flag: Flag | None


class Day(TypedDict):
    """Answers of one day."""

    day: Annotated[str, Field(examples=["2026-11-21"])]
    answers: int


class PersonsProgress(Named):
    """What one person did."""

    answers: int
    skips: int
    flags: int
    median_seconds: float | None
    per_hour: float | None
    first_at: datetime | None
    last_at: datetime | None
    undone: int
    corrections: int
    leased: int
    left: int


class LabelCounts(TypedDict):
    """How often each choice was taken."""

    name: str
    counts: dict[str, int] | None
    mean: float | None


class Progress(TypedDict):
    """How far a queue is, and how fast."""

    items: int
    done: int
    answers: int
    answers_needed: int
    remaining: int
    flags_open: int
    skips: int
    per_hour: float | None
    median_seconds: float | None
    eta_seconds: float | None
    days: list[Day]
    people: list[PersonsProgress]
    labels: list[LabelCounts]


class Score(TypedDict):
    """A figure with its 95 % interval; `why` says what is missing or doubtful."""

    value: float | None
    low: float | None
    high: float | None
    why: str | None


class _Scores(TypedDict):
    items: int
    percent: Score
    cohen_kappa: Score
    krippendorff_alpha: Score
    gwet_ac1: Score


class Scores(_Scores, total=False):
    """Figures of agreement; the last two where choices stand in an order."""

    weighted_kappa: Score
    gwet_ac2: Score


class PairAgreement(Scores):
    """How far two people agree."""

    a: Named
    b: Named


class LabelAgreement(Scores):
    """How far people agree about one label."""

    name: str
    kind: Kind
    level: Literal["nominal", "ordinal", "interval", "sets", "text"]
    people: int
    pairs: list[PairAgreement]


class Agreement(TypedDict):
    """How far people agree."""

    labels: list[LabelAgreement]


class Consensus(TypedDict):
    """What holds of a question."""

    item_id: int
    values: Values
    correction: Correction | None
    reason: str
    decided_by: Named | None
    decided_at: datetime


class Disagreement(TypedDict):
    """A question that people answered differently."""

    item_id: int
    question: str
    answer: str
    labels: list[str]
    answers: list[Answer]
    consensus: Consensus | None


class Answers(TypedDict):
    """What everybody said of a question."""

    item: Item
    answers: list[Answer]
    consensus: Consensus | None


class PersonsState(Named):
    """How far somebody is with a question."""

    state: Literal["leased", "answered", "flagged", "returned", "skipped"]


class ListedItem(TypedDict):
    """Who has a question."""

    item_id: int
    question: str
    answer: str
    state: Literal["leased", "done", "flagged", "open"]
    people: list[PersonsState]
