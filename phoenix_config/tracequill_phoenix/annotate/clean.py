"""Text as Postgres stores it: NUL and lone surrogates, which it refuses, become U+FFFD.

Nothing else is changed: what looks dangerous is made harmless where it is shown.
"""

from __future__ import annotations

import re
from typing import Any

# Deeper than any message; a body nested further is refused rather than walked.
DEPTH_MAX = 64
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean_text(text: str) -> str:
    """Give *text* without what Postgres refuses."""
    return _UNSTORABLE.sub("�", text)


def clean_json(value: Any, depth: int = 0) -> Any:
    """Give JSON *value* with every text cleaned, keys as well; ValueError where it is too deep."""
    if depth > DEPTH_MAX:
        raise ValueError(f"it is nested more than {DEPTH_MAX} levels deep")
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [clean_json(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {clean_text(key): clean_json(item, depth + 1) for key, item in value.items()}
    return value
