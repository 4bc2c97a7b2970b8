"""A span and the turns before it become the conversation that the annotation page draws.

In come attributes as Phoenix stores them, of any shape; out comes plain JSON, described where it
is built. It never raises and is bounded (``bounds``). It knows neither Phoenix nor HTML: whatever a
text holds is passed on as a text, and nothing is fetched.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from tracequill_phoenix.annotate.bounds import (
    TEXT_CHARACTERS_MAX,
    Budget,
    Cleaning,
    short,
)
from tracequill_phoenix.annotate.parts import call_part, is_json, json_text, text_fields
from tracequill_phoenix.annotate.reading import Recorded, Turn, read, retrieved
from tracequill_phoenix.dataset_export.conversation import Message, items, mapping
from tracequill_phoenix.dataset_export.finding import Finding
from tracequill_phoenix.dataset_export.messages import CUT_OFF, pair_calls
from tracequill_phoenix.dataset_export.tools import to_tools

_EARLIER_MAX = 20
_BESIDE_MAX = 5
_TOOLS_MAX = 100
_CALLS_MAX = 50

_log = logging.getLogger(__name__)


def conversation_of(
    *,
    attributes: Mapping[str, Any],
    name: str,
    start_time: str,
    end_time: str,
    earlier: Sequence[Mapping[str, Any]] = (),
    beside: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Give the conversation of the span with *attributes*.

    *earlier* are the answers of the session's traces before it, *beside* the retrievers of its own
    trace; both oldest first, with the same four fields.
    """
    cleaning = Cleaning()
    try:
        cleaned = mapping(cleaning.clean(attributes))
        return _conversation(
            cleaned,
            _messages_cut(attributes, cleaned),
            [mapping(cleaning.clean(turn)) for turn in earlier[-_EARLIER_MAX:]],
            [mapping(cleaning.clean(span)) for span in beside[-_BESIDE_MAX:]],
        )
    except Exception as error:  # an item that cannot be read must not stop a queue
        # Its message could hold what was said.
        _log.error("a conversation could not be read (%s); it is empty", type(error).__name__)
        note = "This conversation could not be read. Open it in Phoenix, and skip it here."
        return _page(Recorded([], [], False), [], [], [], "", [note])


def text_of(message: Mapping[str, Any]) -> str:
    """Give an answer in the shape of OpenAI's chat as one plain text, its calls beneath."""
    lines = [content] if isinstance(content := message.get("content"), str) and content else []
    for call in items(message.get("tool_calls")):
        function = mapping(call.get("function"))
        lines.append(f"{function.get('name') or ''}({function.get('arguments') or ''})")
    return "\n\n".join(lines)


def _messages_cut(attributes: Mapping[str, Any], cleaned: Mapping[str, Any]) -> int:
    """How many messages cleaning left out."""
    before = mapping(mapping(attributes).get("llm")).get("input_messages")
    after = mapping(cleaned.get("llm")).get("input_messages")
    if not isinstance(before, list) or not isinstance(after, list) or len(before) == len(after):
        return 0
    return len(before) - sum(isinstance(message, dict) for message in after)


def _conversation(
    attributes: Mapping[str, Any],
    messages_cut: int,
    earlier: list[dict[str, Any]],
    beside: list[dict[str, Any]],
) -> dict[str, Any]:
    llm = mapping(attributes.get("llm"))
    recorded = read(attributes)
    recorded.left_out += messages_cut
    pair_calls([turn.message for turn in (*recorded.history, *recorded.answers)])
    documents = [part for span in beside for part in retrieved(mapping(span.get("attributes")))]
    findings: list[Finding] = []
    tools = [
        {
            "name": short(tool["function"].get("name")),
            "description": short(tool["function"].get("description")),
            "parameters": text_fields(json_text(tool["function"].get("parameters"))),
        }
        for tool in to_tools(items(llm.get("tools"))[:_TOOLS_MAX], findings)
    ]
    return _page(
        recorded,
        _earlier(earlier, recorded.history),
        documents,
        tools,
        short(llm.get("model_name")),
        _notes(recorded, llm),
    )


def _notes(recorded: Recorded, llm: Mapping[str, Any]) -> list[str]:
    """What a person who judges the answer must know about it."""
    notes = []
    if recorded.several:
        notes.append(f"The model gave {len(recorded.answers)} answers; judge the first one.")
    if short(llm.get("finish_reason")).lower() in CUT_OFF:
        notes.append("The answer was cut off at the model's length limit.")
    codes = {finding.code for finding in recorded.findings}
    if "unsupported_content" in codes:
        notes.append("The conversation holds audio, video or a file that cannot be shown here.")
    if "redacted_content" in codes:
        notes.append("The application hid a part of this conversation.")
    return notes


def _page(
    recorded: Recorded,
    earlier: list[dict[str, Any]],
    documents: list[dict[str, Any]],
    tools: list[dict[str, Any]],
    model: str,
    notes: list[str],
) -> dict[str, Any]:
    messages = _messages(recorded.history)
    users = [place for place, message in enumerate(messages) if message["role"] == "user"]
    question_at = users[-1] if users else None
    answers = [_drawn(turn) for turn in recorded.answers]
    # The answer and its question are cut last.
    budget = Budget()
    budget.cut(answers[:1])
    budget.cut(messages[question_at:][:1] if question_at is not None else [])
    left = [message for place, message in enumerate(messages) if place != question_at]
    budget.cut([left[::-1], documents, answers[1:], earlier[::-1], tools])
    return {
        "question": _question(recorded)[:TEXT_CHARACTERS_MAX],
        "answer": _answer(recorded.answers[0].message if recorded.answers else None),
        "messages": messages,
        "question_at": question_at,
        "left_out": recorded.left_out,
        "answers": answers,
        "earlier": earlier,
        "documents": documents,
        "tools": tools,
        "model": model,
        "notes": notes,
    }


def _question(recorded: Recorded) -> str:
    asked = [turn for turn in recorded.history if turn.message.role == "user"]
    if asked and not asked[-1].text and asked[-1].parts:
        part = asked[-1].parts[0]
        return f"[{part.get('medium') or part['kind']}]"
    said = (turn.text for turn in [*asked[::-1], *recorded.history[::-1]])
    return next((text for text in said if text), recorded.input_text)


# --- messages ------------------------------------------------------------------------------


def _drawn(turn: Turn) -> dict[str, Any]:
    calls = [call_part(call) for call in turn.message.tool_calls[:_CALLS_MAX]]
    return {
        "role": short(turn.message.role) or "unknown",
        "name": short(turn.message.name),
        "parts": turn.parts + calls,
    }


def _messages(turns: list[Turn]) -> list[dict[str, Any]]:
    """Draw the turns, each tool's result beneath the call that asked for it."""
    messages: list[dict[str, Any]] = []
    calls: dict[str, dict[str, Any]] = {}
    for turn in turns:
        identity = short(turn.message.tool_call_id)
        if turn.message.role == "tool" and (call := calls.get(identity)):
            call["results"].append({"name": short(turn.message.name), "parts": turn.parts})
            continue
        message = _drawn(turn)
        if turn.message.role == "tool" and not turn.message.tool_calls:
            message["parts"] = [
                {
                    "kind": "tool_result",
                    "id": identity,
                    "name": message["name"],
                    "parts": message["parts"],
                }
            ]
        for part in message["parts"]:
            if part["kind"] == "tool_call":
                calls[part["id"]] = part
        if message["parts"]:
            messages.append(message)
    return messages


def _earlier(spans: list[dict[str, Any]], history: list[Turn]) -> list[dict[str, Any]]:
    """The session's earlier turns, each its question and answer, unless *history* holds them."""
    repeated = {turn.text.strip() for turn in history if turn.message.role == "assistant"}
    turns = []
    for span in spans:
        recorded = read(mapping(span.get("attributes")))
        if not recorded.answers or recorded.answers[0].text.strip() in repeated:
            continue
        asked = [turn for turn in recorded.history if turn.message.role == "user"][-1:]
        messages = [_drawn(turn) for turn in (*asked, recorded.answers[0])]
        turns.append(
            {
                "at": short(span.get("start_time")),
                "name": short(span.get("name")),
                "messages": [message for message in messages if message["parts"]],
            }
        )
    return turns


# --- the answer ------------------------------------------------------------------------------


def _answer(message: Message | None) -> dict[str, Any]:
    """What is judged, and what of it a person can correct, with its exact text."""
    structured = _structured(message) if message is not None else None
    said = text_of(structured) if structured else ""
    answer: dict[str, Any] = {
        **text_fields(said),
        "message": structured,
        "kind": "none",
        "editable": [],
    }
    if len(said) > TEXT_CHARACTERS_MAX:
        return answer | {
            "text": said[:TEXT_CHARACTERS_MAX],
            "truncated": True,
            "message": None,
            "kind": "text",
        }
    content = (structured or {}).get("content") or ""
    calls = (structured or {}).get("tool_calls", [])
    content_kind = "json" if is_json(content) else "text"
    if content:
        answer["kind"] = content_kind
    elif calls:
        answer["kind"] = "tool_calls"
    if content or not calls:
        answer["editable"].append(
            {"path": ["content"], "kind": content_kind, "label": "Answer", "text": content}
        )
    for place, call in enumerate(calls):
        answer["editable"].append(
            {
                "path": ["tool_calls", place, "function", "arguments"],
                "kind": "json",
                "label": f"Arguments of {short(call['function']['name']) or 'the tool'}",
                "text": call["function"]["arguments"],
            }
        )
    return answer


def _structured(message: Message) -> dict[str, Any] | None:
    """The answer in the shape of OpenAI's chat; None where it is neither text nor calls."""
    said = [part.value for part in message.parts if part.kind == "text"]
    if not said and not message.tool_calls:
        return None
    structured: dict[str, Any] = {
        "role": "assistant",
        "content": "\n\n".join(said) if said else None,
    }
    if message.tool_calls:
        structured["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls[:_CALLS_MAX]
        ]
    return structured
