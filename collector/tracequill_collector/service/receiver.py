"""The receiving process of the collector: OTLP in by gRPC and HTTP, into the queue.

``python -m tracequill_collector.service.receiver``, configured by the environment alone. Its two
sockets are the only ones it has.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import AsyncExitStack

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from tracequill.settings import Settings
from tracequill_collector.queue import quarantine
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.receiver.connections import connection_limits
from tracequill_collector.receiver.http_server import serve_http
from tracequill_collector.receiver.intake import Intake
from tracequill_collector.receiver.metrics import ReceiverMetrics
from tracequill_collector.receiver.otlp_grpc import serve_grpc
from tracequill_collector.receiver.otlp_http import otlp_http_app
from tracequill_collector.service.export_metrics import metrics_file
from tracequill_collector.service.exposition import GaugeOf, StatusOf, add_exposition
from tracequill_collector.service.memory import give_back_until, limit_heaps
from tracequill_collector.service.process import run_service

_SYNC_SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)

_log = logging.getLogger("tracequill_collector.service.receiver")


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Take requests until *stop* is set, then answer those in flight."""
    limit_heaps()
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    limits = connection_limits()
    async with AsyncExitStack() as stack:
        # The queue first: nothing may be accepted before it can be kept.
        queue = await _open_queue(settings, registry)
        stack.push_async_callback(queue.close)
        intake = Intake(
            queue, ReceiverMetrics(registry), request_max_bytes=settings.request_max_bytes
        )
        _add_metrics(settings, registry, queue, intake)
        app = otlp_http_app(intake)
        add_exposition(
            app, registry, lambda: queue.problem or _stopping(stop), also=metrics_file(settings)
        )
        # Both are left, and so finish what is in flight, before the queue is closed.
        await stack.enter_async_context(
            serve_grpc(intake, settings.host, settings.otlp_grpc_port, limits)
        )
        await stack.enter_async_context(
            serve_http(app, settings.host, settings.otlp_http_port, limits)
        )
        _log.info(
            "receiver takes spans",
            extra={
                "host": settings.host,
                "otlp_grpc_port": settings.otlp_grpc_port,
                "otlp_http_port": settings.otlp_http_port,
            },
        )
        await give_back_until(stop, lambda: intake.in_flight.held_bytes)
    _log.info("receiver stopped")


async def _open_queue(settings: Settings, registry: CollectorRegistry) -> QueueWriter:
    syncs = Histogram(
        "tracequill_queue_sync_seconds",
        "How long making a group of records durable took.",
        buckets=_SYNC_SECONDS,
        registry=registry,
    )
    return await QueueWriter.open(
        settings.collector_queue_dir,
        max_bytes=settings.queue_max_bytes,
        observe_sync=syncs.observe,
    )


def _add_metrics(
    settings: Settings, registry: CollectorRegistry, queue: QueueWriter, intake: Intake
) -> None:
    ProcessCollector(registry=registry)
    for collector in (
        GaugeOf(
            "tracequill_queue_backlog_bytes",
            "What the slowest exporter has not stored yet.",
            lambda: queue.backlog_bytes,
        ),
        GaugeOf(
            "tracequill_queue_disk_bytes",
            "What the queue takes on disk, with what is kept for a replay.",
            lambda: queue.disk_bytes,
        ),
        GaugeOf(
            "tracequill_queue_max_bytes",
            "The byte cap of the queue.",
            lambda: settings.queue_max_bytes,
        ),
        GaugeOf(
            "tracequill_queue_quarantined_bytes",
            "Damaged bytes of accepted records, put aside in the queue's folder quarantine.",
            lambda: quarantine.kept_bytes(Disk(), settings.collector_queue_dir),
        ),
        GaugeOf(
            "tracequill_receiver_in_flight_bytes",
            "What requests between arrival and answer hold.",
            lambda: intake.in_flight.held_bytes,
        ),
        # Its numbers stand in the file that it leaves beside.
        StatusOf(
            "exporter", settings.data_dir / "collector" / "exporter.status.json", only_age=True
        ),
    ):
        registry.register(collector)


def _stopping(stop: asyncio.Event) -> str:
    return "the receiver is stopping." if stop.is_set() else ""


if __name__ == "__main__":
    sys.exit(run_service("receiver", main))
