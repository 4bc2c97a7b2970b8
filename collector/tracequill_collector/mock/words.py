"""Words of a text as stems, so that ``returned`` and ``returns`` meet; English, small, exact."""

from __future__ import annotations

import re

_WORD = re.compile(r"[a-z0-9]+")
_SILENT = frozenset(
    "a about after again all also am an and any are as at be been before by can could did do does "
    "for from had has have her his how i if in into is it its just like may me much many my need "
    "no not of off on one or our out please shall she should so some something than that the "
    "their them then there these they this those to too us use want was we were what when where "
    "which who why will with would you your s t ll ve re m d get got let tell say know thing "
    "long is it".split()
)
_ENDINGS = ("ations", "ation", "ings", "ing", "ies", "ied", "ers", "ed", "es", "s", "e", "y")


def stems(text: str) -> list[str]:
    """Give the stems of the words that carry meaning, in order, repeats kept."""
    return [_stem(word) for word in _WORD.findall(text.lower()) if word not in _SILENT]


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word
