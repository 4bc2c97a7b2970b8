"""Values that Postgres or JSON cannot hold become the nearest that they can.

A nested value enters, a value that ``orjson`` writes and ``jsonb`` takes leaves: the same object
when nothing was wrong. Phoenix loses the span in each of these cases; here it is kept:

- NUL and lone surrogates become U+FFFD, in values and in keys;
- bytes become their base64;
- integers past 64 bits become their digits;
- what is nested too deep becomes its JSON, as one string.

NaN and the infinities need nothing: ``orjson`` writes null for them, as in Phoenix.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import orjson

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_REPLACEMENT = "\ufffd"

# orjson writes 254 levels; the value stands below the keys of the span's attributes.
_MAX_LEVELS = 240
_MAX_SIGNS = 8
_MIN_INTEGER = -(2**63)
_MAX_INTEGER = 2**64 - 1


def storable_text(text: str) -> str:
    """Give *text* with every character replaced that Postgres cannot keep."""
    return _UNSTORABLE.sub(_REPLACEMENT, text)


def storable(value: dict[str, Any]) -> dict[str, Any]:
    """Give *value* itself when it can be stored as it is, else a repaired copy."""
    return storable_with_json(value)[0]


def storable_with_json(value: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Give what ``storable`` gives, and its JSON, which had to be made to find out."""
    try:
        text = orjson.dumps(value)
    except TypeError:
        text = b""
    # Also hits a written-out backslash-u-0000, which the repair then leaves alone.
    if not text or b"\\u0000" in text:
        value = _repaired_object(value, _MAX_LEVELS)
        text = orjson.dumps(value)
    return value, text.decode()


def text_of_bytes(value: object) -> str:
    """Give the base64 of bytes; a ``default`` for ``json.dumps``."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} is no value of an attribute")


def _repaired_object(value: dict[str, Any], levels: int) -> dict[str, Any]:
    repaired: dict[str, Any] = {}
    signs: dict[str, int] = {}
    for key, item in value.items():
        plain = name = storable_text(key)
        while name != key and (name in repaired or name in value):
            # Two keys must not become one. The count goes on where it was: a thousand keys that
            # repair to one name are told apart in a thousand steps.
            signs[plain] = signs.get(plain, 0) + 1
            name = plain + _suffix(signs[plain])
        repaired[name] = _repaired(item, levels - 1)
    return repaired


def _suffix(number: int) -> str:
    """Tell names apart: by a few more signs, by a number where there are many."""
    return _REPLACEMENT * number if number <= _MAX_SIGNS else f"{_REPLACEMENT}{number}"


def _repaired(value: Any, levels: int) -> Any:
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, bytes):
        return text_of_bytes(value)
    if isinstance(value, int):
        return value if _MIN_INTEGER <= value <= _MAX_INTEGER else str(value)
    if isinstance(value, (dict, list, tuple)):
        if levels <= 0:
            return storable_text(json.dumps(value, default=text_of_bytes, ensure_ascii=False))
        if isinstance(value, dict):
            return _repaired_object(value, levels)
        return [_repaired(item, levels - 1) for item in value]
    return value
