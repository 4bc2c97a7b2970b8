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
from collections.abc import Mapping
from typing import Any

from tracequill_phoenix.dataset_export.bodies import (
    anthropic_messages,
    body_of,
    lost_media,
    openai_answers,
    openai_messages,
    openai_parts,
)
from tracequill_phoenix.dataset_export.conversation import (
    ROLES,
    Conversation,
    Message,
    Part,
    ToolCall,
    arguments_text,
    image_part,
    items,
    mapping,
    parsed,
    text,
    text_part,
    unsupported,
)
from tracequill_phoenix.dataset_export.finding import Finding
from tracequill_phoenix.dataset_export.tools import to_tools

REASONING = frozenset({"reasoning", "redacted_reasoning", "redacted_thinking", "thinking"})
# Finish reasons that say that the answer was cut off, in the words of the vendors.
CUT_OFF = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})


def to_conversation(attributes: Mapping[str, Any], span_kind: str = "LLM") -> Conversation:
    """Give the conversation of a span; what is wrong with it stands in its findings."""
    findings: list[Finding] = []
    llm = mapping(attributes.get("llm"))
    parameters = mapping(parsed(llm.get("invocation_parameters")))
    history = _history(llm, attributes.get("input"), findings)
    answer = _answer(llm, attributes.get("output"), parameters, findings)
    if answer is not None:
        _identify(answer.tool_calls, len(history))
    if not history:
        findings.append(_no_messages(span_kind))
    elif answer is None:
        findings.append(Finding("no_answer", "the span holds no answer of the model"))
    if str(llm.get("finish_reason", "")).lower() in CUT_OFF:
        findings.append(Finding("truncated_answer", "the answer was cut off at the limit", False))
    tools = to_tools(_tool_entries(llm, attributes.get("input")), findings)
    parallel = parameters.get("parallel_tool_calls")
    return Conversation(
        history=history,
        answer=answer,
        tools=tools,
        parallel_tool_calls=parallel if isinstance(parallel, bool) else None,
        findings=findings,
    )


def _history(llm: Mapping[str, Any], value: object, findings: list[Finding]) -> list[Message]:
    """What the model saw, from the recorded messages, or from the body where that says more."""
    seen: list[Finding] = []
    history = _messages(llm.get("input_messages"), seen, "")
    if not history:
        history = openai_messages(mapping(body_of(value)).get("messages"), seen)
    elif any(turn.role == "tool" and not turn.tool_call_id for turn in history):
        body = mapping(body_of(value))
        if llm.get("system") == "anthropic" and body.get("messages"):
            seen = []
            history = anthropic_messages(body, seen)
    findings += seen or lost_media(value)
    history = _join_turns(history)
    pair_calls(history)
    return _ordered(history)


def _tool_entries(llm: Mapping[str, Any], value: object) -> list[dict[str, Any]]:
    """The tools as recorded, or those of the body where no messages were recorded either."""
    if llm.get("input_messages"):
        return items(llm.get("tools"))
    tools = mapping(body_of(value)).get("tools")
    return [{"tool": {"json_schema": t}} for t in tools] if isinstance(tools, list) else []


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
    for entry in items(entries):
        recorded = entry.get("message")
        if isinstance(recorded, Mapping) and recorded:  # an empty one is a gap in the numbering
            messages.append(read_message(recorded, findings, unsaid_role))
    return messages


def read_message(recorded: Mapping[str, Any], findings: list[Finding], unsaid_role: str) -> Message:
    """Give a recorded message without its reasoning; what no row can hold is a finding."""
    role = str(recorded.get("role") or unsaid_role)
    message = Message(ROLES.get(role.lower(), role), name=text(recorded.get("name")))
    message.tool_call_id = text(recorded.get("tool_call_id"))
    if message.tool_call_id and message.role == "user":  # a tool's result, as Bedrock has it
        message.role = "tool"
    for entry in items(recorded.get("contents")):
        if (part := _part(mapping(entry.get("message_content")), findings)) is not None:
            message.parts.append(part)
    if not message.parts:
        message.parts = list(openai_parts(recorded.get("content"), findings))
    name = text(recorded.get("function_call_name"))
    if name:
        arguments = arguments_text(recorded.get("function_call_arguments_json"))
        message.tool_calls.append(ToolCall("", name, arguments))
    for entry in items(recorded.get("tool_calls")):
        if call := mapping(entry.get("tool_call")):
            function = mapping(call.get("function"))
            message.tool_calls.append(
                ToolCall(
                    text(call.get("id")),
                    text(function.get("name")),
                    arguments_text(function.get("arguments")),
                )
            )
    return message


def _part(content: Mapping[str, Any], findings: list[Finding]) -> Part | None:
    kind = str(content.get("type") or "")
    if kind in REASONING:
        return None
    url = text(mapping(mapping(content.get("image")).get("image")).get("url"))
    if url:
        return image_part(url, findings)
    for medium in ("audio", "video", "document"):
        if kind == medium or content.get(medium):
            findings.append(unsupported(medium))
            return None
    if kind == "image":
        findings.append(unsupported("an image without its URL"))
        return None
    said = text(content.get("text"))
    return text_part(said, findings) if said else None


# --- turns -------------------------------------------------------------------------------


def answers_asked_for(parameters: Mapping[str, Any]) -> int | None:
    """How many answers the application asked for; None where that was not recorded."""
    for name in ("n", "candidate_count", "candidateCount", "num_generations"):
        number = parameters.get(name)
        if isinstance(number, int) and not isinstance(number, bool):
            return number
    return 1 if parameters else None


def are_several(answers: list[Message], asked_for: int | None) -> bool:
    """Whether *answers* stand beside each other; else they are the items of one answer."""
    spoken = sum(1 for answer in answers if answer.parts)
    return len(answers) > 1 and (asked_for or (2 if spoken > 1 else 1)) > 1


def _answer(
    llm: Mapping[str, Any], output: object, parameters: Mapping[str, Any], findings: list[Finding]
) -> Message | None:
    """What the model said: the first of several answers, or all items of the one."""
    answers = _messages(llm.get("output_messages"), findings, "assistant")
    several = answers_asked_for(parameters)
    if not answers:
        answers = openai_answers(body_of(output), findings)
        several = max(several or 0, len(answers))
    if are_several(answers, several):
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


def pair_calls(messages: list[Message]) -> None:
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
        _claim(waiting, lost)


def _claim(waiting: list[ToolCall], lost: list[Message]) -> None:
    """Give replies that name no call the calls that wait, by name, else in order."""
    if len(lost) == 1 and len(lost[0].parts) > 1:
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
