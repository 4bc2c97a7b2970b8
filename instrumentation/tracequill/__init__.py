"""Trace the LLM calls of an application.

    import tracequill
    tracequill.register(project_name="support-bot")

    with tracequill.session("conv-42"), tracequill.user("u-7"):
        client.chat.completions.create(...)  # traced

Importing this package costs next to nothing: each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracequill._context import metadata, session, tags, user
    from tracequill._register import flush, register, unregister

    __version__: str

__all__ = [
    "__version__",
    "flush",
    "metadata",
    "register",
    "session",
    "tags",
    "unregister",
    "user",
]

_HOME = {
    "flush": "tracequill._register",
    "metadata": "tracequill._context",
    "register": "tracequill._register",
    "session": "tracequill._context",
    "tags": "tracequill._context",
    "unregister": "tracequill._register",
    "user": "tracequill._context",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("tracequill")
    elif name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module 'tracequill' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
