"""Who and what a call is about: attributes for every span that starts inside.

Each of these is a context manager for ``with`` and ``async with``, and a decorator. They nest,
and the inner one of a kind holds. They follow contextvars: asyncio tasks inherit them, a new
thread does not (run it in ``contextvars.copy_context()``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from openinference.instrumentation import (
    using_metadata,
    using_session,
    using_tags,
    using_user,
)


def session(session_id: str) -> using_session:
    """Say which conversation the calls inside belong to: ``session.id`` on every span."""
    return using_session(str(session_id))


def user(user_id: str) -> using_user:
    """Say whom the calls inside serve: ``user.id`` on every span."""
    return using_user(str(user_id))


def metadata(values: Mapping[str, Any]) -> using_metadata:
    """Add facts of your own to every span inside: ``metadata``, as JSON."""
    return using_metadata({str(key): value for key, value in values.items()})


def tags(values: Iterable[str]) -> using_tags:
    """Add words to find the spans inside by: ``tag.tags``. One word may be given as a string."""
    words = [values] if isinstance(values, str) else values
    return using_tags([str(word) for word in words])
