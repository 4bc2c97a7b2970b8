"""A span's attributes become turns: what the model was told, and what it answered.

In come attributes that are clean JSON; messages are read where there are some, else prompts and
choices, else the bodies in ``input.value`` and ``output.value``, else those as they are. Nothing is
cut here, and nothing here knows the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tracequill_phoenix.annotate.bounds import Cleaning
from tracequill_phoenix.annotate.parts import (
    document_parts,
    json_text,
    message_parts,
    recorded_parts,
    text_part,
)
from tracequill_phoenix.dataset_export.bodies import (
    anthropic_messages,
    body_of,
    openai_answers,
    openai_messages,
)
from tracequill_phoenix.dataset_export.conversation import (
    Message,
    Part,
    items,
    mapping,
    parsed,
    text,
)
from tracequill_phoenix.dataset_export.finding import Finding
from tracequill_phoenix.dataset_export.messages import (
    answers_asked_for,
    are_several,
    read_message,
)

# Of a longer conversation the first message and the newest ones are shown.
_MESSAGES_MAX = 200


@dataclass(slots=True)
class Turn:
    """One turn: as it is read for training (role, calls, ids), and the parts that a page draws."""

    message: Message
    parts: list[dict[str, Any]]

    @property
    def text(self) -> str:
        """What was said, without reasoning."""
        said = (part["text"] for part in self.parts if part["kind"] in ("text", "json"))
        return "\n\n".join(said)


@dataclass(slots=True)
class Recorded:
    """What a span says; *several* is whether its answers stand beside each other."""

    history: list[Turn]
    answers: list[Turn]
    several: bool
    left_out: int = 0
    input_text: str = ""
    """``input.value``, which asks something even where no message does."""
    findings: list[Finding] = field(default_factory=list)


def read(attributes: Mapping[str, Any]) -> Recorded:
    """Read a span of any kind."""
    findings: list[Finding] = []
    llm = mapping(attributes.get("llm"))
    history = _history(attributes, llm, findings)
    left_out = max(0, len(history) - _MESSAGES_MAX)
    if left_out:
        history = history[:1] + history[1 + left_out :]
    answers = _answers(attributes, llm, findings)
    asked_for = answers_asked_for(mapping(parsed(llm.get("invocation_parameters"))))
    if not llm.get("output_messages"):
        asked_for = max(asked_for or 0, len(answers))
    several = are_several([turn.message for turn in answers], asked_for)
    if len(answers) > 1 and not several:
        answers = [_joined(answers)]
    asked = text(mapping(attributes.get("input")).get("value"))
    return Recorded(history, answers, several, left_out, asked, findings)


def _joined(turns: list[Turn]) -> Turn:
    """The items of one answer, as OpenAI's Responses API has them, as one turn."""
    first = turns[0]
    for turn in turns[1:]:
        first.parts += turn.parts
        first.message.parts += turn.message.parts
        first.message.tool_calls += turn.message.tool_calls
    return first


def _turns(entries: object, unsaid_role: str, findings: list[Finding]) -> list[Turn]:
    turns = []
    for entry in items(entries):
        recorded = entry.get("message")
        if isinstance(recorded, dict) and recorded:
            found: list[Finding] = []
            message = read_message(recorded, found, unsaid_role)
            # Most of what it finds is about training files; here audio and the like are shown.
            findings += [finding for finding in found if finding.code == "redacted_content"]
            turns.append(Turn(message, recorded_parts(recorded, message)))
    return turns


def _say_something(turns: list[Turn]) -> bool:
    """Whether anything is left to show; of what a guardrail looked at, messages are empty."""
    return any(turn.parts or turn.message.tool_calls for turn in turns)


def _from_messages(messages: list[Message]) -> list[Turn]:
    return [Turn(message, message_parts(message)) for message in messages]


def _history(
    attributes: Mapping[str, Any], llm: Mapping[str, Any], findings: list[Finding]
) -> list[Turn]:
    turns = _turns(llm.get("input_messages"), "", findings)
    body = _body(attributes.get("input"))
    nameless = any(t.message.role == "tool" and not t.message.tool_call_id for t in turns)
    if nameless and llm.get("system") == "anthropic" and body.get("messages"):
        # Claude on Bedrock, streamed: only the body says which result answers which call.
        return _from_messages(anthropic_messages(body, findings))
    if _say_something(turns):
        return turns
    if prompts := _plain(llm.get("prompts"), "prompt", "user"):
        return prompts
    if _is_anthropic(body):
        turns = _from_messages(anthropic_messages(body, findings))
    else:
        turns = _from_messages(openai_messages(body.get("messages"), findings))
    if _say_something(turns):
        return turns
    query = text(mapping(attributes.get("reranker")).get("query"))
    if query:
        return [_turn("user", query)]
    return _value(attributes.get("input"), "user")


def _answers(
    attributes: Mapping[str, Any], llm: Mapping[str, Any], findings: list[Finding]
) -> list[Turn]:
    turns = _turns(llm.get("output_messages"), "assistant", findings)
    if _say_something(turns):
        return turns
    if choices := _plain(llm.get("choices"), "completion", "assistant"):
        return choices
    body = _body(attributes.get("output"))
    if body.get("role") == "assistant" and _has_blocks(body.get("content")):
        return _from_messages(anthropic_messages({"messages": [body]}, findings))
    if turns := _from_messages(openai_answers(body, findings)):
        return turns
    if documents := retrieved(attributes):
        return [Turn(Message("retriever"), documents)]
    return _value(attributes.get("output"), "assistant")


def retrieved(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The documents that a span of a retriever or reranker gave back."""
    reranked = mapping(attributes.get("reranker")).get("output_documents")
    return document_parts(reranked) or document_parts(
        mapping(attributes.get("retrieval")).get("documents")
    )


def _plain(entries: object, key: str, role: str) -> list[Turn]:
    """Turns of prompts or completions, which are texts; older ones were recorded as a bare list."""
    if isinstance(entries, list) and all(isinstance(entry, str) for entry in entries):
        said = entries
    else:
        said = [text(mapping(entry.get(key)).get("text")) for entry in items(entries)]
    return [_turn(role, value) for value in said if value]


def _turn(role: str, value: str) -> Turn:
    return Turn(Message(role, [Part("text", value)]), [text_part(value, role)])


def _value(recorded: object, role: str) -> list[Turn]:
    """``input`` or ``output`` as it is, where nothing says more."""
    value = mapping(recorded).get("value")
    if value is None or value == "":
        return []
    return [_turn(role, value if isinstance(value, str) else json_text(value))]


def _body(recorded: object) -> dict[str, Any]:
    body = Cleaning().clean(body_of(recorded))
    return {"messages": body} if isinstance(body, list) else mapping(body)


def _is_anthropic(body: Mapping[str, Any]) -> bool:
    if isinstance(body.get("system"), str | list):
        return True
    return any(_has_blocks(entry.get("content")) for entry in items(body.get("messages")))


def _has_blocks(content: object) -> bool:
    kinds = {entry.get("type") for entry in items(content) if isinstance(entry.get("type"), str)}
    return bool(kinds & {"tool_use", "tool_result", "thinking"})
