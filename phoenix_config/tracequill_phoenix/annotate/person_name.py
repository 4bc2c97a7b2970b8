"""The name by which a person is known where nobody signs in; it comes from a cookie.

A name is one line of visible text: what cannot be seen could make two people look alike.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote, unquote

COOKIE = "tracequill-name"
LENGTH_MAX = 64
PREFIX = "tracequill:"
# Before composing, which takes time that grows with the square of a run of marks.
_TYPED_LENGTH_MAX = 8 * LENGTH_MAX
# Controls, formats (direction overrides, zero width), surrogates, private use, unassigned.
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn")
# Of other kinds, and drawn as nothing: fillers, an empty braille cell, a joiner, selectors.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

# Drawn alike, and put in by keyboards that mean well.
_ALIKE = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201b\u02bc\u02b9\u2032\u00b4`", "'"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
    }
)


def checked_name(text: str) -> str:
    """Give the name that *text* means; ValueError with a sentence if it is none."""
    too_long = f"a name has at most {LENGTH_MAX} characters."
    if len(text) > _TYPED_LENGTH_MAX:
        raise ValueError(too_long)
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name:
        raise ValueError("please type a name.")
    if len(name) > LENGTH_MAX:
        raise ValueError(too_long)
    if _BLANK.search(name) or any(unicodedata.category(one) in _INVISIBLE for one in name):
        raise ValueError("a name consists of visible characters only.")
    return name


def likeness(name: str) -> str:
    """Give what names that look the same have in common: case, forms, dashes and apostrophes aside.

    Letters of other scripts stay others: a name in Cyrillic is nobody's in Latin.
    """
    folded = unicodedata.normalize("NFKC", name.translate(_ALIKE)).casefold()
    return unicodedata.normalize("NFKC", folded)


def to_cookie(name: str) -> str:
    """Write *name* as the value of a cookie."""
    return quote(name, safe="")


def from_cookie(value: str | None) -> str | None:
    """Read the name from a cookie's value; None where there is none that could be ours."""
    if not value:
        return None
    try:
        return checked_name(unquote(value, errors="strict"))
    except ValueError:
        return None
