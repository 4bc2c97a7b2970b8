"""What a service with an HTTP server says about itself: ``/healthz``, ``/readyz``, ``/metrics``.

The numbers of a process without a socket come from its status file: a number named
``otelcol_…`` or ``tracequill_…`` keeps its name, any other is put under the process's; one that
ends in ``_total`` is a counter, any other a gauge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tracequill_collector.status import read_status

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]")


def add_exposition(
    app: web.Application,
    registry: CollectorRegistry,
    problem: Callable[[], str],
    *,
    also: Path | None = None,
) -> None:
    """Add the three routes to *app*; *problem* says why no work is taken, or nothing.

    *also* is a file in which a process without a socket leaves metrics of its own.
    """

    async def healthz(request: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def readyz(request: web.Request) -> web.Response:
        reason = problem()
        return web.Response(status=503 if reason else 200, text=f"{reason or 'ready'}\n")

    async def metrics(request: web.Request) -> web.Response:
        body = generate_latest(registry)
        if also is not None:
            with suppress(OSError):  # that process has not begun yet
                body += also.read_bytes()
        return web.Response(body=body, headers={"Content-Type": _CONTENT_TYPE})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)


class GaugeOf(Collector):
    """One number, asked for when it is read."""

    def __init__(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        self._name = name
        self._documentation = documentation
        self._value = value

    def collect(self) -> Iterator[Metric]:
        """Give the number as it is now."""
        yield GaugeMetricFamily(self._name, self._documentation, value=self._value())


class StatusOf(Collector):
    """The numbers in another process's status file, or its age alone."""

    def __init__(self, process: str, path: Path, *, only_age: bool = False) -> None:
        self._process = process
        self._path = path
        self._only_age = only_age

    def collect(self) -> Iterator[Metric]:
        """Give the numbers that are in the file now; none when there is no file."""
        status = read_status(self._path)
        if status is None:
            return
        yield GaugeMetricFamily(
            f"tracequill_{self._process}_status_age_seconds",
            f"How long ago the {self._process} wrote its status.",
            value=status.age_seconds,
        )
        if self._only_age:
            return
        documentation = f"From the status of the {self._process}."
        for key, value in status.values.items():
            if not isinstance(value, int | float):
                continue
            name = _NOT_IN_A_NAME.sub("_", key)
            if not name.startswith(("otelcol_", "tracequill_")):
                name = f"tracequill_{self._process}_{name}"
            if name.endswith("_total"):
                yield CounterMetricFamily(name, documentation, value=float(value))
            else:
                yield GaugeMetricFamily(name, documentation, value=float(value))
