"""The recorder process: exchanges that the proxy queued become spans in the collector.

``python -m tracequill_collector.service.recorder``, configured by the environment alone. Joins
queue, recorder and dead letters. It has no socket: what it does stands in its status file, which
the proxy publishes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict

from tracequill.settings import Settings
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.recorder.otlp import OtlpClient
from tracequill_collector.recorder.sender import RecordLoop
from tracequill_collector.service.process import run_service
from tracequill_collector.status import write_status

CONSUMER = "collector"
"""The name of the recorder's position in the queue."""

# Forwarding goes before recording.
_NICE = 5
_STATUS_SECONDS = 1.0
# A request that is cut off comes again; finishing it spares the repetition.
_FINISH_SECONDS = 5.0

_log = logging.getLogger(__name__)


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Record until *stop* is set."""
    os.nice(_NICE)
    status_path = settings.data_dir / "proxy" / "recorder.status.json"
    async with AsyncExitStack() as stack:
        reader = await QueueReader.open(
            settings.proxy_queue_dir,
            consumer=CONSUMER,
            keep_seconds=settings.queue_keep_hours * 3600,
        )
        stack.push_async_callback(reader.close)
        client = OtlpClient(settings.collector_base_url)
        stack.push_async_callback(client.close)
        dead_letters = DeadLetters(settings.dead_letters_dir)
        loop = RecordLoop(reader, client, dead_letters.add, settings.proxy_project_name, stop)

        def say() -> None:
            values = asdict(loop.progress) | {"queue_backlog_bytes": reader.backlog_bytes}
            write_status(status_path, values)

        _log.info("recorder takes exchanges", extra={"collector": settings.collector_base_url})
        async with asyncio.TaskGroup() as tasks:
            saying = tasks.create_task(_say_until(stop, say))
            recording = tasks.create_task(loop.run())
            await stop.wait()
            await asyncio.wait({recording}, timeout=_FINISH_SECONDS)
            recording.cancel()
            await saying
        _say(say)
    _log.info("recorder stopped")


async def _say_until(stop: asyncio.Event, say: Callable[[], None]) -> None:
    while not stop.is_set():
        _say(say)
        with suppress(TimeoutError):
            async with asyncio.timeout(_STATUS_SECONDS):
                await stop.wait()


def _say(say: Callable[[], None]) -> None:
    try:
        say()
    except OSError as error:
        # A full disk: recording is what lets the queue give room back.
        _log.warning("the status file cannot be written", extra={"error": error.strerror})


if __name__ == "__main__":
    sys.exit(run_service("recorder", main))
