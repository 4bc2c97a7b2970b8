"""Switches on every installed OpenInference instrumentor whose library is there, and off again.

One that fails is logged and never stops the others. One that the application switched on itself
is left alone: its spans go where the application sends them.
"""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from opentelemetry.trace import TracerProvider

from tracequill._log import logger

GROUP = "openinference_instrumentor"
# Libraries that trace themselves where there is a global TracerProvider, by their instrumentor:
# the names of their tracers begin so.
_OWN_TRACERS = {"anthropic": "com.anthropic.sdk."}


class Instruments:
    """Remembers which instrumentors it switched on."""

    def __init__(self) -> None:
        self._on: dict[str, Any] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The instrumentors that are on, by name."""
        return tuple(sorted(self._on))

    @property
    def own_tracers(self) -> tuple[str, ...]:
        """How the names of the tracers begin that make a second span of a traced call."""
        return tuple(name for instrument, name in _OWN_TRACERS.items() if instrument in self._on)

    def switch_on(self, provider: TracerProvider) -> None:
        """Let each instrumentor that is not on yet give its spans to *provider*."""
        for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
            if point.name in self._on:
                continue
            try:
                instrumentor = _switch_on(point, provider)
            except Exception as error:
                logger.warning(
                    "Tracequill does not trace %s: its instrumentor failed with %s.",
                    point.name,
                    type(error).__name__,
                    exc_info=True,
                )
            else:
                if instrumentor is not None:
                    self._on[point.name] = instrumentor

    def switch_off(self) -> None:
        """Put back what the instrumentors replaced."""
        while self._on:
            name, instrumentor = self._on.popitem()
            try:
                instrumentor.uninstrument()
            except Exception:
                logger.warning("Tracequill could not put %s back.", name, exc_info=True)


def _switch_on(point: EntryPoint, provider: TracerProvider) -> Any | None:
    """Give the instrumentor, switched on; None where there is nothing to switch on."""
    # Not at the top: applications that pass auto_instrument=False need not pay for it.
    from opentelemetry.instrumentation.dependencies import DependencyConflictError

    try:
        instrumentor = point.load()()
    except ImportError as error:
        logger.debug("%s is not traced: %s is not installed.", point.name, error.name)
        return None
    if instrumentor.is_instrumented_by_opentelemetry:
        logger.warning(
            "%s was instrumented before register(); its spans go where that was told to.",
            point.name,
        )
        return None
    try:
        instrumentor.instrument(tracer_provider=provider, raise_exception_on_conflict=True)
    except DependencyConflictError as error:
        conflict = error.conflict
        level = logging.WARNING if conflict.found else logging.DEBUG
        logger.log(
            level, "%s is not traced: %s (%s).", point.name, conflict.required, conflict.found
        )
        return None
    return instrumentor
