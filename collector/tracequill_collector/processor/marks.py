"""What stands where something was taken out or cut off. Knows nothing of who did it, or why."""

from __future__ import annotations

REDACTED_KEY = "tracequill.redacted"
"""The attribute of a redacted span that names the rules which hit."""

LIMITED_KEY = "tracequill.limited"
"""The attribute of a span that was too large; it says what was cut."""

OWN_KEYS = frozenset({REDACTED_KEY, LIMITED_KEY})


def marker(name: str) -> str:
    """Give what stands where something was taken out by the rule *name*."""
    return f"[redacted:{name}]"
