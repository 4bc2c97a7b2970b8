"""The events of Anthropic's Messages: events enter, the message that they stand for leaves.

Bedrock's Claude streams the same. Beside them stand the events of completions. Nothing that came
is lost: fields, deltas and events newer than this module are kept as they are.
No input or output.
"""

from __future__ import annotations

from typing import Any

from tracequill_collector.recorder.body import parse_json
from tracequill_collector.recorder.message import mapping
from tracequill_collector.recorder.pieces import Assembly, Kind

# Deltas that give a field whole; the texts of all others are pieces of one.
_WHOLE = frozenset({"signature_delta", "compaction_delta"})
_EVENT_FIELDS = frozenset({"type", "delta", "usage"})


class MessageStream:
    """The message that a stream's events stand for, as far as they came."""

    def __init__(self, *, parse_input: bool = True) -> None:
        """With *parse_input* a call's arguments are JSON values, else the text that came."""
        self._parse_input = parse_input
        self.message: dict[str, Any] | None = None
        """The message without its blocks; None when it has not begun."""
        self._blocks: dict[int, _Block] = {}
        self.ended = False
        """Whether the last event came."""
        self.other_events: list[dict[str, Any]] = []
        """Events of unknown types, and those that have no place."""

    def add(self, event: dict[str, Any]) -> None:
        """Add one event."""
        index, block = event.get("index"), None
        if isinstance(index, int):
            block = self._blocks.get(index)
        match event.get("type"):
            case "message_start" if isinstance(event.get("message"), dict):
                self.message = dict(event["message"])
            case "content_block_start" if isinstance(index, int):
                self._start_block(index, mapping(event.get("content_block")))
            case "content_block_delta" if block is not None:
                block.add(mapping(event.get("delta")))
            case "message_delta" if self.message is not None:
                self._add_to_message(self.message, event)
            case "message_stop":
                self.ended = True
            case "content_block_stop" | "ping":
                pass
            case _:
                self.other_events.append(event)

    def _start_block(self, index: int, block: dict[str, Any]) -> None:
        self._blocks[index] = _Block(block)
        model = mapping(block.get("to")).get("model")
        if block.get("type") == "fallback" and model and self.message is not None:
            # Another model has taken over; the answer is its own.
            self.message["model"] = model

    @staticmethod
    def _add_to_message(message: dict[str, Any], event: dict[str, Any]) -> None:
        more = {key: value for key, value in event.items() if key not in _EVENT_FIELDS}
        for fields in (more, mapping(event.get("delta"))):
            message.update({key: value for key, value in fields.items() if value is not None})
        # Counts are totals, so the last one holds; one that is left out has not changed.
        counts = mapping(event.get("usage"))
        message["usage"] = {
            **mapping(message.get("usage")),
            **{key: value for key, value in counts.items() if value is not None},
        }

    def blocks(self) -> list[dict[str, Any]]:
        """Give the content blocks, in their order."""
        return [block.whole(self._parse_input) for _, block in sorted(self._blocks.items())]

    def whole(self) -> dict[str, Any]:
        """Give the message with its blocks; empty when nothing came."""
        whole = dict(self.message or {})
        if self._blocks:
            whole["content"] = self.blocks()
        if self.other_events:
            whole["other_events"] = self.other_events
        return whole


class _Block:
    """One content block in the making."""

    def __init__(self, start: dict[str, Any]) -> None:
        self._block = dict(start)
        self._pieces: dict[str, list[str]] = {}
        self._citations: list[Any] = []

    def add(self, delta: dict[str, Any]) -> None:
        kind = str(delta.get("type"))
        for key, value in delta.items():
            if key == "type" or value is None:
                continue
            if key == "citation":
                self._citations.append(value)
            elif isinstance(value, str) and kind not in _WHOLE:
                self._pieces.setdefault(key, []).append(value)
            else:
                self._block[key] = value

    def whole(self, parse_input: bool) -> dict[str, Any]:
        block = dict(self._block)
        if self._citations:
            known = block.get("citations")
            block["citations"] = [*(known if isinstance(known, list) else []), *self._citations]
        for key, pieces in self._pieces.items():
            text = "".join(pieces)
            if key == "partial_json":
                if text or not parse_input:
                    parsed = parse_json(text) if parse_input else None
                    block["input"] = text if parsed is None else parsed
            else:
                start = block.get(key)
                block[key] = start + text if isinstance(start, str) else text
        return block


class CompletionStream:
    """The completion that a stream's events stand for, as far as they came."""

    def __init__(self) -> None:
        self._completion = Assembly({"completion": Kind.EXACT_TEXT})
        self.ended = False
        """Whether the last event came."""
        self.other_events: list[dict[str, Any]] = []
        """Events of unknown types."""

    def add(self, event: dict[str, Any]) -> None:
        """Add one event."""
        match event.get("type"):
            case "completion":
                self._completion.add(event)
                self.ended = self.ended or event.get("stop_reason") is not None
            case "ping":
                pass
            case _:
                self.other_events.append(event)

    def whole(self) -> dict[str, Any]:
        """Give the completion; empty when nothing came."""
        whole = self._completion.whole()
        return {**whole, "other_events": self.other_events} if self.other_events else whole
