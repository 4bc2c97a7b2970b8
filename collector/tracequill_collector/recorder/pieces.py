"""Objects that arrive in pieces: chunks of a stream enter, the whole object leaves.

Which fields are put together and how is said by a shape; the rest follows one rule: null says
nothing, objects are merged, lists are continued, anything else is replaced by what came last.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Kind(Enum):
    """How the pieces of a field become one value."""

    TEXT = "text"
    """Pieces of text are joined; a text that stays empty is absent."""
    EXACT_TEXT = "exact text"
    """Pieces of text are joined; an empty text is a text."""
    BASE64 = "base64"
    """Pieces of binary data, each in base64, are joined and stay in base64."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """A list whose items come in pieces, each with the ``index`` of the item it belongs to."""

    item: Shape


Shape = dict[str, "Kind | Indexed | Shape"]

_PLAIN = frozenset({str, int, float, bool})


class _OwnList(list[Any]):
    """A list that no piece holds, so that it may grow in place."""


@dataclass(slots=True)
class Assembly:
    """One object in the making."""

    shape: Shape = field(default_factory=dict)
    _values: dict[str, Any] = field(default_factory=dict)

    def add(self, piece: dict[str, Any]) -> None:
        """Add the fields of *piece*; a piece of an unexpected type is left out."""
        values, shape = self._values, self.shape
        for key, value in piece.items():
            if value is None:
                continue
            kind = shape.get(key)
            if kind is None:
                # Most fields of a piece are texts and numbers, the same as in the one before.
                if type(value) in _PLAIN and type(values.get(key)) is not Assembly:
                    values[key] = value
                else:
                    self._add_other(key, value)
            elif isinstance(kind, Kind):
                if isinstance(value, str):
                    values.setdefault(key, []).append(value)
            elif isinstance(kind, Indexed):
                self._add_items(values.setdefault(key, {}), kind.item, value)
            elif isinstance(value, dict):
                if (known := values.get(key)) is None:
                    known = values[key] = Assembly(kind)
                known.add(value)

    @staticmethod
    def _add_items(items: dict[int, Assembly], shape: Shape, pieces: Any) -> None:
        for piece in pieces if isinstance(pieces, list) else [pieces]:
            if isinstance(piece, dict) and isinstance(index := piece.get("index"), int):
                if (item := items.get(index)) is None:
                    item = items[index] = Assembly(shape)
                item.add(piece)

    def _add_other(self, key: str, value: Any) -> None:
        known = self._values.get(key)
        if key not in self._values and isinstance(value, dict):
            self._values[key] = Assembly({}, dict(value))
        elif isinstance(known, Assembly):
            if isinstance(value, dict):
                known.add(value)
        elif isinstance(known, _OwnList) and isinstance(value, list):
            known.extend(value)
        elif isinstance(known, list) and isinstance(value, list):
            self._values[key] = _OwnList(known + value)
        else:
            self._values[key] = value

    def whole(self) -> dict[str, Any]:
        """Give the object; fields of which nothing came are absent."""
        result: dict[str, Any] = {}
        for key, value in self._values.items():
            match self.shape.get(key):
                case Kind() as kind:
                    whole: Any = _join_base64(value) if kind is Kind.BASE64 else "".join(value)
                    empty = not whole and kind is Kind.TEXT
                case Indexed():
                    whole = [item.whole() for _, item in sorted(value.items())]
                    empty = not whole
                case _ if isinstance(value, Assembly):
                    whole = value.whole()
                    empty = not whole
                case _:
                    whole = value
                    empty = whole is None
            if not empty:
                result[key] = whole
        return result


def _join_base64(pieces: list[str]) -> str:
    try:
        return base64.b64encode(b"".join(map(base64.b64decode, pieces))).decode()
    except (binascii.Error, ValueError):
        return "".join(pieces)
