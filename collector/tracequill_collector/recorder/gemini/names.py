"""Google's JSON under the names of Google's Python library: camelCase in, snake_case out.

Only the vendor's own names change. What an application named stays as it crossed: arguments and
responses of functions, properties of a schema, JSON schemas, labels. Google's servers read both
spellings, so what enters may have either. No input or output.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from tracequill_collector.recorder.message import (
    MAX_IMAGE_URL_CHARACTERS,
    REDACTED,
    is_large_image,
)

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_URL_SAFE = str.maketrans("-_", "+/")

# Values that the vendor only carries.
_CARRIED = frozenset(
    {
        "args",
        "custom_metadata",
        "default",
        "enum",
        "example",
        "labels",
        "parameters_json_schema",
        "part_metadata",
        "response",
        "response_json_schema",
        "_response_json_schema",
    }
)
# Names of the application, with values of the vendor.
_NAMED_BY_APPLICATION = frozenset({"defs", "properties"})


@functools.lru_cache(maxsize=4096)
def snake_case(name: str) -> str:
    """Give a name of the vendor in snake_case; one that already is stays."""
    return _WORD.sub("_", name).lower()


def python_names(value: Any) -> Any:
    """Give *value* under the library's names, large images replaced as the instrumentor does."""
    if isinstance(value, list):
        return [python_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    named: dict[str, Any] = {}
    for key, item in value.items():
        name = snake_case(key)
        if name in _CARRIED:
            named[name] = item
        elif name in _NAMED_BY_APPLICATION and isinstance(item, dict):
            named[name] = {inner: python_names(schema) for inner, schema in item.items()}
        else:
            named[name] = python_names(item)
    return _without_large_image(named)


def without_large_images(value: Any) -> Any:
    """Give *value* with large images replaced as the instrumentor does, all names kept."""
    if isinstance(value, list):
        return [without_large_images(item) for item in value]
    if not isinstance(value, dict):
        return value
    return _without_large_image({name: without_large_images(item) for name, item in value.items()})


def _without_large_image(part: dict[str, Any]) -> dict[str, Any]:
    """Replace the image of an object that has one, when it is too large to record."""
    mime_type = part.get("mime_type")
    if mime_type is None and part.get("type") == "image":
        mime_type = "image/png"
    data = part.get("data")
    if isinstance(mime_type, str) and mime_type.startswith("image/") and isinstance(data, str):
        prefix = "" if data.startswith("data:") else f"data:{mime_type};base64,"
        if len(prefix) + len(data) > MAX_IMAGE_URL_CHARACTERS:
            part["data"] = REDACTED
    for name in ("uri", "file_uri"):
        if is_large_image(part.get(name)):
            part[name] = REDACTED
    return part


def data_url(mime_type: str, data: Any) -> str | None:
    """Give binary data as a URL; what was replaced for its size stays replaced."""
    if data == REDACTED:
        return REDACTED
    encoded = standard_base64(data)
    return None if encoded is None else f"data:{mime_type};base64,{encoded}"


def standard_base64(data: Any) -> str | None:
    """Give binary data in base64's standard alphabet; the library sends the URL-safe one."""
    return data.translate(_URL_SAFE) if isinstance(data, str) else None
