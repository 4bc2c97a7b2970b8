"""What the exporter process counts, by the OpenTelemetry Collector's names where it has some.

Counts enter; leaves the text that Prometheus reads. The process has no socket: it writes the text
beside its status file, and the receiver publishes it with its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tracequill.settings import Settings
from tracequill_collector.pipeline import QueuedRecord

if TYPE_CHECKING:  # the receiver, which only asks where the file is, loads no processor
    from tracequill_collector.processor.policy import PolicyCounts

_STORE_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_AGE_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 60, 600, 3600, 86400)


def metrics_file(settings: Settings) -> Path:
    """Where the exporter leaves its metrics for the receiver."""
    return settings.data_dir / "collector" / "exporter.metrics"


class ExportMetrics:
    """The numbers of one exporter, *name*: ``postgres`` or ``otlp/<name>``."""

    def __init__(self, registry: ExportRegistry, name: str) -> None:
        self._sent = registry.sent.labels(name)
        self._failed = registry.failed.labels(name)
        self._seconds = registry.seconds.labels(name)
        self._ages = registry.ages.labels(name)
        self._letters = registry.letters
        self._records = registry.records.labels(name)
        self._changes = registry.changes
        self._name = name

    def sent(self, spans: int) -> None:
        """Count spans that are where they should be."""
        self._sent.inc(spans)

    def stored(self, seconds: float) -> None:
        """Count a batch that took *seconds*."""
        self._seconds.observe(seconds)

    def failed(self) -> None:
        """Count a try that must be repeated."""
        self._failed.inc()

    def done(self, records: Sequence[QueuedRecord]) -> None:
        """Count *records*, and how long ago each was acknowledged."""
        self._records.inc(len(records))
        now = time.time_ns()
        for queued in records:
            # Wall time: a clock that was set back makes no negative ages.
            self._ages.observe(max(0.0, (now - queued.record.received_unix_ns) / 1e9))

    def buried(self, what: str) -> None:
        """Count a dead letter."""
        self._letters.labels(self._name, what).inc()

    def changed(self, counts: PolicyCounts) -> None:
        """Count the spans that the policy has changed."""
        for rule, count in counts.items():
            self._changes.labels(self._name, rule).inc(count)


class ExportRegistry:
    """All metrics of the process, and the file that they are written to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._registry = registry = CollectorRegistry()
        self.sent = Counter(
            "otelcol_exporter_sent_spans",
            "Spans stored or sent on.",
            ["exporter"],
            registry=registry,
        )
        self.failed = Counter(
            "tracequill_exporter_failed_tries",
            "Tries that failed and are repeated; nothing is lost by them.",
            ["exporter"],
            registry=registry,
        )
        self.records = Counter(
            "tracequill_exporter_records",
            "Records of the queue that are done.",
            ["exporter"],
            registry=registry,
        )
        self.seconds = Histogram(
            "tracequill_exporter_seconds",
            "Time that a batch took to be stored or sent on.",
            ["exporter"],
            buckets=_STORE_SECONDS,
            registry=registry,
        )
        self.ages = Histogram(
            "tracequill_exporter_age_seconds",
            "Time from a record's acknowledgement until it was done.",
            ["exporter"],
            buckets=_AGE_SECONDS,
            registry=registry,
        )
        self.letters = Counter(
            "tracequill_dead_letters",
            "Records and spans put into the dead letters.",
            ["exporter", "what"],
            registry=registry,
        )
        self.changes = Counter(
            "tracequill_processor_changes",
            "Spans that redaction or limits changed, by rule.",
            ["exporter", "rule"],
            registry=registry,
        )
        self._gauges: list[tuple[Gauge, tuple[str, ...], Callable[[], float]]] = []
        self._by_name: dict[str, Gauge] = {}

    def gauge(
        self,
        name: str,
        documentation: str,
        value: Callable[[], float],
        **labels: str,
    ) -> None:
        """Publish what *value* gives whenever the file is written."""
        gauge = self._by_name.get(name)
        if gauge is None:
            gauge = Gauge(name, documentation, list(labels), registry=self._registry)
            self._by_name[name] = gauge
        self._gauges.append((gauge, tuple(labels.values()), value))

    def write(self) -> None:
        """Replace the file; raises OSError as the disk does."""
        for gauge, labels, value in self._gauges:
            (gauge.labels(*labels) if labels else gauge).set(value())
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(generate_latest(self._registry))
        temporary.replace(self._path)
