"""Which functions the mock calls: a conversation with tools goes in, calls come out.

A function fits a question that

- names it (``get_weather``, ``get weather``), or
- shares the one word of its name that carries meaning (``weather``), or all of them, or
- shares a word with its name, and another with its name or description or a number of the
  kind that it asks for (an order number, a place).

Every function that fits is called once, or once for each place that the question names; only
the first when parallel calls are off. After a function has returned there is no further call,
unless the request forces one.
"""

from __future__ import annotations

from tracequill_collector.mock.conversation import Conversation, Tool, ToolCall
from tracequill_collector.mock.schema import codes, fill, places
from tracequill_collector.mock.words import stems

_CALLS_MOST = 8
# Words of a function's name that say nothing about its subject.
_GENERIC = frozenset(
    stem
    for word in (
        "get find search lookup look up fetch list show read check query retrieve current now "
        "info information data detail details tool function api call run create make current "
        "latest by name"
    ).split()
    for stem in stems(word)
)


def choose_calls(conversation: Conversation) -> tuple[ToolCall, ...]:
    """Give the calls that the answer makes; none when it is a text."""
    if not conversation.tools or conversation.tool_choice == "none":
        return ()
    question = _question(conversation)
    if conversation.forced_tool:
        named = [tool for tool in conversation.tools if tool.name == conversation.forced_tool]
        return tuple(_call(tool, question) for tool in named[:1])
    if conversation.messages[-1:] and conversation.messages[-1].role == "tool":
        fitting: list[Tool] = []
    else:
        fitting = [tool for tool in conversation.tools if _fits(tool, question)]
    if not fitting and conversation.tool_choice == "required":
        fitting = [conversation.tools[0]]
    calls = [call for tool in fitting for call in _calls(tool, question)]
    return tuple(calls[: _CALLS_MOST if conversation.parallel_calls else 1])


def _question(conversation: Conversation) -> str:
    asked = [message.text for message in conversation.messages if message.role == "user"]
    return asked[-1][-2_000:] if asked else ""


def _fits(tool: Tool, question: str) -> bool:
    lower = question.lower()
    plain = tool.name.lower().replace("_", " ").replace("-", " ")
    if tool.name.lower() in lower or plain in lower:
        return True
    subject = set(stems(_spaced(tool.name))) - _GENERIC
    asked = set(stems(question))
    shared = subject & asked
    if not shared:
        return False
    if shared == subject:
        return True
    described = (set(stems(tool.description)) - _GENERIC) & asked
    return len(shared | described) > 1 or _asks_for(tool, question)


def _spaced(name: str) -> str:
    """``getWeather`` and ``get_weather`` as words."""
    return "".join(
        f" {sign}" if sign.isupper() or not sign.isalnum() else sign for sign in name
    ).replace("_", " ")


def _asks_for(tool: Tool, question: str) -> bool:
    names = " ".join(tool.schema.get("properties") or {}).lower()
    if codes(question) and any(word in names for word in ("id", "number", "code")):
        return True
    return bool(places(question)) and any(word in names for word in ("city", "location", "place"))


def _calls(tool: Tool, question: str) -> list[ToolCall]:
    """One call, or one for each place when the question names several."""
    properties = tool.schema.get("properties") or {}
    slot = next((name for name in ("city", "location", "place") if name in properties), "")
    named = places(question)
    if not slot or len(named) < 2:
        return [_call(tool, question)]
    return [
        ToolCall(tool.name, {**_call(tool, question).arguments, slot: place}) for place in named
    ]


def _call(tool: Tool, question: str) -> ToolCall:
    arguments = fill({"type": "object", **tool.schema}, question)
    return ToolCall(tool.name, arguments if isinstance(arguments, dict) else {})
