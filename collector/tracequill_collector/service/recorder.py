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
from contextlib import AsyncExitStack
from dataclasses import asdict

from tracequill.settings import Settings
from tracequill_collector.queue.dead_letters import DeadLetters, letters_max_bytes
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.recorder.otlp import OtlpClient
from tracequill_collector.recorder.sender import RecordLoop
from tracequill_collector.service import consumers
from tracequill_collector.service.memory import settle
from tracequill_collector.service.process import run_service
from tracequill_collector.service.status_file import say_once, say_until
from tracequill_collector.status import write_status

# Forwarding goes before recording.
_NICE = 5
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
            consumer=consumers.RECORDER,
            keep_seconds=settings.queue_keep_hours * 3600,
        )
        stack.push_async_callback(reader.close)
        client = OtlpClient(settings.collector_base_url)
        stack.push_async_callback(client.close)
        dead_letters = DeadLetters(
            settings.dead_letters_dir, max_bytes=letters_max_bytes(settings.queue_max_bytes)
        )
        dead_letters.hold_reserve()
        loop = RecordLoop(reader, client, dead_letters.add, settings.proxy_project_name, stop)

        def say() -> None:
            values = asdict(loop.progress) | {"queue_backlog_bytes": reader.backlog_bytes}
            write_status(status_path, values)

        settle()
        _log.info("recorder takes exchanges", extra={"collector": settings.collector_base_url})
        async with asyncio.TaskGroup() as tasks:
            saying = tasks.create_task(say_until(stop, say))
            recording = tasks.create_task(loop.run())
            await stop.wait()
            await asyncio.wait({recording}, timeout=_FINISH_SECONDS)
            recording.cancel()
            await saying
        say_once(say)
    _log.info("recorder stopped")


if __name__ == "__main__":
    sys.exit(run_service("recorder", main))
