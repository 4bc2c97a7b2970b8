"""Dotted attribute keys become nested attributes, with Phoenix's meaning of every key.

Pairs like ``("llm.token_count.prompt", 3)`` enter, ``{"llm": {"token_count": {"prompt": 3}}}``
leaves. Knows nothing of OTLP or OpenInference. The rules, each held to Phoenix's by a
differential test:

- A number between two dots is a place in a list, when what stands there is an object and never a
  plain value: ``documents.0.content``. A number at the end is an ordinary key: ``tags.0``.
- A key that was given a value is closed: what is said below it keeps its dotted name beside it.
- White space around a segment is dropped, an empty segment disappears, None says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

# Deeper keys stay one dotted key: neither Postgres nor a person wants to unfold them, and
# orjson refuses to write objects nested more than 254 deep.
MAX_SEGMENTS = 200

# Attribute keys repeat from span to span; splitting each of them again would cost a third of the
# decoding. Cleared when full, so that keys which never repeat cannot grow it without bound.
_MAX_CACHED_KEYS = 20_000
_MAX_CACHED_KEY_CHARACTERS = 300

_VALUE = object()
"""The place in a node where its own value is kept, beside its children."""


class _Node(dict[Any, Any]):
    """What is known below one segment: its own value, and children by segment.

    A child is a node, or the plain value of a key that ends there. Segments are text or numbers.
    """

    __slots__ = ()


class _Key(NamedTuple):
    """A key, split: all but its last segment as one text and one by one, and the last."""

    parent: str | None
    above: tuple[str | int, ...]
    last: str | int


_keys: dict[str, _Key] = {}


def unflatten(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Nest *pairs* by their dotted keys; of two that mean the same key the last one wins."""
    root = _Node()
    nodes: dict[str | None, _Node] = {None: root}
    for name, value in pairs:
        if value is None:
            continue
        parent, above, last = _keys.get(name) or _split(name)
        node = nodes.get(parent)
        if node is None:
            node = nodes[parent] = _descend(root, above)
        child = node.get(last)
        if type(child) is _Node:
            child[_VALUE] = value
        else:
            node[last] = value
    return _nested(root)


def _split(name: str) -> _Key:
    segments: list[str | int] = []
    # Counted first: a stranger's key may have millions of dots.
    rest = name if name.count(".") < 2 * MAX_SEGMENTS else ""
    while rest:
        segment, _, rest = rest.partition(".")
        segment = segment.strip()
        number = _number(segment)
        segments.append(segment if number is None else number)
    if not 0 < len(segments) <= MAX_SEGMENTS:
        segments = [name]
    above = tuple(segments[:-1])
    key = _Key(".".join(map(str, above)) if above else None, above, segments[-1])
    if len(name) <= _MAX_CACHED_KEY_CHARACTERS:
        if len(_keys) >= _MAX_CACHED_KEYS:
            _keys.clear()
        _keys[name] = key
    return key


def _number(segment: str) -> int | None:
    if not segment.isdigit():
        return None
    try:
        return int(segment)
    except ValueError:  # a digit that is no decimal, like "²", or thousands of digits
        return None


def _descend(node: _Node, segments: tuple[str | int, ...]) -> _Node:
    """Give the node at *segments* below *node*, made where it is missing."""
    for segment in segments:
        child = node.get(segment, _VALUE)
        if type(child) is not _Node:
            below = _Node()
            if child is not _VALUE:
                below[_VALUE] = child
            node[segment] = child = below
        node = child
    return node


def _nested(node: _Node) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for segment, child in node.items():
        name = segment if type(segment) is str else str(segment)
        if type(child) is _Node:
            _unfold(child, name, found)
        else:
            found[name] = child
    return found


def _unfold(node: _Node, name: str, found: dict[str, Any]) -> None:
    """Write *node*, which stands at *name*, and what is below it into *found*."""
    places: set[int] = set()
    if _VALUE in node:
        found[name] = node[_VALUE]
    elif name:
        numbers = [segment for segment in node if type(segment) is int]
        places = {
            number
            for number in numbers
            if type(node[number]) is _Node and _VALUE not in node[number]
        }
        if not places:
            found[name] = _nested(node)
            return
        found[name] = [_nested(node[place]) for place in sorted(places)]
    for segment, child in node.items():
        if segment is _VALUE or segment in places:
            continue
        below = f"{name}.{segment}" if name else f"{segment}"
        if type(child) is _Node:
            _unfold(child, below, found)
        else:
            found[below] = child
