"""A span's attributes, as OpenInference nests them, become one canonical conversation.

In comes the ``attributes`` column of an LLM span; out comes a ``Conversation``: what the model
was told, what it answered, and the tools it was given. Nothing here knows a vendor's training
format, a database or a file.

What instrumentors record differently is made the same here:

- roles have one spelling, and reasoning never becomes content;
- one answer that was recorded as several items (OpenAI's Responses API) is one message again,
  while several answers (``n`` greater than 1) are never merged: the first one is taken;
- a tool's reply stands directly after the call it answers, and both carry the same id; an id
  that was not recorded is derived from the call, so that the same conversation gives the same row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from tracequill_phoenix.dataset_export.finding import Finding
from tracequill_phoenix.dataset_export.tools import to_tools

ROLES = {
    "ai": "assistant",
    "assistant": "assistant",
    "developer": "system",
    "function": "tool",
    "human": "user",
    "model": "assistant",
    "system": "system",
    "tool": "tool",
    "user": "user",
}
# What OpenInference's TraceConfig writes in place of what it hides.
REDACTED = "__REDACTED__"
_REASONING = frozenset({"reasoning", "redacted_reasoning", "redacted_thinking", "thinking"})
# Finish reasons that say that the answer was cut off, in the words of the vendors.
_TRUNCATED = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})


@dataclass(slots=True)
class Part:
    """A piece of content; *value* is a text, or the URL of an image."""

    kind: Literal["text", "image"]
    value: str


@dataclass(slots=True)
class ToolCall:
    """A call that the model asked for; *arguments* is the JSON text as it was recorded."""

    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class Message:
    """One turn. *role* is system, user, assistant or tool, or an unknown word as recorded."""

    role: str
    parts: list[Part] = field(default_factory=list)
    tool_calls: list[ToolCall] = field(default_factory=list)
    tool_call_id: str = ""
    name: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of the message, as of one that held reasoning alone."""
        return not self.parts and not self.tool_calls


@dataclass(slots=True)
class Conversation:
    """What the model saw (*history*, *tools*) and what it said (*answer*).

    The answer stands apart so that a correction by a person can take its place.
    """

    history: list[Message]
    answer: Message | None
    tools: list[dict[str, Any]]
    parallel_tool_calls: bool | None
    findings: list[Finding]


def to_conversation(attributes: Mapping[str, Any], span_kind: str = "LLM") -> Conversation:
    """Give the conversation of a span; what is wrong with it stands in its findings."""
    findings: list[Finding] = []
    llm = _mapping(attributes.get("llm"))
    request = _body(attributes.get("input"))
    parameters = _json_object(llm.get("invocation_parameters"))
    history = _messages(llm.get("input_messages"), findings, "")
    if not history:
        history = _messages_of_body(request.get("messages"), findings)
    answers = _messages(llm.get("output_messages"), findings, "assistant")
    several = _choices(parameters)
    if not answers:
        answers = _answers_of_body(_body(attributes.get("output")), findings)
        several = max(several or 0, len(answers))
    answer = _the_answer(answers, several, findings)
    history = _join_turns(history)
    _pair(history)
    if answer is not None:
        _identify(answer.tool_calls, len(history))
    if not history:
        findings.append(_no_messages(span_kind))
    elif answer is None:
        findings.append(Finding("no_answer", "the span has no answer: the call failed or is open"))
    if str(llm.get("finish_reason", "")).lower() in _TRUNCATED:
        findings.append(Finding("truncated_answer", "the answer was cut off at the limit", False))
    tools = to_tools(_tool_entries(llm, request), findings)
    parallel = parameters.get("parallel_tool_calls")
    return Conversation(
        history=_ordered(history),
        answer=answer,
        tools=tools,
        parallel_tool_calls=parallel if isinstance(parallel, bool) else None,
        findings=findings,
    )


def _no_messages(span_kind: str) -> Finding:
    if span_kind != "LLM":
        return Finding(
            "no_messages",
            f"the span's kind is {span_kind} and it holds no chat messages; "
            "put the LLM span of the same trace into the dataset instead",
        )
    return Finding("no_messages", "the span holds no chat messages (llm.input_messages)")


# --- one recorded message ---------------------------------------------------------------


def _messages(entries: object, findings: list[Finding], unsaid_role: str) -> list[Message]:
    messages: list[Message] = []
    for entry in _items(entries):
        recorded = entry.get("message")
        if isinstance(recorded, Mapping) and recorded:  # an empty one is a gap in the numbering
            messages.append(_message(recorded, findings, unsaid_role))
    return messages


def _message(recorded: Mapping[str, Any], findings: list[Finding], unsaid_role: str) -> Message:
    role = str(recorded.get("role") or unsaid_role)
    message = Message(ROLES.get(role.lower(), role), name=_text(recorded.get("name")))
    message.tool_call_id = _text(recorded.get("tool_call_id"))
    for entry in _items(recorded.get("contents")):
        if (part := _part(_mapping(entry.get("message_content")), findings)) is not None:
            message.parts.append(part)
    content = recorded.get("content")
    if not message.parts and isinstance(content, str) and content:
        message.parts.append(_text_part(content, findings))
    name = _text(recorded.get("function_call_name"))
    if name:
        arguments = _arguments(recorded.get("function_call_arguments_json"))
        message.tool_calls.append(ToolCall("", name, arguments))
    for entry in _items(recorded.get("tool_calls")):
        if call := _mapping(entry.get("tool_call")):
            function = _mapping(call.get("function"))
            message.tool_calls.append(
                ToolCall(
                    _text(call.get("id")),
                    _text(function.get("name")),
                    _arguments(function.get("arguments")),
                )
            )
    return message


def _part(content: Mapping[str, Any], findings: list[Finding]) -> Part | None:
    kind = str(content.get("type") or "")
    if kind in _REASONING:
        return None
    url = _mapping(_mapping(content.get("image")).get("image")).get("url")
    if isinstance(url, str) and url:
        if url == REDACTED:
            findings.append(_redacted("an image"))
        return Part("image", url)
    for medium in ("audio", "video", "document"):
        if kind == medium or content.get(medium):
            findings.append(
                Finding("unsupported_content", f"a message holds {medium}; only text and images do")
            )
            return None
    if kind == "image":
        findings.append(Finding("unsupported_content", "a message holds an image without its URL"))
        return None
    text = content.get("text")
    return _text_part(text, findings) if isinstance(text, str) and text else None


def _text_part(text: str, findings: list[Finding]) -> Part:
    if text == REDACTED:
        findings.append(_redacted("a text"))
    return Part("text", text)


def _redacted(what: str) -> Finding:
    return Finding("redacted_content", f"{what} was hidden by the application when it was recorded")


def _arguments(recorded: object) -> str:
    """Arguments as JSON text; a call without any was recorded without them."""
    if recorded is None or recorded == "":
        return "{}"
    return recorded if isinstance(recorded, str) else orjson.dumps(recorded).decode()


# --- a chat body, where an instrumentor recorded no messages -----------------------------


def _body(value: object) -> dict[str, Any]:
    recorded = _mapping(value)
    if recorded.get("mime_type") != "application/json":
        return {}
    return _json_object(recorded.get("value"))


def _messages_of_body(bodies: object, findings: list[Finding]) -> list[Message]:
    """Messages in OpenAI's own chat shape."""
    if not isinstance(bodies, list) or not all(isinstance(body, dict) for body in bodies):
        return []
    messages: list[Message] = []
    for body in bodies:
        content = body.get("content")
        recorded = {**body, "contents": _contents_of_body(content)}
        calls = body.get("tool_calls")
        recorded["tool_calls"] = [
            {"tool_call": call} for call in (calls if isinstance(calls, list) else ())
        ]
        messages.append(_message(recorded, findings, ""))
    return messages


def _contents_of_body(content: object) -> list[dict[str, Any]]:
    contents: list[dict[str, Any]] = []
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        url = part.get("image_url")
        image = {"image": {"url": url.get("url") if isinstance(url, dict) else url}} if url else {}
        kind = "image" if url else part.get("type")
        contents.append({"message_content": {**part, "type": kind, "image": image}})
    return contents


def _answers_of_body(body: Mapping[str, Any], findings: list[Finding]) -> list[Message]:
    choices = body.get("choices")
    if isinstance(choices, list):
        bodies = [_mapping(choice).get("message") for choice in choices]
        return _messages_of_body([b for b in bodies if isinstance(b, dict)], findings)
    return _messages_of_body([body], findings) if body.get("role") == "assistant" else []


def _tool_entries(llm: Mapping[str, Any], request: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    if entries := list(_items(llm.get("tools"))):
        return entries
    tools = request.get("tools")
    return [{"tool": {"json_schema": t}} for t in tools] if isinstance(tools, list) else []


# --- turns -------------------------------------------------------------------------------


def _choices(parameters: Mapping[str, Any]) -> int | None:
    """How many answers the application asked for; None where that was not recorded."""
    for name in ("n", "candidate_count", "candidateCount", "num_generations"):
        number = parameters.get(name)
        if isinstance(number, int) and not isinstance(number, bool):
            return number
    return 1 if parameters else None


def _the_answer(
    answers: list[Message], several: int | None, findings: list[Finding]
) -> Message | None:
    spoken = sum(1 for answer in answers if answer.parts)
    if len(answers) > 1 and (several or (2 if spoken > 1 else 1)) > 1:
        findings.append(
            Finding(
                "several_answers",
                f"the model gave {len(answers)} answers; the first one is taken",
                False,
            )
        )
        answers = answers[:1]
    joined = [answer for answer in answers if not answer.is_empty]
    for answer in joined[1:]:
        joined[0].parts += answer.parts
        joined[0].tool_calls += answer.tool_calls
    return joined[0] if joined else None


def _join_turns(messages: list[Message]) -> list[Message]:
    """Make one message of an assistant's turn that was recorded as several items.

    Two texts in a row stay two messages: an application may have said both.
    """
    joined: list[Message] = []
    for message in messages:
        if message.role == "assistant" and message.is_empty:
            continue
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.role == message.role == "assistant"
            and not (last.parts and message.parts)
        ):
            last.parts += message.parts
            last.tool_calls += message.tool_calls
        else:
            joined.append(message)
    return joined


def _pair(messages: list[Message]) -> None:
    """Give every call and its reply the same id, where one of the two was recorded without."""
    position = 0
    while position < len(messages):
        calls = messages[position].tool_calls
        position += 1
        if not calls:
            continue
        end = position
        while end < len(messages) and not messages[end].tool_calls:
            end += 1
        replies = [m for m in messages[position:end] if m.role == "tool"]
        known = {call.id for call in calls if call.id}
        nameless = [call for call in calls if not call.id]
        strangers = [r for r in replies if r.tool_call_id and r.tool_call_id not in known]
        for call, reply in zip(nameless, strangers, strict=False):
            call.id = reply.tool_call_id
        _identify(calls, position - 1)
        answered = {reply.tool_call_id for reply in replies}
        waiting = [call for call in calls if call.id not in answered]
        lost = [reply for reply in replies if not reply.tool_call_id]
        _claim(waiting, lost, messages, position)


def _claim(
    waiting: list[ToolCall], lost: list[Message], messages: list[Message], position: int
) -> None:
    """Give replies that name no call the calls that wait, by name, else in order."""
    if len(lost) == 1 and len(waiting) == len(lost[0].parts) > 1:
        # Claude on Bedrock (InvokeModel): all results of a turn are recorded as one message.
        reply = lost[0]
        split = [Message("tool", [part]) for part in reply.parts]
        at = messages.index(reply, position)
        messages[at : at + 1] = split
        lost = split
    elif len(lost) == 1 and len(lost[0].parts) > 1:
        return  # results and other text in one message: no telling which is which
    for reply in lost:
        named = [call for call in waiting if call.name == reply.name]
        for call in (named or waiting)[:1]:
            reply.tool_call_id = call.id
            waiting.remove(call)


def _identify(calls: list[ToolCall], position: int) -> None:
    for number, call in enumerate(calls):
        if not call.id:
            seed = f"{position}\0{number}\0{call.name}\0{call.arguments}"
            call.id = f"call_{hashlib.sha256(seed.encode()).hexdigest()[:24]}"


def _ordered(messages: list[Message]) -> list[Message]:
    """Put the replies directly after the calls they answer, in front of what else was said."""
    ordered: list[Message] = []
    others: list[Message] = []
    calls: set[str] = set()
    for message in messages:
        if message.role == "tool" and message.tool_call_id in calls:
            ordered.append(message)
            continue
        if message.role == "assistant":
            ordered += others
            others = []
            calls = {call.id for call in message.tool_calls}
            ordered.append(message)
        else:
            (others if calls else ordered).append(message)
    return ordered + others


# --- shapes ------------------------------------------------------------------------------


def _items(value: object) -> list[dict[str, Any]]:
    """The entries of a list, also of one that was stored as a mapping of its indexes."""
    if isinstance(value, Mapping):
        value = [value[key] for key in sorted(filter(str.isdecimal, value), key=int)]
    if not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, dict)]


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _json_object(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    return _mapping(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
