"""Phoenix's own migrations run under an exporter that is storing (promise 8 of DESIGN)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import asyncpg
import pytest

from tests.integration.collector.exporting import export, record_of, spans_of
from tests.integration.collector.generated import generated_requests
from tests.integration.collector.oracle import Phoenix, assert_same_rows, stored_rows
from tests.integration.collector.test_exporter_process import running, span_ids, stored_spans
from tracequill_collector.exporter.schema import KNOWN_REVISIONS
from tracequill_collector.pipeline import Record
from tracequill_collector.queue.writer import QueueWriter

pytestmark = pytest.mark.integration

_OLDER = "132d988c5bef"
"""Three revisions before the known one; what lies between changes spans and other tables."""


async def test_a_migration_under_a_running_exporter_is_waited_for_and_nothing_is_lost(
    phoenix: Phoenix, phoenix_database: str, new_database: Callable[[], str], tmp_path: Path
) -> None:
    records = [record_of(payload) for payload in generated_requests(21, traces=60, requests=300)]
    before, during, after = records[:100], records[100:200], records[200:]

    async with running(tmp_path, phoenix_database) as (exporter, writer):
        await _feed(writer, before[:20])
        await stored_spans(phoenix_database, 1)
        reached = await _meanwhile(writer, before[20:], phoenix, phoenix_database, _OLDER)
        status = await exporter.says(lambda status: _OLDER in str(status.values["waiting"]))
        stored = await _count(phoenix_database)
        await _feed(writer, during[:50])
        await exporter.says(lambda now: now.values["failed_tries"] > status.values["failed_tries"])
        unchanged = await _count(phoenix_database)
        head = await _meanwhile(writer, during[50:], phoenix, phoenix_database, "head")
        await _feed(writer, after)
        found = await stored_spans(phoenix_database, len(span_ids(records)))
        await exporter.says(lambda status: not status.values["waiting"])

    assert reached == _OLDER and stored == unchanged
    assert {head} == KNOWN_REVISIONS
    assert "Run the releases of Tracequill and Phoenix that belong together" in str(
        status.values["waiting"]
    )
    assert set(found) == span_ids(records) and len(found) == len(set(found))
    assert exporter.dead_letters.list() == []
    # No error that nobody has foreseen, like that of a statement prepared for other tables.
    assert " ERROR " not in exporter.log
    alone = new_database()
    await export(alone, spans_of(records))
    assert_same_rows(await stored_rows(phoenix_database), await stored_rows(alone))


async def _meanwhile(
    writer: QueueWriter, records: Sequence[Record], phoenix: Phoenix, database: str, revision: str
) -> str:
    """Migrate *database* to *revision* while *records* come in; give the revision reached."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_feed(writer, records))
        migrating = tasks.create_task(asyncio.to_thread(phoenix.migrate, database, revision))
    return migrating.result()


async def _feed(writer: QueueWriter, records: Sequence[Record]) -> None:
    """Queue *records* at about the pace of an application."""
    for record in records:
        await writer.consume(record)
        await asyncio.sleep(0.01)


async def _count(database: str) -> int:
    connection = await asyncpg.connect(database)
    try:
        count: int = await connection.fetchval("SELECT count(*) FROM spans")
        return count
    finally:
        await connection.close()
