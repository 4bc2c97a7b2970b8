"""An exporter process that sends spans on; the test is its receiver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from tests.integration.collector.test_exporter_process import (
    ExporterProcess,
)
from tests.integration.receiver_rig import request_of, span
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.queue.writer import QueueWriter

MIB = 1024 * 1024


class Rig:
    """An exporter process, its settings, and the queue that the test writes."""

    def __init__(
        self, folder: Path, database_url: str | None, writer: QueueWriter, settings: object
    ) -> None:
        self.writer = writer
        self.process = ExporterProcess(folder, database_url)
        self._config = folder / "tracequill.yaml"
        self.process.environment["TRACEQUILL_CONFIG"] = str(self._config)
        self.configure(settings)

    def configure(self, settings: object) -> None:
        """Write the settings; they hold at the next start."""
        self._config.write_text(yaml.safe_dump(settings))

    async def keep(self, *records: Record) -> None:
        """Accept *records*."""
        for record in records:
            await self.writer.consume(record)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when *condition* is true; the process must live until then."""
        while True:
            if condition():
                return
            assert self.process.process and self.process.process.poll() is None, self.process.log
            await asyncio.sleep(0.02)

    def onward(self, name: str) -> dict[str, object]:
        """What the process says of an exporter; nothing before it says something."""
        status = self.process.status
        return status.values["onward"].get(name, {}) if status else {}


@asynccontextmanager
async def running(
    folder: Path,
    database_url: str | None = None,
    *,
    queue_bytes: int = 64 * MIB,
    segment_bytes: int = 64 * MIB,
    variables: dict[str, str] | None = None,
    **exporters: object,
) -> AsyncIterator[Rig]:
    """Run an exporter process with *exporters*; the settings beside them are those of a user."""
    async with asyncio.timeout(60):
        writer = await QueueWriter.open(
            folder / "collector" / "queue", max_bytes=queue_bytes, segment_bytes=segment_bytes
        )
        rig = Rig(folder, database_url, writer, {"exporters": exporters})
        rig.process.environment |= variables or {}
        rig.process.start()
        try:
            yield rig
        finally:
            await writer.close()
            assert rig.process.process
            if rig.process.process.poll() is None:
                assert rig.process.stop() == 0, rig.process.log


def record_of(*numbers: int, **fields: str) -> Record:
    """A record of spans that are known by their numbers."""
    payload = request_of(*(span(number) for number in numbers))
    return Record(RecordKind.OTLP_TRACES, 1_770_000_000_000_000_000, payload, **fields)


def ids_of(*numbers: int) -> list[str]:
    """Their ids."""
    return [number.to_bytes(8, "big").hex() for number in numbers]
