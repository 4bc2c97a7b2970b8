"""``tracequill replay`` with a real queue, exporter process and database."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.exchange_cases import own_case
from tests.integration.collector.exporting import record_of
from tests.integration.collector.oracle import assert_same_rows, stored_rows
from tests.integration.collector.replay_rig import (
    Command,
    all_done,
    everything,
    execute,
    lose_all_traces,
    queue_now,
    run,
)
from tests.integration.collector.test_exporter_process import (
    ExporterProcess,
    running,
    some_records,
    span_ids,
    stored_spans,
)
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.replay import Progress, Replays, Request
from tracequill_collector.status import write_status

pytestmark = pytest.mark.integration


def spans_record(first: int, count: int, project: str = "bot", prompt: str = "") -> Record:
    """Give a record of *count* spans, each a trace of its own, numbered from *first*."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.append(_pair("openinference.project.name", project))
    spans = resource_spans.scope_spans.add().spans
    for number in range(first, first + count):
        spans.append(
            Span(
                trace_id=(number + 1).to_bytes(16, "big"),
                span_id=(number + 1).to_bytes(8, "big"),
                name=f"span {number}",
                start_time_unix_nano=1_770_000_000_000_000_000 + number,
                end_time_unix_nano=1_770_000_001_000_000_000 + number,
                attributes=[_pair("input.value", prompt or f"question {number}")],
            )
        )
    return record_of(request.SerializeToString())


def _pair(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


async def test_a_restored_database_gets_everything_again_once_and_then_nothing_changes(
    phoenix_database: str, tmp_path: Path
) -> None:
    records = some_records(31, 8)
    async with running(tmp_path, phoenix_database) as (exporter, writer):
        await queue_now(writer, records)
        await all_done(exporter, 8)
        before = await stored_rows(phoenix_database)
        count = len(await stored_spans(phoenix_database, 1))
        await lose_all_traces(phoenix_database)

        said = await run(exporter, "replay", "--since", "1h", "--json")
        after = await stored_rows(phoenix_database)
        rows = await everything(phoenix_database)
        again = await run(exporter, "replay", "--since", "1h")

        assert await everything(phoenix_database) == rows
    assert_same_rows(after, before)
    assert said.facts["stored_spans"] == count == len(span_ids(records))
    assert said.facts["records"] == 8
    assert said.facts["replaced_spans"] == said.facts["dead_letters"] == 0
    assert again.code == 0 and "0 spans stored, 0 replaced, " in again.out
    assert list((tmp_path / "collector" / "replay").iterdir()) == []


async def test_with_replace_changed_rows_are_written_anew_and_annotations_stay(
    phoenix_database: str, tmp_path: Path
) -> None:
    records = [spans_record(0, 5), spans_record(5, 5)]
    async with running(tmp_path, phoenix_database) as (exporter, writer):
        await queue_now(writer, records)
        await all_done(exporter, 2)
        before = await everything(phoenix_database)
        await execute(
            phoenix_database,
            "INSERT INTO span_annotations (span_rowid, name, metadata, annotator_kind, source, "
            "identifier) SELECT id, 'good', '{}', 'HUMAN', 'APP', '' FROM spans WHERE name = $1",
            "span 7",
        )
        annotated = await execute(phoenix_database, "SELECT id, span_rowid FROM span_annotations")
        await execute(
            phoenix_database,
            "UPDATE spans SET name = 'misread', attributes = '{}' WHERE name = 'span 7'",
        )

        kept = await run(exporter, "replay", "--since", "1h", "--json")
        names = await execute(phoenix_database, "SELECT 1 FROM spans WHERE name = 'misread'")
        said = await run(exporter, "replay", "--since", "1h", "--replace", "--json")

        assert len(names) == 1 and kept.facts["seen_before_spans"] == 10
        assert said.facts["replaced_spans"] == 10 and said.facts["stored_spans"] == 0
        assert await everything(phoenix_database) == before
        assert (
            await execute(phoenix_database, "SELECT id, span_rowid FROM span_annotations")
            == annotated
        )


async def test_only_the_project_and_the_time_that_were_asked_for_are_touched(
    phoenix_database: str, tmp_path: Path
) -> None:
    async with running(tmp_path, phoenix_database) as (exporter, writer):
        await queue_now(writer, [spans_record(0, 3, "first"), spans_record(3, 3, "second")])
        middle = time.time_ns()
        await asyncio.sleep(0.01)
        headed = replace(spans_record(6, 3, "second"), project_name="first")
        await queue_now(writer, [headed, record_of(b"no request")])
        await all_done(exporter, 4)
        [letter] = exporter.dead_letters.list()
        exporter.dead_letters.remove(letter.letter_id)
        await lose_all_traces(phoenix_database)

        first = await run(exporter, "replay", "--since", "1h", "--project", "first", "--json")
        only_first = await stored_spans(phoenix_database, 6)
        of_nobody = exporter.dead_letters.list()
        await lose_all_traces(phoenix_database)
        until = f"{middle // 10**9}.{middle % 10**9:09d}"
        early = await run(
            exporter, "replay", "--since", "1h", "--until", _iso(float(until)), "--json"
        )
        only_early = await stored_spans(phoenix_database, 6)

    assert first.facts["stored_spans"] == early.facts["stored_spans"] == 6
    assert {int(span_id, 16) for span_id in only_first} == {1, 2, 3, 7, 8, 9}
    assert {int(span_id, 16) for span_id in only_early} == {1, 2, 3, 4, 5, 6}
    assert of_nobody == []


def _iso(unix_seconds: float) -> str:
    moment = time.gmtime(unix_seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment) + f"{unix_seconds % 1:.6f}"[1:]


async def test_calls_through_the_proxy_are_interpreted_anew(
    phoenix_database: str, tmp_path: Path
) -> None:
    case = own_case("openai-chat")
    exchanges = [
        case.exchange(span_id=f"{number + 1:016x}", project_name=name)
        for number, name in enumerate(("", "bot", "Grüße\x00"))
    ]
    async with running(tmp_path, phoenix_database) as (exporter, _):
        await _recorded(
            tmp_path,
            [Record(RecordKind.EXCHANGE, time.time_ns(), one.to_bytes()) for one in exchanges]
            + [Record(RecordKind.EXCHANGE, time.time_ns(), b"no exchange")],
        )
        await exporter.says(lambda status: True)

        said = await run(exporter, "replay", "--since", "1h", "--json")
        rows = await execute(
            phoenix_database,
            "SELECT span_id, projects.name AS project, span_kind FROM spans "
            "JOIN traces ON traces.id = trace_rowid JOIN projects ON projects.id = project_rowid "
            "ORDER BY span_id",
        )
        await execute(phoenix_database, "UPDATE spans SET span_kind = 'UNKNOWN'")
        anew = await run(exporter, "replay", "--since", "1h", "--replace", "--json")
        kinds = await execute(phoenix_database, "SELECT DISTINCT span_kind FROM spans")

    assert [row["span_id"] for row in rows] == [one.span_id for one in exchanges]
    assert {row["span_kind"] for row in rows} == {"LLM"} == {row["span_kind"] for row in kinds}
    assert said.facts["stored_spans"] == anew.facts["replaced_spans"] == 3
    assert rows[0]["project"] == "default"


async def _recorded(folder: Path, records: list[Record]) -> None:
    """Put *records* into the proxy's queue, and let a recorder be done with them."""
    queue = folder / "proxy" / "queue"
    writer = await QueueWriter.open(queue, max_bytes=64 * 1024 * 1024)
    for record in records:
        await writer.consume(record)
    await writer.close()
    reader = await QueueReader.open(queue, consumer="collector", keep_seconds=3600)
    found = await reader.read(max_records=100, max_bytes=1 << 30, wait_seconds=5)
    await reader.commit(found[-1].sequence + 1)
    await reader.close()


async def test_a_killed_exporter_goes_on_with_the_replay_and_new_spans_do_not_wait_for_it(
    phoenix_database: str, tmp_path: Path
) -> None:
    # Batches end at a thousand records.
    records = [spans_record(number, 1) for number in range(7_000)]
    async with running(tmp_path, phoenix_database) as (exporter, writer):
        async with asyncio.TaskGroup() as tasks:
            for share in range(100):
                tasks.create_task(queue_now(writer, records[share::100]))
        await all_done(exporter, len(records))
        await lose_all_traces(phoenix_database)
        command = await Command.start(exporter, "replay", "--since", "1h", "--json")

        begun = await _progress(tmp_path, lambda progress: progress.records >= 1_000)
        exporter.stop(signal.SIGKILL)
        exporter.start()
        await _progress(tmp_path, lambda progress: progress.records > begun.records)
        await queue_now(writer, [spans_record(100_000, 1)])
        said = await command.end()
        found = await stored_spans(phoenix_database, 7_001)
        later = await execute(
            phoenix_database,
            "SELECT count(*) FROM spans WHERE id > (SELECT id FROM spans WHERE name = $1)",
            "span 100000",
        )

    assert begun.records < 7_000
    # Row ids are given in the order of writing.
    assert later[0]["count"] >= 1_000
    assert said.facts["problem"] == ""
    assert said.facts["records"] >= 7_000
    assert len(found) == len(set(found)) == 7_001


async def _asked(folder: Path) -> None:
    """Wait for a request in *folder*."""
    async with asyncio.timeout(20):
        while True:
            if list(folder.glob("*.request")):
                return
            await asyncio.sleep(0.01)


async def _progress(folder: Path, wanted: object) -> Progress:
    """Wait for a progress of the only request that is *wanted*."""
    assert callable(wanted)
    replays = Replays(folder / "collector" / "replay")
    async with asyncio.timeout(30):
        while True:
            for path in (folder / "collector" / "replay").glob("*.progress"):
                progress = replays.progress(Request(path.stem))
                if progress is not None and wanted(progress):
                    return progress
            await asyncio.sleep(0.005)


async def test_what_it_waits_for_is_told_and_an_interrupt_cancels(tmp_path: Path) -> None:
    folder = tmp_path / "collector"
    (folder / "queue").mkdir(parents=True)

    async def say() -> None:
        # A real exporter would have done this replay of nothing before it is interrupted.
        while True:
            values = {"stored_spans": 0, "waiting": "no connection to the database."}
            write_status(folder / "exporter.status.json", values)
            await asyncio.sleep(0.5)

    async with asyncio.TaskGroup() as tasks:
        saying = tasks.create_task(say())
        await asyncio.sleep(0)
        command = await Command.start(ExporterProcess(tmp_path, None), "replay", "--since", "1h")
        await _asked(folder / "replay")
        assert command.process.stderr is not None
        gone = await command.process.stderr.readline()
        first = await command.process.stderr.readline()
        command.process.send_signal(signal.SIGINT)
        said = await command.end()
        saying.cancel()

    assert said.code == 130
    assert gone == b"The collector's queue holds nothing.\n"
    assert first == b"It waits: no connection to the database.\n"
    assert "Traceback" not in said.err
    assert list((folder / "replay").glob("*.request")) == []


async def test_an_exporter_without_a_database_replays_nothing_and_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, None) as (exporter, _):
        await exporter.says(lambda status: True)
        said = await run(exporter, "replay", "--since", "1h")

    assert said.code == 1
    assert said.err.startswith("tracequill: the exporter has no database")


async def test_of_a_queue_that_still_holds_everything_nothing_is_told(
    phoenix_database: str, tmp_path: Path
) -> None:
    async with running(tmp_path, phoenix_database) as (exporter, writer):
        await queue_now(writer, [spans_record(0, 1)])
        await all_done(exporter, 1)
        early = await run(exporter, "replay", "--since", "2d", "--json")
        late = await run(exporter, "replay", "--since", "0.001s", "--json")

    assert early.err == "" and early.facts["records"] == 1
    assert late.err == "" and late.facts["records"] == 0


async def test_without_an_exporter_it_says_so(tmp_path: Path) -> None:
    command = await Command.start(ExporterProcess(tmp_path, None), "replay", "--since", "1h")

    said = await command.end()

    assert said.code == 1
    assert said.err.startswith(f"tracequill: no exporter runs at {tmp_path}.")
