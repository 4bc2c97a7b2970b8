"""Streams of Gemini's interactions: events enter, the interaction they tell of leaves.

Under the names of Google's Python library, which are the vendor's own here. No input or output.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tracequill_collector.recorder.body import parse_json
from tracequill_collector.recorder.message import mapping, objects
from tracequill_collector.recorder.pieces import Assembly, Kind, Shape

_ITEM: Shape = {"text": Kind.EXACT_TEXT, "data": Kind.BASE64}
_CONTENT = ("text", "image", "audio", "video", "document")


class _Step:
    """One step in the making."""

    def __init__(self, start: dict[str, Any]) -> None:
        self._fields = {name: value for name, value in start.items() if name != "content"}
        self._summary = objects(start.get("summary"))
        self._arguments: list[str] = []
        self._items: list[tuple[Any, Assembly]] = []
        for item in objects(start.get("content")):
            self._say(item)

    def add(self, delta: dict[str, Any]) -> None:
        """Add what one event says."""
        match delta.get("type"):
            case "thought_signature":
                self._fields["signature"] = delta.get("signature") or self._fields.get("signature")
            case "thought_summary":
                self._summary.append(mapping(delta.get("content")))
            case "arguments_delta":
                self._arguments.append(str(delta.get("partial_arguments") or ""))
            case "text_annotation_delta" if self._items:
                self._items[-1][1].add({"annotations": delta.get("annotations")})
            case kind if kind in _CONTENT:
                self._say(delta)
            case _:
                # A call or a result comes whole; it repeats the type of its step.
                self._fields |= {name: value for name, value in delta.items() if name != "type"}

    def _say(self, item: dict[str, Any]) -> None:
        kind = item.get("type")
        if not self._items or self._items[-1][0] != kind:
            self._items.append((kind, Assembly(_ITEM)))
        self._items[-1][1].add(item)

    def whole(self) -> dict[str, Any]:
        """Give the step."""
        step = {name: value for name, value in self._fields.items() if value is not None}
        if self._summary:
            step["summary"] = self._summary
        if text := "".join(self._arguments):
            parsed = parse_json(text)
            step["arguments"] = text if parsed is None else parsed
        if self._items:
            step["content"] = [item.whole() for _, item in self._items]
        return step


def interaction_of_events(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Put the events of a stream together; empty when none told anything."""
    interaction: dict[str, Any] = {}
    steps: dict[int, _Step] = {}
    for event in events:
        index = event.get("index")
        index = index if isinstance(index, int) else len(steps)
        match event.get("event_type"):
            case "interaction.created" | "interaction.completed":
                interaction |= mapping(event.get("interaction"))
            case "interaction.status_update":
                interaction["status"] = event.get("status")
            case "step.start":
                steps[index] = _Step(mapping(event.get("step")))
            case "step.delta":
                step = steps.setdefault(index, _Step({"type": "model_output"}))
                step.add(mapping(event.get("delta")))
            case "error":
                interaction["error"] = event.get("error")
    if steps:
        interaction["steps"] = [step.whole() for _, step in sorted(steps.items())]
    return interaction
