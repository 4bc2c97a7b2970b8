"""The same attribute keys in the same order are nested by the same expression, made once.

Keys enter, a function leaves: from the values of a span it makes what ``attributes.unflatten``
would have made of its pairs, in a tenth of the time. An application
sends a handful of shapes a million times. What does not repeat is nested by ``unflatten``.

Knows nothing of OTLP or OpenInference. Keys come from strangers: they only ever become constants
of a syntax tree, never text of a program.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from tracequill_collector.processor.attributes import unflatten

Nest = Callable[[list[Any]], dict[str, Any]]
"""Nests the values of the keys it was made for, in their order; none of them may be None."""

# Making one costs as much as nesting fifteen spans by ``unflatten``.
_WORTH_IT = 8

# Bounds of what is remembered; cleared when full, as shapes that never repeat are worth nothing.
MAX_SHAPES = 500
_MAX_CANDIDATES = 1_000
# Python's compiler descends into nested expressions, and a page of them is no shape.
_MAX_KEYS = 1_000
_MAX_KEY_BYTES = 24 * 1024
_MAX_LEVELS = 60

_made: dict[tuple[str, ...], Nest | None] = {}
_seen: dict[tuple[str, ...], int] = {}


class _Slot:
    """Stands for the value with this number."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


def nest_of(keys: tuple[str, ...]) -> Nest | None:
    """Give the function for *keys*, once they have been seen often enough to be worth one.

    None for keys that cannot have one: two the same, too many, or nested too deep.
    """
    try:
        return _made[keys]
    except KeyError:
        pass
    count = _seen.get(keys, 0) + 1
    if count < _WORTH_IT:
        if len(keys) <= _MAX_KEYS and sum(map(len, keys)) <= _MAX_KEY_BYTES:
            if len(_seen) >= _MAX_CANDIDATES:
                _seen.clear()
            _seen[keys] = count
        return None
    del _seen[keys]
    if len(_made) >= MAX_SHAPES:
        _made.clear()
    nest = _made[keys] = _make(keys)
    return nest


def _make(keys: tuple[str, ...]) -> Nest | None:
    if len(set(keys)) < len(keys):
        return None
    nested = unflatten((key, _Slot(number)) for number, key in enumerate(keys))
    if _levels(nested) > _MAX_LEVELS:
        return None
    arguments = ast.arguments(
        posonlyargs=[],
        args=[ast.arg("values")],
        vararg=None,
        kwonlyargs=[],
        kw_defaults=[],
        kwarg=None,
        defaults=[],
    )
    tree = ast.fix_missing_locations(ast.Expression(ast.Lambda(arguments, _expression(nested))))
    nest: Nest = eval(compile(tree, "<shape>", "eval"), {"__builtins__": {}})
    return nest


def _levels(nested: Any) -> int:
    if isinstance(nested, dict):
        return 1 + max(map(_levels, nested.values()), default=0)
    if isinstance(nested, list):
        return 1 + max(map(_levels, nested), default=0)
    return 0


def _expression(nested: Any) -> ast.expr:
    if isinstance(nested, _Slot):
        return ast.Subscript(
            ast.Name("values", ast.Load()), ast.Constant(nested.number), ast.Load()
        )
    if isinstance(nested, dict):
        keys: list[ast.expr | None] = [ast.Constant(key) for key in nested]
        return ast.Dict(keys, [_expression(item) for item in nested.values()])
    return ast.List([_expression(item) for item in nested], ast.Load())
