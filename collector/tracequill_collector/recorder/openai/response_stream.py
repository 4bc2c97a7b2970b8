"""Streams of OpenAI's Responses API: events enter, the response object they stand for leaves.

The event that ends a stream carries the whole response. A stream that was cut has none: then it
is the response that the stream began with, and its output items as far as they came.
No input or output.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# An event of these types ends a stream; it carries the response as far as it came.
_LAST_EVENTS = ("response.completed", "response.incomplete", "response.failed")
# What a piece of text belongs to: the list of an item, the type of the list's part, its field.
_PARTS = {
    "response.output_text.delta": ("content", "output_text", "text"),
    "response.refusal.delta": ("content", "refusal", "refusal"),
    "response.reasoning_text.delta": ("content", "reasoning_text", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_text", "text"),
}
# What stands in the item itself.
_FIELDS = {
    "response.function_call_arguments.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
    "response.code_interpreter_call_code.delta": "code",
}
_PART_INDEXES = {"content": "content_index", "summary": "summary_index"}


def response_of_events(events: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """Give the response of a stream and the type of the event that ended it, empty without one."""
    response: dict[str, Any] = {}
    items: dict[int, _Item] = {}
    for event in events:
        kind = event.get("type")
        if isinstance(carried := event.get("response"), dict):
            response = carried
        if kind in _LAST_EVENTS:
            return response, str(kind)
        if isinstance(index := event.get("output_index"), int):
            items.setdefault(index, _Item()).add(event)
    whole = [item for _, made in sorted(items.items()) if (item := made.whole())]
    if whole and not response.get("output"):
        response = {**response, "output": whole}
    return response, ""


class _Item:
    """One output item in the making."""

    def __init__(self) -> None:
        self._item: dict[str, Any] = {}
        self._is_done = False
        self._fields: dict[str, list[str]] = {}
        self._parts: dict[tuple[str, int], tuple[str, str, list[str]]] = {}

    def add(self, event: dict[str, Any]) -> None:
        kind, item = event.get("type"), event.get("item")
        if kind in ("response.output_item.added", "response.output_item.done"):
            self._item = item if isinstance(item, dict) else {}
            self._is_done = kind == "response.output_item.done"
            return
        delta = event.get("delta")
        if not isinstance(kind, str) or not isinstance(delta, str):
            return
        if name := _FIELDS.get(kind):
            self._fields.setdefault(name, []).append(delta)
        elif found := _PARTS.get(kind):
            holder, part, name = found
            index = event.get(_PART_INDEXES[holder])
            place = holder, index if isinstance(index, int) else 0
            self._parts.setdefault(place, (part, name, []))[2].append(delta)

    def whole(self) -> dict[str, Any]:
        """Give the item; one that was not finished with the pieces that came."""
        if self._is_done:
            return self._item
        item = dict(self._item)
        for name, pieces in self._fields.items():
            item[name] = "".join(pieces)
        lists: dict[str, list[Any]] = {}
        for (holder, _), (part, name, pieces) in sorted(self._parts.items()):
            lists.setdefault(holder, []).append({"type": part, name: "".join(pieces)})
        if "content" in lists and not item:
            item = {"type": "message", "role": "assistant"}
        return {**item, **lists}
