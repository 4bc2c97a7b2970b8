"""E-mail addresses: found from the at sign outwards, in any script. Text in, text out.

Time is in proportion to the text. No input or output.
"""

from __future__ import annotations

import re

from tracequill_collector.processor.marks import marker

EMAIL_MARK = r"(?:[@\x{ff20}\x{fe6b}]|%40)[0-9A-Za-z\x{80}-\x{10ffff}]"

_AT = re.compile(r"[@\uff20\ufe6b]|%40")
# Signs that an address cannot have there, or that more often stand around it: quotes, commas,
# brackets, the = and & of a query.
_NO_NAME_SIGN = re.compile(
    r"[\s\x00-\x1f\x7f\ud800-\udfff@\uff20\ufe6b<>()\[\]{}|,;:\"`\\/=?&*^$#!"
    r"\u3000-\u303f\uff00-\uff0f\uff1a-\uff1f]"
)
_LONGEST_NAME = 256
# Scripts that put no space between words: their words end where another script begins.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_DOMAIN = re.compile(
    rf"(?:{_LABEL}[.\u3002\uff0e]){{1,8}}"
    r"(?:[Xx][Nn]--[A-Za-z0-9-]{2,59}|[A-Za-z]{2,63}|[^\W\d_]{2,24})"
)
# icon@2x.png is no address.
_FILE = re.compile(r"[23]x\.(?:png|jpe?g|gif|webp|svg)(?![\w.])", re.IGNORECASE)


def without_emails(text: str) -> str:
    """Take out e-mail addresses."""
    parts: list[str] = []
    done = before = 0
    for at in _AT.finditer(text):
        if at.start() < done:
            continue
        start = _start_of_name(text, max(done, before, at.start() - _LONGEST_NAME), at.start())
        before = at.end()
        domain = _DOMAIN.match(text, at.end())
        if start < at.start() and domain and not _FILE.match(text, at.end()):
            parts += text[done:start], marker("email")
            done = domain.end()
    return "".join(parts) + text[done:] if parts else text


def _start_of_name(text: str, start: int, end: int) -> int:
    """Give where the part before the at sign begins."""
    begin = start
    for sign in _NO_NAME_SIGN.finditer(text, start, end):
        begin = sign.end()
    if begin < end and not _UNSPACED.match(text, end - 1):
        for sign in _UNSPACED.finditer(text, begin, end):
            begin = sign.end()
    while begin < end and text[begin] in ".'%~-":
        begin += 1
    return begin
