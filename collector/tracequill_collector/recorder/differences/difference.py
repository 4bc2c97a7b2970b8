"""What a known difference between the recorder's span and the instrumentor's is.

No input or output, and nothing at run time depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Attribute = tuple[str, Any, Any]
"""A name, the recorder's value and the instrumentor's; ABSENT where one has none."""

ABSENT = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One known difference."""

    name: str
    spans: str
    """Pattern of the span names it can stand on."""
    attributes: str
    """Pattern of the attributes that differ."""
    ours: str
    theirs: str
    reason: str
    tolerates: Callable[[Any, Any], bool] = lambda ours, theirs: True
    """Whether the two values differ in just this way."""

    def covers(self, span_name: str, attribute: Attribute) -> bool:
        """Whether the attribute's two values differ for this reason."""
        name, ours, theirs = attribute
        return (
            re.fullmatch(self.spans, span_name) is not None
            and re.fullmatch(self.attributes, name) is not None
            and self.tolerates(ours, theirs)
        )


def only(side: Literal["ours", "theirs"]) -> Callable[[Any, Any], bool]:
    """Tolerate that just one of the two has the attribute."""

    def tolerates(ours: Any, theirs: Any) -> bool:
        absent, present = (theirs, ours) if side == "ours" else (ours, theirs)
        return absent is ABSENT and present is not ABSENT

    return tolerates


def equal_after(change: Callable[[Any], Any]) -> Callable[[Any, Any], bool]:
    """Tolerate values that *change* makes equal."""
    return lambda ours, theirs: bool(change(ours) == change(theirs))


def without_nulls(value: Any) -> Any:
    """Give *value* without the fields that are null."""
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: without_nulls(item) for key, item in value.items() if item is not None}


def holds(ours: Any, theirs: Any) -> bool:
    """Tolerate that ours has more fields than theirs, at any depth."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return all(holds(ours.get(key), value) for key, value in theirs.items())
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) >= len(theirs) and all(map(holds, ours, theirs))
    return bool(ours == theirs)


def has_more(ours: Any, theirs: Any) -> bool:
    """Tolerate an object of ours that has more fields than theirs."""
    both_objects = isinstance(ours, dict) and isinstance(theirs, dict)
    return both_objects and all(ours.get(key) == value for key, value in theirs.items())


ERROR = r"status_message|exception\.message"
"""Attributes that hold the message of an error."""

OUTPUT = r"output\..*|llm\.(output_messages|token_count)\..*|llm\.(model_name|finish_reason)"
"""Attributes that hold what was answered."""
