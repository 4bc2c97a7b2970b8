"""Secrets are taken out of a request: every copy of a text, wherever the span carries one.

A parsed request enters and is changed in place; the names of the rules that hit leave, span by
span. Rules are names of attributes whose value goes as a whole, regular expressions, and detectors
(``detectors.py``). JSON is changed within, also JSON inside JSON; a text that no rule hits keeps
each of its bytes, a JSON text that one hits all others. No input or output.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import re2
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracequill_collector.processor import detectors as known
from tracequill_collector.processor import json_text
from tracequill_collector.processor.credentials import is_aws_secret
from tracequill_collector.processor.marks import OWN_KEYS, find_cut_sign, marker

KEY = "key"
"""The rule that takes out the whole value of a key."""

# JSON in JSON in JSON: each level doubles the backslashes, so there are never many.
_MAX_LEVELS = 16
# Reading it only to see whether it is JSON would take ten times its size in memory.
_LARGEST_JSON = 4 * 1024 * 1024
# What one rule takes out may uncover something for another.
_MAX_ROUNDS = 4
_MAX_CACHED_KEYS = 20_000
_MAX_CACHED_KEY_SIGNS = 200
# A shorter number is no secret, but often a count.
_SHORTEST_NUMBER = 6
_LEAST_NUMBER = 10 ** (_SHORTEST_NUMBER - 1)
# Numbers that are what they say: without them there are no costs.
_COUNTS = ("llm.token_count.", "llm.cost.")
_QUOTED_NAME = re.compile(r'"\s*:')
_MAX_PATTERN_BYTES = 10_000

_Without = Callable[[str], str]


class Redaction:
    """The rules. Applying them twice is the same as once."""

    def __init__(
        self,
        *,
        keys: Iterable[str] = (),
        patterns: Mapping[str, str] | None = None,
        detectors: Iterable[str] = (),
        phone_regions: Iterable[str] = (),
    ) -> None:
        """Raises ValueError for what is no key, pattern, detector or region."""
        made = known.detectors(set(detectors), tuple(phone_regions))
        self._detectors = [(one.name, _compiled(one.mark), one.without) for one in made]
        self._finds_keys = any(one.name == known.API_KEY for one in made)
        self._finds_numbers = any(one.name in (known.CARD, known.PHONE) for one in made)
        self._mark = _compiled("|".join(f"(?:{one.mark})" for one in made)) if made else None
        names = [marker(name) for name in (*known.NAMES, *(patterns or {}), KEY)]
        self._patterns: list[tuple[str, _Without]] = [
            (name, _pattern(name, pattern, names)) for name, pattern in (patterns or {}).items()
        ]
        rules = [_normal(key) for key in keys]
        self._hidden = _key_rules(rules)
        # One word of each rule; none where a rule has none.
        words = [max(re.findall(r"[\w-]+", rule), key=len, default="").lower() for rule in rules]
        self._rule_words = words if all(words) else []
        self._known_keys: dict[str, bool] = {}
        self._known_names: dict[str, str] = {}
        self._glance, self._below = self._glances([one.mark for one in made], rules)

    @property
    def is_any(self) -> bool:
        """Whether there is any rule."""
        return bool(self._detectors or self._patterns or self._hidden is not None)

    def _glances(self, marks: list[str], rules: list[str]) -> tuple[Any, Any]:
        """Make what finds something wherever a rule could hit, also in JSON and in protobuf.

        The second one finds where a text stands below a word that a rule of a key wants: that the
        text does not hold the word says nothing then. None and None when there is no telling: a
        pattern may want the beginning of a text, or its end.
        """
        if self._patterns or (rules and not self._rule_words):
            return None, None
        words = [f"(?i:{re.escape(word)})" for word in self._rule_words]
        glance = _compiled("|".join(f"(?:{mark})" for mark in (*marks, *words, r"\\u")))
        long_rules = [word for word, rule in zip(words, rules, strict=True) if {".", "*"} & {*rule}]
        return glance, _compiled("|".join(long_rules)) if long_rules else None

    # --- requests -----------------------------------------------------------------------

    def span(self, span: Span) -> set[str]:
        """Change *span* in place; give the names of the rules that hit."""
        hits: set[str] = set()
        if self._is_clean(span):
            return hits
        self._fields(span, hits, "name", "trace_state")
        if span.HasField("status"):
            self._fields(span.status, hits, "message")
        self.pairs(span.attributes, hits)
        for event in span.events:
            self._fields(event, hits, "name")
            self.pairs(event.attributes, hits)
        for link in span.links:
            self._fields(link, hits, "trace_state")
            self.pairs(link.attributes, hits)
        return hits

    def around(self, holder: Resource | InstrumentationScope) -> set[str]:
        """Change what surrounds spans in place; give the names of the rules that hit."""
        hits: set[str] = set()
        if isinstance(holder, InstrumentationScope):
            self._fields(holder, hits, "name", "version")
        else:
            for entity in holder.entity_refs:
                self._fields(entity, hits, "schema_url", "type")
                for names in (entity.id_keys, entity.description_keys):
                    names[:] = [self._name(name, hits) for name in names]
        self.pairs(holder.attributes, hits)
        return hits

    def text(self, text: str, hits: set[str]) -> str:
        """Give *text* without what the rules find in it; add their names to *hits*."""
        return self._text(text, hits, "", 0)

    def pairs(self, pairs: Iterable[KeyValue], hits: set[str], above: str = "") -> None:
        """Change *pairs*, which stand at the path *above*, in place."""
        for pair in pairs:
            key = pair.key
            path = f"{above}.{key}" if above else key
            if self._is_hidden(path) and path not in OWN_KEYS:
                if pair.value.string_value != marker(KEY):
                    pair.value.string_value = marker(KEY)
                    hits.add(KEY)
            else:
                self.value(pair.value, hits, path)
            if (name := self._name(key, hits)) != key:
                pair.key = name

    def value(self, value: AnyValue, hits: set[str], path: str = "") -> None:
        """Change *value*, which stands at *path*, in place."""
        kind = value.WhichOneof("value")
        if kind == "string_value":
            text = value.string_value
            if (new := self._string(text, hits, path, 0)) is not text:
                value.string_value = new
        elif kind == "array_value":
            for place, item in enumerate(value.array_value.values):
                at = f"{path}.{place}"
                if self._is_hidden(at):
                    if item.string_value != marker(KEY):
                        item.string_value = marker(KEY)
                        hits.add(KEY)
                else:
                    self.value(item, hits, at)
        elif kind == "kvlist_value":
            self.pairs(value.kvlist_value.values, hits, path)
        elif kind in ("int_value", "double_value"):
            number = getattr(value, kind)
            if not path.startswith(_COUNTS) and abs(number) >= _LEAST_NUMBER:
                digits = self._number(repr(number), hits)
                if digits is not None:
                    value.string_value = digits
        elif kind == "bytes_value":
            self._bytes(value, hits, path)

    def _fields(self, message: Any, hits: set[str], *names: str) -> None:
        """Change texts that are fields of *message*."""
        for name in names:
            text = getattr(message, name)
            if text and (new := self._text(text, hits, "", 0)) is not text:
                setattr(message, name, new)

    def _is_clean(self, span: Span) -> bool:
        """Say by a glance whether no rule can hit: so it is with most spans."""
        if self._glance is None:
            return False
        content = span.SerializeToString()
        if self._glance.search(content) is not None:
            return False
        # Numbers are no text in protobuf.
        return not self._finds_numbers or _LONG_NUMBER.search(content) is None

    # --- texts --------------------------------------------------------------------------

    def _text(self, text: str, hits: set[str], path: str, level: int) -> str:
        """Give the same object where nothing is found."""
        if (
            self._glance is not None
            and (len(text) < _SHORTEST_NUMBER or not _holds(self._glance, text))
            and (self._below is None or not _holds(self._below, path))
        ):
            return text
        if (sign := find_cut_sign(text)) is not None:
            # What a collector before us has cut is looked at without its mark, which stays.
            kept = text[: sign.start()]
            new = self._text(kept, hits, path, level)
            return text if new is kept else new + sign[0]
        if level < _MAX_LEVELS and json_text.may_be_json(text):
            is_large = len(text) > _LARGEST_JSON
            if is_large or json_text.is_json(text):
                text = json_text.changed(text, self._changes(hits, level + 1), path)
                return self._plain(text, hits) if is_large else text
        if self._hidden is not None and _QUOTED_NAME.search(text):
            # No JSON as a whole, but perhaps lines of it, or JSON that somebody has cut off.
            text = json_text.changed(text, self._only_hiding(hits), path)
        return self._plain(text, hits)

    def _plain(self, text: str, hits: set[str]) -> str:
        for _ in range(_MAX_ROUNDS):
            before = text
            if self._mark is not None and _holds(self._mark, text):
                for name, mark, without in self._detectors:
                    if _holds(mark, text) and (new := without(text)) != text:
                        hits.add(name)
                        text = new
            for name, without in self._patterns:
                if (new := without(text)) != text:
                    hits.add(name)
                    text = new
            if text is before:
                break
        return text

    def _string(self, text: str, hits: set[str], path: str, level: int) -> str:
        if self._finds_keys and is_aws_secret(path, text):
            hits.add(known.API_KEY)
            return marker(known.API_KEY)
        return self._text(text, hits, path, level)

    def _changes(self, hits: set[str], level: int) -> json_text.Changes:
        return json_text.Changes(
            string=lambda text, path: self._string(text, hits, path, level),
            number=lambda number: self._number(number, hits),
            name=lambda name: self._name(name, hits),
            is_hidden=None if self._hidden is None else self._is_hidden,
            hidden=marker(KEY),
            note_hidden=lambda: hits.add(KEY),
        )

    def _only_hiding(self, hits: set[str]) -> json_text.Changes:
        return json_text.Changes(
            string=lambda text, path: text,
            number=lambda number: None,
            name=lambda name: name,
            is_hidden=self._is_hidden,
            hidden=marker(KEY),
            note_hidden=lambda: hits.add(KEY),
        )

    def _number(self, number: str, hits: set[str]) -> str | None:
        """Give what takes the place of *number*, None where it stays."""
        digits = number.removeprefix("-")
        if not digits.isdecimal():
            try:
                exact = float(number)
            except ValueError:
                return None
            if not exact.is_integer() or abs(exact) > 1e20:
                return None
            digits = str(abs(int(exact)))
        if len(digits) < _SHORTEST_NUMBER:
            return None
        new = self._plain(digits, hits)
        return None if new is digits else new

    def _bytes(self, value: AnyValue, hits: set[str], path: str) -> None:
        # What is no UTF-8 in them stays what it is.
        text = value.bytes_value.decode(errors="surrogateescape")
        if (new := self._text(text, hits, path, 0)) is not text:
            value.bytes_value = new.encode(errors="surrogateescape")

    # --- keys ---------------------------------------------------------------------------

    def _name(self, name: str, hits: set[str]) -> str:
        """Give the name of a value without what the rules find in it."""
        new = self._known_names.get(name)
        if new is None:
            found: set[str] = set()
            new = self._plain(name, found)
            hits |= found
            if not found and len(name) <= _MAX_CACHED_KEY_SIGNS:
                if len(self._known_names) >= _MAX_CACHED_KEYS:
                    self._known_names.clear()
                self._known_names[name] = new
        return new

    def _is_hidden(self, path: str) -> bool:
        """Say whether the value at *path* goes as a whole.

        A rule is compared with the path from the beginning of any of its segments on.
        """
        if self._hidden is None:
            return False
        if self._rule_words and path.isascii():
            lowered = path.lower()
            if not any(word in lowered for word in self._rule_words):
                return False
        hidden = self._known_keys.get(path)
        if hidden is None:
            hidden = _holds(self._hidden, _normal(path))
            if len(path) <= _MAX_CACHED_KEY_SIGNS:
                if len(self._known_keys) >= _MAX_CACHED_KEYS:
                    self._known_keys.clear()
                self._known_keys[path] = hidden
        return hidden


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options=options)


def _long_numbers() -> Any:
    """Make what finds a number of six digits in a serialised span, an integer or a double.

    It stands in a KeyValue or an ArrayValue, as an AnyValue of up to eleven or of nine bytes.
    """
    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(
        rb"(?s)[\x0a\x12](?:[\x04-\x0b]\x18[\x80-\xff]{2}"
        rb"|\x09\x21(?:.{6}[\xf0-\xff][\x40\xc0]|.{7}[\x41-\x44\xc1-\xc4]))",
        options=options,
    )


_LONG_NUMBER = _long_numbers()


def _holds(pattern: Any, text: str) -> bool:
    try:
        found = pattern.search(text)
    except UnicodeEncodeError:  # a lone surrogate is no UTF-8
        found = pattern.search(_without_surrogates(text))
    return found is not None


def _without_surrogates(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _normal(path: str) -> str:
    """Give *path* as it will be nested: without white space around segments, or empty ones."""
    return ".".join(segment for part in path.split(".") if (segment := part.strip()))


def _key_rules(rules: list[str]) -> Any:
    """Make one expression of all *rules*; None without any."""
    if not rules:
        return None
    if "" in rules:
        raise ValueError("a key is empty")
    written = "|".join(".*".join(re2.escape(part) for part in rule.split("*")) for rule in rules)
    return _compiled(rf"(?is)(?:^|\.)(?:{written})(?:\.|$)")


def _pattern(name: str, pattern: str, markers: list[str]) -> _Without:
    """Make a rule of a regular expression, by an engine whose time is linear in the text."""
    if not re.fullmatch(r"[a-z0-9_-]{1,40}", name):
        raise ValueError(f"the name of a pattern is a-z, 0-9, '_' and '-', not {name!r}")
    if name in (*known.NAMES, KEY):
        raise ValueError(f"a pattern cannot have the name {name!r}, which a rule of its own has")
    if len(pattern) > _MAX_PATTERN_BYTES:
        raise ValueError(f"the pattern {name!r} is longer than {_MAX_PATTERN_BYTES} characters")
    try:
        compiled = _compiled(pattern)
    except re2.error as error:
        said = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise ValueError(
            f"the pattern {name!r} is no regular expression of RE2 ({said}); "
            "look-around and back-references are not among them"
        ) from None
    for example in ("", "a", "a b"):
        if any(found.end() == found.start() for found in compiled.finditer(example)):
            raise ValueError(f"the pattern {name!r} finds an empty text")
    for text in markers:
        if compiled.search(text) is not None:
            raise ValueError(
                f"the pattern {name!r} finds something in {text!r}, which stands where something "
                "was taken out; let it ask for more"
            )
    replacement = marker(name)

    def without(text: str) -> str:
        try:
            is_found = compiled.search(text) is not None
        except UnicodeEncodeError:  # such a text is repaired further on
            text = _without_surrogates(text)
            is_found = compiled.search(text) is not None
        if not is_found:
            return text
        new: str = compiled.sub(lambda found: replacement if found[0] else "", text)
        return new

    return without
