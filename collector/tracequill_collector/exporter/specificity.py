"""How specific a model's name pattern is: a regular expression enters, a score leaves.

When several prices fit a model name, Phoenix takes the most specific pattern. The weights are its
rules of pricing, so they are equal here, and a differential test holds them so.
"""

from __future__ import annotations

import re

_BOTH_ANCHORS = 10_000
_ONE_ANCHOR = 5_000
_PLAIN = 1_000
_ESCAPED = 950
_CHARACTER_SET = 500
_CLASS = 400
_NEGATED_SET = 300
_NEGATED_CLASS = 250
_ANYTHING = -200
_OPTIONAL = -100
_REPEATED = -150
_ALTERNATIVE = -300
_EXACTLY = -50
_BETWEEN = -100
_PER_CHARACTER = 2

_SPECIAL = {
    ".": _ANYTHING,
    "?": _OPTIONAL,
    "|": _ALTERNATIVE,
    "+": _REPEATED,
    "*": _REPEATED,
    "(": 0,
    ")": 0,
    "^": 0,
    "$": 0,
}

_LEADING_FLAGS = re.compile(r"(?:\(\?[aiLmsux]+\))*")
# The opening of a group, where it is more than a bracket: what follows it is content.
_GROUP_OPENING = r"\(\?(?:P<\w+>|<=|<!|:|=|!|[aiLmsux]*(?:-[imsx]+)?:)"
# A set ends at the first bracket that no odd number of backslashes escapes.
_SET = r"\[(?P<set>(?:[^\]\\]|\\.)*)\]"
# Anything else in braces is no repetition: each of its characters counts for itself.
_COUNT = r"\{\d+(?P<comma>,\d*)?\}"

_TOKEN = re.compile(
    rf"\\(?P<escape>.)|(?P<group>{_GROUP_OPENING})|(?P<sets>{_SET})|(?P<count>{_COUNT})|(?P<one>.)",
    re.DOTALL,
)


def specificity(pattern: str) -> int:
    """Score *pattern*; higher is more specific, and nothing scores less than 1."""
    begin = _LEADING_FLAGS.match(pattern).end()  # type: ignore[union-attr]
    starts = pattern.startswith("^", begin)
    ends = _ends_with_anchor(pattern)
    content = pattern[begin + starts :]
    if ends and content.endswith("$"):
        content = content[:-1]
    score = (0, _ONE_ANCHOR, _BOTH_ANCHORS)[starts + ends]
    score += sum(_weight(token) for token in _TOKEN.finditer(content))
    return max(1, score + _PER_CHARACTER * len(pattern))


def _ends_with_anchor(pattern: str) -> bool:
    without = pattern.removesuffix("$")
    backslashes = len(without) - len(without.rstrip("\\"))
    return without != pattern and backslashes % 2 == 0


def _weight(token: re.Match[str]) -> int:
    if escape := token["escape"]:
        return _CLASS if escape in "dws" else _NEGATED_CLASS if escape in "DWS" else _ESCAPED
    if token["group"]:
        return 0
    if token["sets"]:
        return _NEGATED_SET if token["set"].startswith("^") else _CHARACTER_SET
    if token["count"]:
        return _BETWEEN if token["comma"] else _EXACTLY
    return _SPECIAL.get(token["one"], _PLAIN)
