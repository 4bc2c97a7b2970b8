"""Attributes of OpenTelemetry's GenAI conventions become OpenInference's, by Phoenix's converter.

Flat ``gen_ai.*`` attributes enter, the OpenInference attributes that they stand for leave. This
is the one module of the collector that loads a module of Phoenix, and only when the first span
with such attributes comes: ``import phoenix`` costs 17 s and 480 MB, so the converter is loaded
under stand-ins for the packages above it, whose ``__init__`` never runs.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

_log = logging.getLogger(__name__)

PREFIX = "gen_ai."

_Converter = Callable[[Mapping[str, Any]], Mapping[str, Any]]

_CONVERTER_MODULE = "phoenix.trace.gen_ai.conversion"
# The converter takes one name from here, for type hints; the real module would load numpy.
_TYPES_MODULE = "phoenix.trace.attributes"

# Messages are numbered: filling the gaps of one list with entries of another would make up
# messages that nobody sent. So a list is either the application's or the converter's.
_MESSAGE_LISTS = ("llm.input_messages.", "llm.output_messages.")

_lock = threading.Lock()
_loaded: list[_Converter | None] = []


def add_openinference(attributes: dict[str, Any]) -> bool:
    """Add what the ``gen_ai.*`` entries of *attributes* say, where it says nothing itself.

    False when the converter is absent or fails on them; *attributes* are then left alone.
    """
    converter = _converter()
    if converter is None:
        return False
    try:
        found = converter(attributes)
    except Exception as error:  # Phoenix's code on a stranger's data: never the span's end
        _log.debug("the gen_ai converter failed", extra={"error": type(error).__name__})
        return False
    own_lists = tuple(
        name for name in _MESSAGE_LISTS if any(key.startswith(name) for key in attributes)
    )
    for key, value in found.items():
        if not key.startswith(own_lists):
            attributes.setdefault(key, value)
    return True


def _converter() -> _Converter | None:
    with _lock:
        if not _loaded:
            _loaded.append(_load())
        return _loaded[0]


def _load() -> _Converter | None:
    try:
        with _phoenix_stand_ins():
            module = importlib.import_module(_CONVERTER_MODULE)
            converter: _Converter = module.get_openinference_attributes
            return converter
    except Exception as error:
        _log.warning(
            "gen_ai attributes are kept as they come: Phoenix's converter cannot be loaded. "
            "Install tracequill[phoenix] to have them read",
            extra={"error": f"{type(error).__name__}: {error}"},
        )
        return None


@contextmanager
def _phoenix_stand_ins() -> Iterator[None]:
    """Let modules of Phoenix be imported without their packages' ``__init__``.

    Afterwards ``sys.modules`` is as before: whoever imports Phoenix gets the real one.
    """
    if "phoenix" in sys.modules:
        yield
        return
    spec = importlib.util.find_spec("phoenix")  # finds, does not run
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("arize-phoenix is not installed")
    root = Path(next(iter(spec.submodule_search_locations)))
    try:
        for name in ("phoenix", "phoenix.trace"):
            package = ModuleType(name)
            package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
            sys.modules[name] = package
        types = ModuleType(_TYPES_MODULE)
        types.AttributeValue = Any  # type: ignore[attr-defined]
        sys.modules[_TYPES_MODULE] = types
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "phoenix"]:
            del sys.modules[name]
