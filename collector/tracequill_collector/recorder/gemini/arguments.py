"""Arguments of a call that arrive in pieces, each with a JSONPath to its place: pieces enter, the
arguments leave. https://www.rfc-editor.org/rfc/rfc9535 No input or output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_STEP = re.compile(r"\.([^.\[\]']+)|\['([^']*)'\]|\[(\d{1,6})\]")
_MAX_STEPS = 50
_VALUES = ("string_value", "number_value", "bool_value")


def arguments_of_pieces(pieces: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Put the arguments together; a piece whose place cannot be found is left out."""
    arguments: Any = {}
    for piece in pieces:
        steps = _steps(piece.get("json_path"))
        if 0 < len(steps) <= _MAX_STEPS:
            value = next((piece[name] for name in _VALUES if name in piece), None)
            arguments = _with(arguments, steps, value)
    return arguments if isinstance(arguments, dict) else {}


def _steps(path: Any) -> list[str | int]:
    """Give the names and indexes on the way; none when the path is not understood."""
    if not isinstance(path, str):
        return []
    found = list(_STEP.finditer(path))
    if "$" + "".join(match[0] for match in found) != path:
        return []
    return [int(match[3]) if match[3] else match[1] or match[2] for match in found]


def _with(known: Any, steps: list[str | int], value: Any) -> Any:
    """Give *known* with *value* where *steps* lead; a text goes on where one is."""
    if not steps:
        both_texts = isinstance(known, str) and isinstance(value, str)
        return known + value if both_texts else value
    step, *rest = steps
    if isinstance(step, str):
        fields = known if isinstance(known, dict) else {}
        fields[step] = _with(fields.get(step), rest, value)
        return fields
    items = known if isinstance(known, list) else []
    if step == len(items):
        items.append(None)
    if step < len(items):
        items[step] = _with(items[step], rest, value)
    return items
