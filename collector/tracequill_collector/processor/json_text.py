"""Strings and numbers in a text of JSON are changed where they stand; every other byte stays.

A text enters and leaves. It is read sign by sign and without recursion: how deep it is nested, what
it repeats and how it writes its numbers does not matter, and JSON that was cut off is read as far
as it goes. No input or output; knows nothing of redaction.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

# Possessive: to come back to each of a million escapes would take a gigabyte of memory.
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_VALUES = re.compile(rf"{_STRING}|-?\d[\d.eE+-]{{5,}}", re.DOTALL)
_TOKENS = re.compile(rf'{_STRING}|[{{}}\[\],]|[^\s{{}}\[\],:"]+', re.DOTALL)
_COLON = re.compile(r"\s*:")
_FIRST_SIGNS = ("{", "[", '"')
# Long names say nothing more; without an end, the path of deep JSON would grow with each level.
_LONGEST_PATH = 120


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to become of the values. What gives back what it was given changes nothing."""

    string: Callable[[str, str], str]
    """Of a string, and the path where it stands: the names and places above it, with dots."""
    number: Callable[[str], str | None]
    """Of a number as it is written: the string that takes its place."""
    name: Callable[[str], str]
    """Of a name in an object."""
    is_hidden: Callable[[str], bool] | None = None
    """Of a path: whether everything there goes."""
    hidden: str = ""
    """The string that then takes its place."""
    note_hidden: Callable[[], object] = lambda: None
    """Called for each value that went."""


def may_be_json(text: str) -> bool:
    """Say whether *text* begins like an object, a list or a string in JSON."""
    return text[:1] in _FIRST_SIGNS or text.lstrip()[:1] in _FIRST_SIGNS


def is_json(text: str) -> bool:
    """Say whether *text* is an object, a list or a string in JSON, however deep."""
    if not may_be_json(text):
        return False
    try:
        orjson.loads(text)
    except ValueError:
        # It reads less than Python does: NaN, lone surrogates, and levels without end.
        try:
            json.loads(text)
        except RecursionError:
            return True
        except ValueError as error:
            return not isinstance(error, json.JSONDecodeError)  # a number of thousands of digits
    return True


def quoted(text: str) -> str:
    """Give *text* as a string of JSON."""
    written = json.dumps(text, ensure_ascii=False)
    # A lone surrogate can be told in JSON, but not in UTF-8.
    return written if _is_utf8(written) else json.dumps(text)


def changed(text: str, changes: Changes, path: str = "") -> str:
    """Give *text*, which stands at *path*, with *changes*; the same object where nothing is."""
    if changes.is_hidden is None:
        return _changed_values(text, changes, path)
    return _Walk(text, changes, path).run()


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unquoted(token: str) -> str:
    """Give what a string of JSON says; one that says nothing proper is given as it is written."""
    if "\\" not in token:
        return token[1:-1] if token.endswith('"') and len(token) > 1 else token[1:]
    try:
        # Not strict: a program that writes JSON by hand leaves line breaks as they are.
        content = json.loads(token, strict=False)
        assert isinstance(content, str)
        return content
    except ValueError:
        return token[1:].removesuffix('"')


def _changed_string(token: str, path: str, changes: Changes) -> str | None:
    """Give what takes the place of the string *token*, None where it stays."""
    content = _unquoted(token)
    new = changes.string(content, path)
    return None if new == content else quoted(new)


def _changed_values(text: str, changes: Changes, path: str) -> str:
    """Change what can be changed without knowing where it stands, but for the name before it."""
    parts: list[str] = []
    done, name = 0, path
    for found in _VALUES.finditer(text):
        token = found[0]
        new: str | None
        if token[0] != '"':
            number = changes.number(token)
            new = None if number is None else quoted(number)
        elif _COLON.match(text, found.end()):
            name = _unquoted(token)
            named = changes.name(name)
            new = None if named == name else quoted(named)
        else:
            new = _changed_string(token, name, changes)
        if new is not None:
            parts += text[done : found.start()], new
            done = found.end()
    return "".join(parts) + text[done:] if parts else text


@dataclass(slots=True)
class _Level:
    """An object or a list that is open."""

    path: str
    is_list: bool
    name: str = ""
    place: int = 0


@dataclass(slots=True)
class _Walk:
    """Goes through a text and knows at each value where it stands."""

    text: str
    changes: Changes
    path: str
    levels: list[_Level] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    done: int = 0
    name: str = ""
    """The name before a value that stands in no object: JSON that was cut off at its beginning."""
    hidden_from: int = -1
    hidden_level: int = 0

    def run(self) -> str:
        """Give the text with all changes."""
        for found in _TOKENS.finditer(self.text):
            sign = self.text[found.start()]
            if sign == ",":
                self._next()
            elif sign in "}]":
                if self.levels:
                    self.levels.pop()
                self._end(found.end())
            elif sign == '"' and _COLON.match(self.text, found.end()):
                self._name(found)
            else:
                self._value(found, sign)
        if self.hidden_from >= 0:  # it was cut off
            self._hide(len(self.text))
        return "".join(self.parts) + self.text[self.done :] if self.parts else self.text

    def _next(self) -> None:
        self.name = ""
        if self.levels:
            self.levels[-1].name = ""
            self.levels[-1].place += 1

    def _name(self, found: re.Match[str]) -> None:
        if self.hidden_from >= 0:
            return
        name = _unquoted(found[0])
        if self.levels:
            self.levels[-1].name = name
        else:
            self.name = name
        if (new := self.changes.name(name)) != name:
            self._put(found.start(), found.end(), quoted(new))

    def _value(self, found: re.Match[str], sign: str) -> None:
        is_open = sign in "{["
        if self.hidden_from < 0:
            path = self._path()
            is_hidden = self.changes.is_hidden
            if is_hidden is not None and is_hidden(path):
                self.hidden_from, self.hidden_level = found.start(), len(self.levels)
            elif sign == '"':
                new = _changed_string(found[0], path, self.changes)
                if new is not None:
                    self._put(found.start(), found.end(), new)
            elif not is_open and (number := self.changes.number(found[0])) is not None:
                self._put(found.start(), found.end(), quoted(number))
            if is_open:
                self.levels.append(_Level(path, sign == "["))
        elif is_open:
            self.levels.append(_Level("", sign == "["))
        if not is_open:
            self._end(found.end())

    def _path(self) -> str:
        if not self.levels:
            above, last = self.path, self.name
        else:
            level = self.levels[-1]
            above, last = level.path, str(level.place) if level.is_list else level.name
        path = f"{above}.{last}" if above and last else above or last
        return path[-_LONGEST_PATH:]

    def _end(self, end: int) -> None:
        """A value has ended: was it the hidden one?"""
        if self.hidden_from >= 0 and len(self.levels) <= self.hidden_level:
            self._hide(end)

    def _hide(self, end: int) -> None:
        hidden, text = quoted(self.changes.hidden), self.text[self.hidden_from : end]
        # Cut off in the middle of it, it is hidden all the same.
        if text != hidden and not (end == len(self.text) and hidden.startswith(text)):
            self._put(self.hidden_from, end, hidden)
            self.changes.note_hidden()
        self.hidden_from = -1

    def _put(self, start: int, end: int, new: str) -> None:
        self.parts += self.text[self.done : start], new
        self.done = end
