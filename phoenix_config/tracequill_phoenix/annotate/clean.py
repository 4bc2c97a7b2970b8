"""What people send as Postgres can keep it, and as it can be sent again.

NUL and lone surrogates, which Postgres refuses, become U+FFFD. Numbers that are none, or that no
64 bits hold, are refused, and so are times that no calendar holds as UTC. Nothing else is changed:
what looks dangerous is made harmless where it is shown.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

# Deeper than any message; a body nested further is refused rather than walked.
DEPTH_MAX = 64
# Postgres writes a large number out in full, and JSON that is sent has 64 bits for it.
_NUMBER_MAX = 2**63 - 1
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean_text(text: str) -> str:
    """Give *text* without what Postgres refuses."""
    return _UNSTORABLE.sub("�", text)


def clean_json(value: Any, depth: int = 0) -> Any:
    """Give JSON *value* with every text cleaned, keys as well.

    Raises ValueError where it is too deep, or holds a number that cannot be kept.
    """
    if depth > DEPTH_MAX:
        raise ValueError(f"it is nested more than {DEPTH_MAX} levels deep")
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [clean_json(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {clean_text(key): clean_json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, int | float) and not -_NUMBER_MAX <= value <= _NUMBER_MAX:  # nor is NaN
        raise ValueError(f"it holds a number that is none, or is beyond {_NUMBER_MAX:.2g}")
    return value


def clean_time(time: datetime) -> datetime:
    """Give *time* as UTC, which it is where it names no zone; ValueError beyond the calendar."""
    try:
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError("it is before the year 1, or after 9999") from error
