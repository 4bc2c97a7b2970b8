"""Gemini's streams of generateContent: chunks enter, the response they are pieces of leaves.

Both under the names of Google's Python library. No input or output.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tracequill_collector.recorder.gemini.arguments import arguments_of_pieces
from tracequill_collector.recorder.message import mapping, objects
from tracequill_collector.recorder.pieces import Assembly, Kind, Shape

# Texts are joined, pieces of a call's arguments are continued, all else is replaced.
_PART: Shape = {"text": Kind.TEXT}
# What a part says about itself, not what it is.
_ABOUT = frozenset({"text", "thought", "thought_signature", "video_metadata", "part_metadata"})


@dataclass(slots=True)
class _Current:
    """The part that is being said at one position."""

    kind: str
    part: Assembly
    signed: bool = False

    def is_continued_by(self, piece: dict[str, Any], kind: str) -> bool:
        """Whether *piece* goes on with this part."""
        if kind != self.kind:
            return False
        if kind == "function_call":
            return "name" not in mapping(piece.get("function_call"))
        # A signature belongs to what came before it; two belong to two parts.
        if self.signed and "thought_signature" in piece:
            return False
        return kind in ("text", "reasoning")

    def add(self, piece: dict[str, Any]) -> None:
        """Add a piece."""
        self.part.add(piece)
        self.signed = self.signed or "thought_signature" in piece


@dataclass(slots=True)
class _Parts:
    """The parts of one candidate in the making."""

    parts: list[Assembly] = field(default_factory=list)
    current: dict[int, _Current] = field(default_factory=dict)
    """Which part the piece at a position of the last chunk belongs to."""

    def add(self, pieces: list[dict[str, Any]]) -> None:
        """Add the parts of one chunk: continuations by their position, or new ones."""
        for position, piece in enumerate(pieces):
            if not piece:
                continue
            kind = _kind(piece)
            current = self.current.get(position)
            if current is None or not current.is_continued_by(piece, kind):
                current = _Current(kind, Assembly(_PART))
                self.parts.append(current.part)
                self.current[position] = current
            current.add(piece)

    def whole(self) -> list[dict[str, Any]]:
        """Give the parts of which something came."""
        parts = [part for assembly in self.parts if (part := assembly.whole())]
        for part in parts:
            call = mapping(part.get("function_call"))
            if "args" not in call and (pieces := objects(call.get("partial_args"))):
                call["args"] = arguments_of_pieces(pieces)
        return parts


@dataclass(slots=True)
class _Candidate:
    """One candidate in the making."""

    parts: _Parts = field(default_factory=_Parts)
    content: Assembly = field(default_factory=Assembly)
    rest: Assembly = field(default_factory=Assembly)

    def add(self, piece: dict[str, Any]) -> None:
        """Add what one chunk says of the candidate."""
        content = mapping(piece.get("content"))
        self.parts.add(objects(content.get("parts")))
        self.content.add({key: value for key, value in content.items() if key != "parts"})
        self.rest.add({key: value for key, value in piece.items() if key != "content"})

    def whole(self) -> dict[str, Any]:
        """Give the candidate; it always has a content, as the library's own has."""
        content = {**self.content.whole(), "parts": self.parts.whole()}
        return {**self.rest.whole(), "content": content}


def response_of_chunks(chunks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Put the chunks of a stream together; empty when there were none."""
    rest, usage = Assembly(), dict[str, Any]()
    candidates: dict[int, _Candidate] = {}
    empty = True
    for chunk in chunks:
        empty = False
        for position, piece in enumerate(objects(chunk.get("candidates"))):
            index = piece.get("index")
            index = index if isinstance(index, int) else position
            candidates.setdefault(index, _Candidate()).add(piece)
        usage.update(mapping(chunk.get("usage_metadata")))
        rest.add({k: v for k, v in chunk.items() if k not in ("candidates", "usage_metadata")})
    if empty:
        return {}
    response = rest.whole()
    if usage:
        response["usage_metadata"] = usage
    response["candidates"] = [candidate.whole() for _, candidate in sorted(candidates.items())]
    return response


def _kind(piece: dict[str, Any]) -> str:
    """Name what a part is: its first field that is neither text nor about the part."""
    for name in piece:
        if name not in _ABOUT:
            return name
    return "reasoning" if piece.get("thought") else "text"
