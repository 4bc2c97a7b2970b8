"""Values that fit a JSON schema, taken from a question where it holds them.

It serves the arguments of calls and the answers in a required JSON form. It knows the part of
JSON schema that vendors accept for tools: types, enum, const, anyOf, properties, items, $ref.
"""

from __future__ import annotations

import re
from typing import Any

from tracequill_collector.mock.conversation import Json

_DEPTH_MOST = 8
_PLACE = re.compile(r"\b(?:in|for|at|to|of|near|from|and)\s+((?:[A-Z][\w'\u2019.-]*\s?)+)")
_NAME = re.compile(r"\b[A-Z][\w'\u2019-]*(?:\s+[A-Z][\w'\u2019-]*)*")
_CODE = re.compile(r"\b[A-Z]{1,5}-?\d{2,}\b|#?\b\d{3,}\b")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_PLACE_WORDS = ("city", "location", "place", "town", "country", "region", "store", "shop")
_CODE_WORDS = ("id", "number", "code", "sku", "reference", "order")
_TEXT_WORDS = ("query", "question", "text", "prompt", "message", "input", "term", "search")


def places(question: str) -> list[str]:
    """Give the places that the question names: capitalised words after in, for, at, to, …"""
    found: list[str] = []
    for match in _PLACE.finditer(question):
        name = match[1].strip(" .,?!'\u2019")
        if name and name not in found and name != "I":
            found.append(name)
    return found


def codes(question: str) -> list[str]:
    """Give the order numbers and the like that the question names."""
    return [match.lstrip("#") for match in dict.fromkeys(_CODE.findall(question))]


def fill(schema: Json, question: str, text: str = "") -> Any:
    """Give a value that fits *schema*; strings come from *question*, else they are *text*."""
    return _value(schema, schema, "", question, text, 0)


def _value(schema: Any, root: Json, name: str, question: str, text: str, depth: int) -> Any:
    schema = _resolved(schema, root)
    if depth > _DEPTH_MOST:
        return None
    if "const" in schema:
        return schema["const"]
    if options := schema.get("enum"):
        return _mentioned(options, question)
    if "default" in schema and name:
        return schema["default"]
    kind = schema.get("type") or ("object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((item for item in kind if item != "null"), "null")
    if kind == "object":
        return _object(schema, root, question, text, depth)
    if kind == "array":
        item = _value(schema.get("items", {}), root, name, question, text, depth + 1)
        return [item] * max(1, _whole(schema.get("minItems")))
    if kind in ("integer", "number"):
        return _number(schema, question, whole=kind == "integer")
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    return _string(schema, name, question, text)


def _resolved(schema: Any, root: Json) -> Json:
    """Follow ``$ref`` inside the document and take the first option that is not null."""
    for _ in range(_DEPTH_MOST):
        if not isinstance(schema, dict):
            return {}
        if reference := schema.get("$ref"):
            target: Any = root
            for part in str(reference).removeprefix("#/").split("/"):
                target = target.get(part, {}) if isinstance(target, dict) else {}
            schema = target
        elif options := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
            shared = {key: schema[key] for key in ("description", "default") if key in schema}
            usable = [item for item in options if isinstance(item, dict)]
            first = next((item for item in usable if item.get("type") != "null"), {})
            schema = {**first, **shared}
        else:
            return schema
    return {}


def _object(schema: Json, root: Json, question: str, text: str, depth: int) -> Json:
    properties = schema.get("properties") or {}
    required = schema.get("required")
    names = required if isinstance(required, list) else list(properties)
    return {
        name: _value(properties.get(name, {}), root, name, question, text, depth + 1)
        for name in properties
        if name in names
    }


def _mentioned(options: list[Any], question: str) -> Any:
    lower = question.lower()
    return next((item for item in options if str(item).lower() in lower), options[0])


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _number(schema: Json, question: str, whole: bool) -> float | int:
    match = _NUMBER.search(_CODE.sub(" ", question))
    number = float(match[0]) if match else 1.0
    least, most = schema.get("minimum"), schema.get("maximum")
    if isinstance(least, int | float):
        number = max(number, float(least))
    if isinstance(most, int | float):
        number = min(number, float(most))
    return int(number) if whole else number


def _string(schema: Json, name: str, question: str, text: str) -> str:
    words = set(re.split(r"[^a-z0-9]+", re.sub(r"([A-Z])", r" \1", name).lower()))
    hint = f"{name} {schema.get('description', '')}".lower()
    if "mail" in hint and (mail := _MAIL.search(question)):
        return mail[0]
    if schema.get("format") == "date" or "date" in words:
        found = _DATE.search(question)
        return found[0] if found else "2026-01-15"
    if words & set(_CODE_WORDS) and (known := codes(question)):
        return known[0]
    if words & set(_PLACE_WORDS):
        named = places(question) or _names(question)
        return named[0] if named else "Ashwick"
    if words & set(_TEXT_WORDS):
        return question
    if text:
        return text
    named = codes(question) or _names(question)
    return named[0] if named else question[:80]


def _names(question: str) -> list[str]:
    """Capitalised words that do not merely begin a sentence; the longest first."""
    inside = [
        match[0]
        for match in _NAME.finditer(question)
        if match.start() > 0 and question[: match.start()].rstrip()[-1:] not in (".", "?", "!")
    ]
    return sorted((name for name in inside if name != "I"), key=len, reverse=True)
