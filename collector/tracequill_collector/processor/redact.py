"""Secrets are taken out of a request: every copy of a text, wherever the span carries one.

A parsed request enters and is changed in place; the names of the rules that hit leave, span by
span. Rules are names of attributes whose value goes as a whole, regular expressions, and detectors
(``detectors.py``). A text that is JSON is read, changed within and written anew, also inside JSON
inside JSON; a text that no rule hits keeps each of its bytes. No input or output.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import re2
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracequill_collector.processor.detectors import DETECTORS, Detector, marker, phones

# JSON in JSON in JSON: arguments of tools in messages in an input.
_MAX_LEVELS = 6
_MAX_CACHED_KEYS = 20_000

PHONE = "phone"
DETECTOR_NAMES = (*DETECTORS, PHONE)


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
        """Raises ValueError for a pattern that is none, and for an unknown detector."""
        self._keys = [key.lower() for key in keys]
        self._known_keys: dict[str, bool] = {}
        self._rules: list[tuple[str, Detector]] = []
        wanted = set(detectors)
        if unknown := wanted - set(DETECTOR_NAMES):
            raise ValueError(
                f"there is no detector {sorted(unknown)[0]!r}, but {', '.join(DETECTOR_NAMES)}"
            )
        self._rules += [(name, DETECTORS[name]) for name in DETECTORS if name in wanted]
        if PHONE in wanted:
            self._rules.append((PHONE, phones(tuple(phone_regions))))
        for name, pattern in (patterns or {}).items():
            self._rules.append((name, _pattern(name, pattern)))

    def text(self, text: str, hits: set[str]) -> str:
        """Give *text* without what the rules find in it; add their names to *hits*."""
        return self._text(text, hits, 0)

    def value(self, value: AnyValue, hits: set[str]) -> None:
        """Change *value* in place."""
        kind = value.WhichOneof("value")
        if kind == "string_value":
            text = value.string_value
            if (new := self._text(text, hits, 0)) is not text:
                value.string_value = new
        elif kind == "array_value":
            for item in value.array_value.values:
                self.value(item, hits)
        elif kind == "kvlist_value":
            self.pairs(value.kvlist_value.values, hits)
        elif kind == "int_value":
            if (digits := self._number(value.int_value, hits)) is not None:
                value.string_value = digits
        elif kind == "bytes_value":
            self._bytes(value, hits)

    def pairs(self, pairs: Iterable[KeyValue], hits: set[str]) -> None:
        """Change the values of *pairs* in place."""
        for pair in pairs:
            if self._is_key(pair.key):
                if pair.value.string_value != marker("key"):
                    pair.value.string_value = marker("key")
                hits.add("key")
            else:
                self.value(pair.value, hits)

    def span(self, span: Span) -> set[str]:
        """Change *span* in place; give the names of the rules that hit."""
        hits: set[str] = set()
        name = span.name
        if (new := self._text(name, hits, 0)) is not name:
            span.name = new
        message = span.status.message
        if message and (new := self._text(message, hits, 0)) is not message:
            span.status.message = new
        self.pairs(span.attributes, hits)
        for event in span.events:
            name = event.name
            if (new := self._text(name, hits, 0)) is not name:
                event.name = new
            self.pairs(event.attributes, hits)
        for link in span.links:
            self.pairs(link.attributes, hits)
        return hits

    # --- texts --------------------------------------------------------------------------

    def _text(self, text: str, hits: set[str], level: int) -> str:
        """Give the same object where nothing is found."""
        if level < _MAX_LEVELS and text.lstrip()[:1] in ("{", "["):
            try:
                content = json.loads(text)
            except (ValueError, RecursionError):
                pass
            else:
                found: set[str] = set()
                try:
                    new = self._json(content, found, level + 1)
                except RecursionError:
                    new, found = content, set()
                if found:
                    hits |= found
                    return json.dumps(new, ensure_ascii=False)
                return text
        for name, rule in self._rules:
            new = rule(text)
            if new != text:
                hits.add(name)
                text = new
        return text

    def _json(self, content: Any, hits: set[str], level: int) -> Any:
        if isinstance(content, str):
            return self._text(content, hits, level)
        if isinstance(content, dict):
            found: dict[str, Any] = {}
            for key, item in content.items():
                name = self._text(key, hits, _MAX_LEVELS)
                if self._is_key(key):
                    if item != marker("key"):
                        hits.add("key")
                    found[name] = marker("key")
                else:
                    found[name] = self._json(item, hits, level)
            return found
        if isinstance(content, list):
            return [self._json(item, hits, level) for item in content]
        if isinstance(content, int) and not isinstance(content, bool):
            new = self._number(content, hits)
            return content if new is None else new
        return content

    def _number(self, number: int, hits: set[str]) -> str | None:
        """Give what takes the place of *number*, None where it stays."""
        if -(10**10) < number < 10**10:
            return None
        text = str(number)
        new = self._text(text, hits, _MAX_LEVELS)
        return None if new is text else new

    def _bytes(self, value: AnyValue, hits: set[str]) -> None:
        try:
            text = value.bytes_value.decode()
        except UnicodeDecodeError:
            return
        if (new := self._text(text, hits, 0)) is not text:
            value.bytes_value = new.encode()

    # --- keys ---------------------------------------------------------------------------

    def _is_key(self, key: str) -> bool:
        """Say whether the value of *key* goes as a whole.

        A rule with a dot or a star is compared with the whole key, and with all above it; one
        without, with each of its segments.
        """
        if not self._keys:
            return False
        known = self._known_keys.get(key)
        if known is None:
            if len(self._known_keys) >= _MAX_CACHED_KEYS:
                self._known_keys.clear()
            known = self._known_keys[key] = self._matches(key.lower())
        return known

    def _matches(self, key: str) -> bool:
        segments = key.split(".")
        for rule in self._keys:
            if "." in rule or "*" in rule:
                parts = rule.count(".") + 1
                if fnmatch.fnmatchcase(key, rule) or (
                    len(segments) > parts and fnmatch.fnmatchcase(".".join(segments[:parts]), rule)
                ):
                    return True
            elif rule in segments:
                return True
        return False


def _pattern(name: str, pattern: str) -> Detector:
    """Make a rule of a regular expression, by an engine whose time is linear in the text."""
    if not re.fullmatch(r"[a-z0-9_-]{1,40}", name):
        raise ValueError(f"the name of a pattern is a-z, 0-9, '_' and '-', not {name!r}")
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options=options)
    except re2.error as error:
        raise ValueError(
            f"the pattern {name!r} is no regular expression of RE2 ({error}); "
            "look-around and back-references are not among them"
        ) from None
    if compiled.search("") is not None or compiled.search(marker(name)) is not None:
        raise ValueError(f"the pattern {name!r} finds an empty text, or its own marker")
    replacement = marker(name)

    def without(text: str) -> str:
        # A lone surrogate is no UTF-8; such a text is repaired further on.
        clean = text.encode("utf-8", "replace").decode()
        if compiled.search(clean) is None:
            return text
        new: str = compiled.sub(replacement, clean)
        return new

    return without
