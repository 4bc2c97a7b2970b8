"""What the exporter process counts, by the OpenTelemetry Collector's names where it has some.

Counts enter; leaves the text that Prometheus reads. The process has no socket: it writes the text
beside its status file, and the receiver publishes it with its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from tracequill.settings import Settings
from tracequill_collector.pipeline import QueuedRecord

if TYPE_CHECKING:  # the receiver, which only asks where the file is, loads no processor
    from tracequill_collector.processor.policy import PolicyCounts

_STORE_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_AGE_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 60, 600, 3600, 86400)
# Counting letters reads a folder.
_LETTERS_SECONDS = 15.0


def metrics_file(settings: Settings) -> Path:
    """Where the exporter leaves its metrics for the receiver."""
    return settings.data_dir / "collector" / "exporter.metrics"


class ExportMetrics:
    """The numbers of one exporter, *name*: ``postgres``, or ``otlp-`` and a backend's name."""

    def __init__(self, registry: ExportRegistry, name: str) -> None:
        self._sent = registry.sent.labels(name)
        self._send_failed = registry.send_failed.labels(name)
        self._seen_before = registry.seen_before.labels(name)
        self._replaced = registry.replaced.labels(name)
        self._failed = registry.failed.labels(name)
        self._seconds = registry.seconds.labels(name)
        self._ages = registry.ages.labels(name)
        self._letters = registry.letters
        self._records = registry.records.labels(name)
        self._changes = registry.changes
        self._raw_genai = registry.raw_genai.labels(name)
        self._name = name
        for what in ("record", "span"):
            # There from the start: an alarm looks for a rise.
            self._letters.labels(name, what)

    def sent(self, spans: int) -> None:
        """Count spans that are where they should be."""
        self._sent.inc(spans)

    def rejected(self, spans: int) -> None:
        """Count spans that will not get there, and have no dead letter."""
        self._send_failed.inc(spans)

    def seen_before(self, spans: int, replaced: int) -> None:
        """Count spans that were stored already, and those written anew."""
        self._seen_before.inc(spans)
        self._replaced.inc(replaced)

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

    def buried(self, spans: int) -> None:
        """Count a dead letter of so many spans; none is a record that cannot be read."""
        if spans:
            self._letters.labels(self._name, "span").inc(spans)
            self._send_failed.inc(spans)
        else:
            self._letters.labels(self._name, "record").inc()

    def changed(self, counts: PolicyCounts) -> None:
        """Count the spans that the policy has changed."""
        for rule, count in counts.items():
            self._changes.labels(self._name, rule).inc(count)

    def raw_genai(self, spans: int) -> None:
        """Count spans whose ``gen_ai.*`` attributes were kept as they came."""
        self._raw_genai.inc(spans)


class ExportRegistry:
    """All metrics of the process, and the file that they are written to."""

    def __init__(self, path: Path) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._path = path
        self._registry = CollectorRegistry()
        # Apart from those of the receiver, which publishes both.
        ProcessCollector(namespace="tracequill_exporter", registry=self._registry)
        self.sent = self._counter("otelcol_exporter_sent_spans", "Spans stored or sent on.")
        self.send_failed = self._counter(
            "otelcol_exporter_send_failed_spans",
            "Spans given up: put into the dead letters, or rejected by another backend.",
        )
        self.seen_before = self._counter(
            "tracequill_exporter_seen_before_spans",
            "Spans that were stored already and stay as they are.",
        )
        self.replaced = self._counter(
            "tracequill_exporter_replaced_spans", "Spans written anew by a replay."
        )
        self.failed = self._counter(
            "tracequill_exporter_failed_tries",
            "Tries that failed and are repeated; nothing is lost by them.",
        )
        self.records = self._counter(
            "tracequill_exporter_records", "Records of the queue that are done."
        )
        self.seconds = self._histogram(
            "tracequill_exporter_seconds",
            "Time that a batch took to be stored or sent on.",
            _STORE_SECONDS,
        )
        self.ages = self._histogram(
            "tracequill_exporter_age_seconds",
            "Time from a record's acknowledgement until it was done.",
            _AGE_SECONDS,
        )
        self.letters = self._counter(
            "tracequill_dead_letters",
            "Records and spans put into the dead letters, those of a replay again.",
            "what",
        )
        self.changes = self._counter(
            "tracequill_processor_changes",
            "Spans that redaction or limits changed, by rule.",
            "rule",
        )
        self.raw_genai = self._counter(
            "tracequill_processor_raw_genai_spans",
            "Spans whose gen_ai attributes were kept as they came, for want of the converter.",
        )
        self._gauges: list[tuple[Gauge, tuple[str, ...], Callable[[], float]]] = []
        self._by_name: dict[str, Gauge] = {}

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, ["exporter", *labels], registry=self._registry)

    def _histogram(self, name: str, documentation: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(
            name, documentation, ["exporter"], buckets=buckets, registry=self._registry
        )

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


class LettersKept:
    """How many dead letters lie in a folder, counted now and then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._counted_at = float("-inf")
        self._count = 0

    def __call__(self) -> int:
        """Give the number."""
        if time.monotonic() - self._counted_at >= _LETTERS_SECONDS:
            self._counted_at = time.monotonic()
            with suppress(OSError):  # there never was one, or the count of before must do
                names = os.listdir(self._folder)
                self._count = sum(name.endswith(".json") for name in names)
        return self._count
