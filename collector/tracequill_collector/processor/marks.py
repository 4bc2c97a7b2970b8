"""What stands where something was taken out or cut off. Knows nothing of who did it, or why."""

from __future__ import annotations

import re

REDACTED_KEY = "tracequill.redacted"
"""The attribute of a redacted span that names the rules which hit."""

LIMITED_KEY = "tracequill.limited"
"""The attribute of a span that was too large; it says what was cut."""

OWN_KEYS = frozenset({REDACTED_KEY, LIMITED_KEY})


def marker(name: str) -> str:
    """Give what stands where something was taken out by the rule *name*."""
    return f"[redacted:{name}]"


# No longer than the largest request can make it: no room for anything but sizes.
_CUT = re.compile(r"… \[cut by tracequill: \d{1,10} of (\d{1,10}) bytes\]\Z", re.ASCII)
_LONGEST_SIGN = 80


def cut_sign(kept_bytes: int, size_bytes: int) -> str:
    """Give what ends a text of *size_bytes* of which the rest was cut off."""
    return f"… [cut by tracequill: {kept_bytes} of {size_bytes} bytes]"


def find_cut_sign(text: str) -> re.Match[str] | None:
    """Find what ``cut_sign`` gave at the end of *text*; its first group is the size."""
    return _CUT.search(text, max(0, len(text) - _LONGEST_SIGN))
