"""The exporter process: what the receiver queued is interpreted and stored, and sent on.

``python -m tracequill_collector.service.exporter``. Joins queue, processor, exporters, replays and
dead letters. Each exporter is a consumer of the queue with a position of its own; a record leaves
the queue when all of them are done with it, however long one of them is away.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from tracequill.settings import ExporterSettings, Settings
from tracequill_collector.errors import StartError
from tracequill_collector.exporter.postgres import PostgresExporter
from tracequill_collector.exporter.rows import Rejected
from tracequill_collector.processor.policy import Policy
from tracequill_collector.queue import checkpoint as checkpoints
from tracequill_collector.queue.dead_letters import DeadLetters, letters_max_bytes
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.replay import Replays
from tracequill_collector.service import consumers
from tracequill_collector.service.export_loop import ExportLoop
from tracequill_collector.service.export_metrics import (
    ExportMetrics,
    ExportRegistry,
    LettersKept,
    metrics_file,
)
from tracequill_collector.service.lanes import Lanes
from tracequill_collector.service.policies import policy_of
from tracequill_collector.service.process import run_service
from tracequill_collector.service.replaying import ReplayedQueue, Replaying
from tracequill_collector.service.status_file import say_once, say_until
from tracequill_collector.status import write_status

if TYPE_CHECKING:
    from tracequill_collector.service.onward import OnwardLoop

_log = logging.getLogger(__name__)

# Answering an application goes before storing what it sent.
_NICE = 5

# A limit that was lowered since must not turn what was accepted into a dead letter.
_LEAST_MAX_BYTES = 64 * 1024 * 1024


class _Exporters:
    """All exporters of the process, and what it says of them."""

    def __init__(self, settings: Settings, stop: asyncio.Event, stack: AsyncExitStack) -> None:
        self.loop: ExportLoop | None = None
        self.onward: dict[str, OnwardLoop] = {}
        self._settings = settings
        self._stop = stop
        self._stack = stack
        self._policy: Policy | None = policy_of(settings)
        self._registry = ExportRegistry(metrics_file(settings))
        self._registry.gauge(
            "tracequill_dead_letters_kept",
            "Dead letters that lie in the folder now, of every process.",
            LettersKept(settings.dead_letters_dir),
        )
        self._dead_letters = DeadLetters(
            settings.dead_letters_dir, max_bytes=letters_max_bytes(settings.queue_max_bytes)
        )
        self._dead_letters.hold_reserve()
        self._max_bytes = max(settings.request_max_bytes, _LEAST_MAX_BYTES)
        self._keep_seconds = settings.queue_keep_hours * 3600

    async def open_postgres(self, url: str) -> None:
        """Join the queue to Postgres; raises StartError."""

        async def reject(rejected: Sequence[Rejected]) -> None:
            await loop.reject(rejected)

        settings = self._settings
        try:
            exporter = PostgresExporter(url, schema=settings.database_schema, reject=reject)
        except ValueError as error:
            raise StartError(f"TRACEQUILL_DATABASE_URL is wrong: {error}.") from None
        self._stack.push_async_callback(exporter.close)
        queue = settings.collector_queue_dir
        lanes = await Lanes.open(queue, consumers.POSTGRES, keep_seconds=self._keep_seconds)
        self._stack.push_async_callback(lanes.close)
        replays = Replays(settings.replay_dir)
        replaying = Replaying(
            replays,
            [
                ReplayedQueue(queue, consumers.POSTGRES),
                ReplayedQueue(settings.proxy_queue_dir, consumers.RECORDER, holds_exchanges=True),
            ],
            self._dead_letters,
            settings.proxy_project_name,
        )
        self._stack.callback(replaying.close)
        loop = self.loop = ExportLoop(
            lanes=lanes,
            exporter=exporter,
            dead_letters=self._dead_letters,
            stop=self._stop,
            max_bytes=self._max_bytes,
            metrics=ExportMetrics(self._registry, consumers.POSTGRES),
            replaying=replaying,
            policy=self._policy,
        )
        self._add_gauges(consumers.POSTGRES, lanes, loop)
        self._add_lost(consumers.POSTGRES, lambda: lanes.lost_records)
        self._registry.gauge(
            "tracequill_postgres_ids_used_ratio",
            "Of the row ids that a table of Phoenix can have, how many the fullest has used.",
            lambda: exporter.counts.ids_used_share,
        )

    async def open_onward(self, name: str, backend: ExporterSettings) -> None:
        """Join the queue to another backend; raises StartError."""
        # The clients of HTTP and gRPC take 20 MB: only who has a backend pays for them.
        from tracequill_collector.service.onward import OnwardLoop
        from tracequill_collector.service.onward_client import client_of

        client = client_of(name, backend, self._settings)
        self._stack.push_async_callback(client.close)
        consumer = consumers.ONWARD_PREFIX + name
        open_reader = partial(
            QueueReader.open,
            self._settings.collector_queue_dir,
            consumer=consumer,
            keep_seconds=self._keep_seconds,
            # Without a database this may be the only place where the spans are kept.
            may_lag=not backend.keep and self._settings.database_url is not None,
        )
        self.onward[name] = loop = OnwardLoop(
            consumer,
            await open_reader(),
            open_reader,
            client,
            self._dead_letters,
            ExportMetrics(self._registry, consumer),
            self._stop,
            max_bytes=self._max_bytes,
            policy=self._policy,
            replay_dir=self._settings.replay_dir / consumer,
        )
        self._stack.push_async_callback(loop.close)
        self._add_gauges(consumer, loop, loop)
        self._add_lost(consumer, lambda: loop.progress.lost_records)
        self._registry.gauge(
            "tracequill_exporter_rejected_spans",
            "Spans that a backend did not take of requests that it took; they are not sent again.",
            lambda: loop.progress.rejected_spans,
            exporter=consumer,
        )

    def _add_gauges(
        self, name: str, source: Lanes | OnwardLoop, loop: ExportLoop | OnwardLoop
    ) -> None:
        add = self._registry.gauge
        add(
            "otelcol_exporter_queue_size",
            "What of the queue this exporter has not done yet, in bytes.",
            lambda: source.backlog_bytes,
            exporter=name,
        )
        add(
            "otelcol_exporter_queue_capacity",
            "The byte cap of the queue, which all exporters share.",
            lambda: self._settings.queue_max_bytes,
            exporter=name,
        )
        add(
            "tracequill_exporter_backlog_age_seconds",
            "How long ago the oldest record that was read, but is not done, was received.",
            lambda: source.age_seconds,
            exporter=name,
        )
        add(
            "tracequill_exporter_waiting",
            "1 while this exporter can store or send nothing and waits, else 0.",
            lambda: float(bool(loop.progress.waiting)),
            exporter=name,
        )

    def _add_lost(self, name: str, lost_records: Callable[[], int]) -> None:
        self._registry.gauge(
            "tracequill_exporter_lost_records",
            "Records that were damaged or gone from the queue before this exporter had them.",
            lost_records,
            exporter=name,
        )

    def say(self) -> None:
        """Write the status and the metrics."""
        values: dict[str, Any] = {"waiting": ""}
        if self.loop is not None:
            values = asdict(self.loop.progress) | asdict(self.loop.exporter.counts)
            values["queue_backlog_bytes"] = self.loop.lanes.backlog_bytes
            values["lost_records"] = self.loop.lanes.lost_records
        elif not self.onward:
            values["waiting"] = _NOWHERE
        values["onward"] = {
            name: asdict(loop.progress) | {"backlog_bytes": loop.backlog_bytes}
            for name, loop in self.onward.items()
        }
        write_status(self._settings.data_dir / "collector" / "exporter.status.json", values)
        self._registry.write()


_NOWHERE = "no database is set. Set TRACEQUILL_DATABASE_URL."


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Export until *stop* is set."""
    os.nice(_NICE)
    # Interpreting and storing share one interpreter: an answer of Postgres must not wait 5 ms.
    sys.setswitchinterval(0.0005)
    async with AsyncExitStack() as stack:
        exporters = _Exporters(settings, stop, stack)
        if settings.database_url:
            await exporters.open_postgres(settings.database_url)
        for name, backend in settings.exporters.items():
            await exporters.open_onward(name, backend)
        _forget_others(settings)
        if exporters.loop is None and exporters.onward:
            _log.warning("no database is set: spans are only sent on")
        elif exporters.loop is None:
            _log.warning("no span is stored here", extra={"waiting": _NOWHERE})
        async with asyncio.TaskGroup() as tasks:
            saying = tasks.create_task(say_until(stop, exporters.say))
            for onward in exporters.onward.values():
                tasks.create_task(onward.run())
            if exporters.loop is not None:
                await exporters.loop.run()
            await saying
        say_once(exporters.say)


def _forget_others(settings: Settings) -> None:
    """Forget the positions of backends that the settings no longer name: they would hold room."""
    queue = settings.collector_queue_dir
    disk = Disk()
    for consumer in checkpoints.load_all(disk, queue):
        name = consumer.removeprefix(consumers.ONWARD_PREFIX)
        if name != consumer and name not in settings.exporters:
            checkpoints.remove(disk, queue, consumer)
            _log.warning(
                "an exporter that the settings no longer name has lost its place in the queue",
                extra={"exporter": consumer},
            )


if __name__ == "__main__":
    sys.exit(run_service("exporter", main))
