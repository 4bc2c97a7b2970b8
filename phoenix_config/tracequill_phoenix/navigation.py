"""Adds one script to Phoenix's page, which adds one link to its navigation.

Phoenix's template is read where it lies and passed on with one tag more; it is not copied. Where
it is not what we know it is passed on as it is, and the link is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from jinja2 import BaseLoader, Environment

PAGE = "index.html"
SCRIPT_PATH = "/tracequill/static/navigation.js"
_TAG = f'<script src="{{{{ basename }}}}{SCRIPT_PATH}" defer></script>'
_END_OF_BODY = "</body>"

_log = logging.getLogger(__name__)


class NavigationLoader(BaseLoader):
    """A template loader that reads from another one and adds our script to the page."""

    def __init__(self, original: BaseLoader) -> None:
        self._original = original

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        """Give the source of *template*, the page's with our script at the end of its body."""
        source, filename, is_current = self._original.get_source(environment, template)
        if template == PAGE:
            source = with_script(source)
        return source, filename, is_current


def with_script(source: str) -> str:
    """Give the page's *source* with our script; unchanged unless it has one end of body."""
    if source.count(_END_OF_BODY) != 1:
        _log.warning("Phoenix's page has changed: its navigation has no link to our pages")
        return source
    return source.replace(_END_OF_BODY, f"{_TAG}\n{_END_OF_BODY}")
