"""The exporter as a process: a queue on one side, a database on the other, and faults between."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from tests.integration.collector.exporting import record_of
from tests.integration.collector.generated import generated_requests
from tracequill_collector.pipeline import Record
from tracequill_collector.processor.decode import decode
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.status import Status, read_status

pytestmark = pytest.mark.integration

_MIB = 1024 * 1024


class ExporterProcess:
    """An exporter with a data directory of its own; the test is its receiver."""

    def __init__(self, folder: Path, database_url: str | None) -> None:
        self.folder = folder
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("TRACEQUILL_", "PHOENIX_"))
            },
            "TRACEQUILL_DATA_DIR": str(folder),
        }
        if database_url:
            self.environment["TRACEQUILL_DATABASE_URL"] = database_url
        self.process: subprocess.Popen[bytes] | None = None
        self.dead_letters = DeadLetters(folder / "dead_letters")

    def start(self) -> None:
        """Start it; does not wait."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tracequill_collector.service.exporter"],
                env=self.environment,
                stderr=log,
            )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it *number* and give its exit code."""
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(20)

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.folder / "log").read_text()

    @property
    def status(self) -> Status | None:
        """Its status file, when this very process wrote it."""
        status = read_status(self.folder / "collector" / "exporter.status.json")
        return status if status and self.process and status.pid == self.process.pid else None

    async def says(self, wanted: Callable[[Status], bool]) -> Status:
        """Wait for a status that is *wanted*."""
        while True:
            if (status := self.status) and wanted(status):
                return status
            assert self.process and self.process.poll() is None, self.log
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(
    folder: Path, database_url: str | None
) -> AsyncIterator[tuple[ExporterProcess, QueueWriter]]:
    """Run an exporter and write its queue."""
    writer = await QueueWriter.open(folder / "collector" / "queue", max_bytes=64 * _MIB)
    exporter = ExporterProcess(folder, database_url)
    exporter.start()
    try:
        yield exporter, writer
    finally:
        await writer.close()
        assert exporter.process
        if exporter.process.poll() is None:
            assert exporter.stop() == 0, exporter.log


async def stored_spans(database_url: str, count: int) -> list[str]:
    """Wait until *count* spans are stored, and give their ids."""
    connection = await asyncpg.connect(database_url)
    try:
        async with asyncio.timeout(60):
            while True:
                found = await connection.fetch("SELECT span_id FROM spans")
                if len(found) >= count:
                    return [record["span_id"] for record in found]
                await asyncio.sleep(0.05)
    finally:
        await connection.close()


def span_ids(records: list[Record]) -> set[str]:
    """Give the ids of all spans of *records*."""
    return {
        span.span_id for record in records for span in decode(record, max_bytes=64 * _MIB).spans
    }


def some_records(seed: int, count: int) -> list[Record]:
    """Give *count* records of generated traces."""
    return [record_of(payload) for payload in generated_requests(seed, traces=30, requests=count)]


async def test_queued_records_are_stored_soon_after_the_start(
    phoenix_database: str, tmp_path: Path
) -> None:
    records = some_records(11, 8)
    began = time.monotonic()

    async with running(tmp_path, phoenix_database) as (exporter, writer):
        for record in records:
            await writer.consume(record)
        found = await stored_spans(phoenix_database, len(span_ids(records)))
        seconds = time.monotonic() - began
        assert exporter.process
        cpu = psutil.Process(exporter.process.pid).cpu_times()
        status = await exporter.says(lambda status: status.values["exported_records"] == 8)

    assert set(found) == span_ids(records) and len(found) == len(set(found))
    # It shares two cores with other tests.
    assert seconds < 10
    assert cpu.user + cpu.system < 3
    assert status.values["waiting"] == ""
    assert status.values["stored_spans"] == len(found)


async def test_an_idle_exporter_takes_less_than_120_mb(
    phoenix_database: str, tmp_path: Path
) -> None:
    async with running(tmp_path, phoenix_database) as (exporter, _):
        await exporter.says(lambda status: status.values["failed_tries"] == 0)
        await asyncio.sleep(1)
        assert exporter.process
        memory = Path(f"/proc/{exporter.process.pid}/statm").read_text().split()
        modules = Path(f"/proc/{exporter.process.pid}/maps").read_text()

    assert int(memory[1]) * os.sysconf("SC_PAGE_SIZE") < 120e6
    assert "numpy" not in modules and "pandas" not in modules


async def test_killed_again_and_again_it_stores_every_span_once(
    phoenix_database: str, tmp_path: Path
) -> None:
    records = some_records(12, 30)

    async with running(tmp_path, phoenix_database) as (exporter, writer):
        for record in records:
            await writer.consume(record)
            if record in records[::10]:
                await exporter.says(lambda status: True)
                exporter.stop(signal.SIGKILL)
                exporter.start()
        found = await stored_spans(phoenix_database, len(span_ids(records)))

    assert set(found) == span_ids(records) and len(found) == len(set(found))
    assert exporter.dead_letters.list() == []


async def test_what_cannot_be_read_or_stored_goes_to_the_dead_letters_whole(
    phoenix_database: str, tmp_path: Path
) -> None:
    good, bad_id, twin = (
        Span(trace_id=b"t" * 16, span_id=b"goodspan", name="good", start_time_unix_nano=1),
        Span(trace_id=b"t" * 16, span_id=bytes(8), name="bad id", start_time_unix_nano=1),
        Span(trace_id=b"u" * 16, span_id=b"goodspan", name="twin", start_time_unix_nano=1),
    )
    request = ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[bad_id, good, twin])])]
    )

    async with running(tmp_path, phoenix_database) as (exporter, writer):
        await writer.consume(record_of(b"not protobuf"))
        await writer.consume(record_of(request.SerializeToString()))
        status = await exporter.says(lambda status: status.values["exported_records"] == 2)

    letters = exporter.dead_letters.list()
    kept = {
        letter.what: found[1].payload
        for letter in letters
        if (found := exporter.dead_letters.show(letter.letter_id)) and letter.what == "record"
    }
    names = {
        span.resource_spans[0].scope_spans[0].spans[0].name
        for letter in letters
        if letter.what == "span"
        and (found := exporter.dead_letters.show(letter.letter_id))
        and (span := ExportTraceServiceRequest.FromString(found[1].payload))
    }
    assert kept == {"record": b"not protobuf"}
    assert names == {"bad id", "twin"}
    assert status.values["dead_letters"] == 3
    assert await stored_spans(phoenix_database, 1) == [b"goodspan".hex()]


async def test_an_unknown_revision_keeps_records_in_the_queue_and_says_so(
    phoenix_database: str, tmp_path: Path
) -> None:
    database = await asyncpg.connect(phoenix_database)
    await database.execute("UPDATE alembic_version SET version_num = 'fromthefuture'")
    records = some_records(13, 2)

    async with running(tmp_path, phoenix_database) as (exporter, writer):
        for record in records:
            await writer.consume(record)
        status = await exporter.says(lambda status: bool(status.values["waiting"]))
        assert await database.fetchval("SELECT count(*) FROM spans") == 0
        await database.execute("UPDATE alembic_version SET version_num = '4aad9107d196'")
        found = await stored_spans(phoenix_database, len(span_ids(records)))
        await exporter.says(lambda status: not status.values["waiting"])
    await database.close()

    assert "fromthefuture" in str(status.values["waiting"])
    assert set(found) == span_ids(records)
    assert exporter.log.count("spans are kept in the queue") == 1
    assert exporter.log.count("spans are stored again") == 1


async def test_without_a_database_it_waits_and_says_what_to_set(tmp_path: Path) -> None:
    async with running(tmp_path, None) as (exporter, _):
        status = await exporter.says(lambda status: bool(status.values["waiting"]))

    assert "TRACEQUILL_DATABASE_URL" in str(status.values["waiting"])


async def test_a_database_that_does_not_answer_is_waited_for(tmp_path: Path) -> None:
    url = "postgresql://someone:secret@127.0.0.1:1/app"

    async with running(tmp_path, url) as (exporter, _):
        status = await exporter.says(lambda status: status.values["failed_tries"] > 1)

    assert "no connection" in str(status.values["waiting"])
    assert "secret" not in exporter.log


async def test_a_url_of_another_database_is_refused_in_one_sentence(tmp_path: Path) -> None:
    exporter = ExporterProcess(tmp_path, "mysql://localhost/app")
    exporter.start()
    assert exporter.process

    assert exporter.process.wait(20) == 2
    assert "begins with 'mysql'" in exporter.log
    assert "Traceback" not in exporter.log
