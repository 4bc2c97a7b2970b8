"""What the receivers count, under the names that the OpenTelemetry Collector uses."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from tracequill_collector.errors import PermanentError

_LABELS = ("receiver", "transport")
_RECEIVER = "otlp"
# 0.5 ms to 5 s: from one quick sync to a sender's patience.
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class ReceiverMetrics:
    """Counters of one process; each process has a registry of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._accepted = Counter(
            "otelcol_receiver_accepted_spans",
            "Spans that are in the queue; the rejected ones are among them.",
            _LABELS,
            registry=registry,
        )
        self._rejected = Counter(
            "tracequill_receiver_rejected_spans",
            "Spans with invalid ids; they become dead letters.",
            _LABELS,
            registry=registry,
        )
        self._refused = Counter(
            "otelcol_receiver_refused_spans",
            "Spans of refused requests, as far as they were counted by then.",
            _LABELS,
            registry=registry,
        )
        self._requests = Counter(
            "tracequill_receiver_requests",
            "Requests by what became of them: accepted, retryable, permanent, failed.",
            (*_LABELS, "outcome"),
            registry=registry,
        )
        self._seconds = Histogram(
            "tracequill_receiver_seconds",
            "Time from a request's last byte to its answer, for accepted ones.",
            _LABELS,
            buckets=_SECONDS,
            registry=registry,
        )

    def accepted(self, transport: str, spans: int, rejected: int, seconds: float) -> None:
        """Count a request that was kept."""
        self._accepted.labels(_RECEIVER, transport).inc(spans)
        self._rejected.labels(_RECEIVER, transport).inc(rejected)
        self._requests.labels(_RECEIVER, transport, "accepted").inc()
        self._seconds.labels(_RECEIVER, transport).observe(seconds)

    def refused(self, transport: str, spans: int, error: Exception) -> None:
        """Count a request that was refused for a reason that is known."""
        outcome = "permanent" if isinstance(error, PermanentError) else "retryable"
        self._refused.labels(_RECEIVER, transport).inc(spans)
        self._requests.labels(_RECEIVER, transport, outcome).inc()

    def failed(self, transport: str, spans: int) -> None:
        """Count a request that met an error of ours."""
        self._refused.labels(_RECEIVER, transport).inc(spans)
        self._requests.labels(_RECEIVER, transport, "failed").inc()
