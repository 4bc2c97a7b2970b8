"""Any JSON becomes JSON that is safe to walk and to send, and a page's texts stay within a budget.

Bounded: nesting, the length of lists, the number of values, each text and all texts together. What
is cut says how long it was. Nothing here knows what the texts mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

TEXT_CHARACTERS_MAX = 200_000
# Everything that one page is sent, so that the next three items can be fetched ahead.
PAGE_CHARACTERS_MAX = 600_000
IMAGE_BYTES_MAX = 4_000_000
PAGE_IMAGE_BYTES_MAX = 6_000_000
_NAME_CHARACTERS_MAX = 300
_DEPTH_MAX = 40
_ENTRIES_MAX = 3_000
_VALUES_MAX = 300_000
# More has no meaning as a number, and Python refuses to write it out.
_INTEGER_BITS_MAX = 1_024

_SURROGATE = re.compile("[\ud800-\udfff]")
TOO_MUCH = "… (more than can be shown)"


def well_formed(text: str) -> str:
    """Give *text* without lone surrogates, which cannot be sent, and with pairs of them joined."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def short(value: object) -> str:
    """Give a name or an id as a text of bounded length; what is no scalar gives none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    text = str(value)
    if len(text) <= _NAME_CHARACTERS_MAX:
        return text
    return text[:_NAME_CHARACTERS_MAX] + "…"


def number(value: object) -> float | None:
    """Give a finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        finite = float(value)
    except OverflowError:
        return None
    return finite if math.isfinite(finite) else None


def ends(value: Sequence[Any]) -> Sequence[Any]:
    """Give a long list without its middle: a conversation begins and ends with what matters."""
    if len(value) <= _ENTRIES_MAX:
        return value
    return [*value[:1], TOO_MUCH, *value[1 - _ENTRIES_MAX :]]


class Cleaning:
    """Copies JSON of any shape, cutting what is too deep, too long or too much."""

    def __init__(self) -> None:
        self._values_left = _VALUES_MAX

    def clean(self, value: object, depth: int = 0) -> Any:
        """Give a copy of *value* that holds nothing but JSON."""
        self._values_left -= 1
        if isinstance(value, str):
            return well_formed(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            fits = value.bit_length() <= _INTEGER_BITS_MAX
            return value if fits else f"an integer of {value.bit_length():,} bits"
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if depth >= _DEPTH_MAX or self._values_left <= 0:
            return TOO_MUCH
        if isinstance(value, Mapping):
            return self._object(value, depth)
        if isinstance(value, list | tuple):
            return [self.clean(item, depth + 1) for item in ends(value)]
        return well_formed(str(value)[:_NAME_CHARACTERS_MAX])

    def _object(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        cleaned: dict[str, Any] = {}
        for key, item in value.items():
            if len(cleaned) >= _ENTRIES_MAX:
                cleaned[TOO_MUCH] = len(value) - _ENTRIES_MAX
                break
            cleaned[well_formed(str(key)[:_NAME_CHARACTERS_MAX])] = self.clean(item, depth + 1)
        return cleaned


class Budget:
    """What one page may still hold; what is asked for first is cut last."""

    def __init__(self) -> None:
        self._characters_left = PAGE_CHARACTERS_MAX
        self._image_bytes_left = PAGE_IMAGE_BYTES_MAX

    def cut(self, value: object) -> None:
        """Cut the texts and leave out the images, in place, that no longer fit."""
        if isinstance(value, list):
            for item in value:
                self.cut(item)
        elif isinstance(value, dict):
            if "size" in value and isinstance(value.get("text"), str):
                self._cut_text(value)
            elif value.get("kind") == "image" and value["url"]:
                self._cut_image(value)
            for item in value.values():
                if isinstance(item, dict | list):
                    self.cut(item)

    def _cut_text(self, value: dict[str, Any]) -> None:
        characters = min(TEXT_CHARACTERS_MAX, self._characters_left)
        if len(value["text"]) > characters:
            value["text"] = value["text"][:characters]
            value["truncated"] = True
        self._characters_left -= len(value["text"])

    def _cut_image(self, value: dict[str, Any]) -> None:
        if value["size"] > min(IMAGE_BYTES_MAX, self._image_bytes_left):
            value["url"] = ""
            value["why"] = "too_large"
        else:
            self._image_bytes_left -= value["size"]
