"""What the proxy counts, as Prometheus reads it.

Counts come in while calls cross; text goes out. The recorder has no socket: what it says in its
status file is published here.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric

from tracequill_collector.status import read_status

_NOT_IN_A_NAME = re.compile(r"[^a-z0-9_]")


class ProxyMetrics:
    """The numbers of one proxy process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "tracequill_proxy_requests",
            "Calls answered, by route and status; status 0: the client left before an answer.",
            ["route", "status"],
            registry=self._registry,
        )
        self._unrecorded = Counter(
            "tracequill_proxy_unrecorded",
            "Calls that were forwarded but could not be recorded.",
            ["reason"],
            registry=self._registry,
        )
        self._malformed = Counter(
            "tracequill_proxy_malformed_requests",
            "Requests refused because they were not valid HTTP.",
            registry=self._registry,
        )
        self._labelled: dict[tuple[str, int], Counter] = {}
        for reason in ("queue_full", "queue_failed"):
            self._unrecorded.labels(reason)

    def count_request(self, route: str, status: int) -> None:
        """Count one answered call."""
        counter = self._labelled.get((route, status))
        if counter is None:
            counter = self._labelled[route, status] = self._requests.labels(route, str(status))
        counter.inc()

    def count_lost(self, reason: str) -> None:
        """Count one call that was forwarded but not recorded."""
        self._unrecorded.labels(reason).inc()

    def count_malformed(self) -> None:
        """Count one request that was not valid HTTP."""
        self._malformed.inc()

    def watch(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Publish what *read* gives at the time of asking as the gauge *name*."""

        def collect() -> Iterator[Metric]:
            yield GaugeMetricFamily(name, documentation, value=read())

        self._registry.register(_Collected(collect))

    def watch_recorder(self, path: Path) -> None:
        """Publish the numbers of the recorder's status file at *path*."""
        self._registry.register(_Collected(lambda: _recorder(path)))

    def text(self) -> bytes:
        """Give all of it in Prometheus' text format."""
        return generate_latest(self._registry)


class _Collected:
    """A collector for prometheus_client made of one function.

    What a failing disk does not give is left out: it must not hide all other numbers.
    """

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        with contextlib.suppress(OSError):
            yield from self._collect()


def _recorder(path: Path) -> Iterator[Metric]:
    status = read_status(path)
    if status is None:
        return
    yield GaugeMetricFamily(
        "tracequill_recorder_status_age_seconds",
        "How long ago the recorder wrote its status.",
        value=status.age_seconds,
    )
    for name, value in status.values.items():
        if isinstance(value, int | float):
            yield GaugeMetricFamily(
                "tracequill_recorder_" + _NOT_IN_A_NAME.sub("_", name.lower()),
                "From the recorder's status file.",
                value=float(value),
            )
