"""The statements of ``queries.sql`` by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_NAME = re.compile(r"^-- (\w+) --$", re.MULTILINE)


def _load(text: str) -> Mapping[str, str]:
    _, *parts = _NAME.split(text)
    return {
        name: statement.strip() for name, statement in zip(parts[::2], parts[1::2], strict=True)
    }


QUERIES = _load(Path(__file__).with_name("queries.sql").read_text(encoding="utf-8"))
"""Each begins with a comment that says in a sentence what it does."""
