"""The exporter on a real Postgres: replays, refusals, faults, two at a time."""

from __future__ import annotations

import asyncio
import json
import random
import string
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.integration.collector.exporting import (
    RejectedSpans,
    export,
    record_of,
    spans_of,
)
from tests.integration.collector.generated import generated_requests
from tests.integration.collector.oracle import assert_same_rows, stored_rows
from tracequill_collector.errors import RetryableError
from tracequill_collector.exporter.postgres import PostgresExporter, UnforeseenError
from tracequill_collector.exporter.schema import SchemaError
from tracequill_collector.pipeline import Record, Span

pytestmark = pytest.mark.integration

_ROW_VERSIONS = " UNION ALL ".join(
    f"SELECT '{table}', ctid::text, xmin::text FROM {table}"
    for table in (
        "projects",
        "project_sessions",
        "traces",
        "spans",
        "span_costs",
        "span_cost_details",
    )
)


@pytest.fixture
async def database(phoenix_database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to look at, and to disturb, what the exporter does."""
    connection = await asyncpg.connect(phoenix_database)
    yield connection
    await connection.close()


def span(number: int, *, trace: int = 1, **given: object) -> Span:
    """Give a small span; *given* replaces fields."""
    fields: dict[str, object] = {
        "trace_id": f"{trace:032x}",
        "span_id": f"{number:016x}",
        "parent_id": None,
        "name": "small",
        "span_kind": "CHAIN",
        "start_time_unix_ns": 1_770_000_000_000_000_000,
        "end_time_unix_ns": 1_770_000_001_000_000_000,
        "attributes": {},
        "events": [],
        "status_code": "OK",
        "status_message": "",
        "project_name": "app",
    }
    return Span(**(fields | given))  # type: ignore[arg-type]


def llm_tokens(count: int) -> dict[str, object]:
    """Give the attributes of a span with *count* prompt tokens."""
    return {"llm": {"token_count": {"prompt": count}}}


async def test_a_replay_changes_nothing_and_uses_no_ids(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record], records: list[Record]
) -> None:
    await export(phoenix_database, spans_of(records))
    before = await stored_rows(phoenix_database)
    used = await database.fetch("SELECT sequencename, last_value FROM pg_sequences ORDER BY 1")
    versions = await database.fetch(_ROW_VERSIONS)

    counts, _ = await export(phoenix_database, spans_of(records), spans_of(records[::-1]))

    assert counts.stored_spans == 0
    assert_same_rows(await stored_rows(phoenix_database), before)
    assert used == await database.fetch(
        "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"
    )
    assert versions == await database.fetch(_ROW_VERSIONS)


async def test_a_span_id_of_another_trace_is_rejected_and_leaves_no_empty_trace(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    _, rejected = await export(
        phoenix_database,
        [span(1, trace=1), span(2, trace=1)],
        [span(1, trace=2), span(3, trace=3), span(3, trace=4)],
    )

    assert rejected.span_ids == [f"{1:016x}", f"{3:016x}"]
    assert "already stored under trace" in rejected[0].reason
    assert await database.fetchval("SELECT array_agg(trace_id ORDER BY trace_id) FROM traces") == [
        f"{1:032x}",
        f"{3:032x}",
    ]


async def test_one_bad_span_never_costs_another(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    batch = [span(number, trace=number) for number in range(1, 101)]
    batch[20] = span(21, trace=21, span_kind="LLM", attributes=llm_tokens(2**40))
    batch[36] = span(37, trace=37, name="small\0")  # the processor would have repaired it
    batch[70] = span(71, trace=71, status_code="OK", attributes={"session": {"id": "x" * 3000}})
    # Compression would make anything but noise short enough for the index.
    noise = random.Random(1).choices(string.ascii_letters, k=9000)
    too_long = {"session": {"id": "".join(noise)}}
    batch[71] = span(72, trace=72, attributes=too_long)

    counts, rejected = await export(phoenix_database, batch)

    assert rejected.span_ids == [f"{number:016x}" for number in (21, 37, 72)]
    assert "llm.token_count.prompt is 1099511627776" in rejected[0].reason
    assert "22021" in rejected[1].reason and "54000" in rejected[2].reason
    assert "small" not in rejected[1].reason
    assert counts.stored_spans == 97
    assert await database.fetchval("SELECT count(*) FROM traces") == 97


async def test_a_batch_of_bad_spans_alone_is_rejected_when_a_plain_span_can_be_stored(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    bad = [span(number, name="\0") for number in (1, 2)]

    _, rejected = await export(phoenix_database, bad)

    assert len(rejected) == 2
    assert await database.fetchval("SELECT count(*) FROM spans") == 0


async def test_a_systemic_error_waits_even_when_its_state_looks_like_a_bad_span(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    await database.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '22000'; END $$; "
        "CREATE TRIGGER fail BEFORE INSERT ON spans EXECUTE FUNCTION fail()"
    )

    with pytest.raises(UnforeseenError, match="not even a plain one"):
        await export(phoenix_database, [span(1), span(2)])


async def test_an_unforeseen_state_waits_and_rejects_nothing(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    await database.execute("ALTER TABLE spans ADD CHECK (name <> 'small')")
    rejected = RejectedSpans()
    exporter = PostgresExporter(phoenix_database, schema=None, reject=rejected.take)

    with pytest.raises(UnforeseenError, match="SQLSTATE 23514"):
        await exporter.consume([span(1)])
    await database.execute("ALTER TABLE spans DROP CONSTRAINT spans_name_check")
    await exporter.consume([span(1)])
    await exporter.close()

    assert not rejected
    assert exporter.counts.stored_spans == 1


async def test_an_unknown_revision_is_not_written_to(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    exporter = PostgresExporter(phoenix_database, schema=None, reject=RejectedSpans().take)
    await exporter.consume([span(1)])
    await database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")

    with pytest.raises(SchemaError, match="revision ffffffffffff"):
        await exporter.consume([span(2)])
    with pytest.raises(SchemaError, match="revision ffffffffffff"):
        await exporter.check()
    assert await database.fetchval("SELECT count(*) FROM spans") == 1
    await database.execute("UPDATE alembic_version SET version_num = '4aad9107d196'")
    await exporter.consume([span(2)])
    await exporter.close()

    assert await database.fetchval("SELECT count(*) FROM spans") == 2


async def test_nothing_is_written_before_the_built_in_prices_exist(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    await database.execute("DELETE FROM token_prices")

    with pytest.raises(SchemaError, match="prices"):
        await export(phoenix_database, [span(1)])


async def test_a_database_without_phoenix_is_waited_for(postgres_url: str) -> None:
    with pytest.raises(SchemaError, match="Start Phoenix"):
        await export(postgres_url, [span(1)])


@pytest.mark.parametrize(
    "migration",
    [
        "ALTER TABLE spans ADD COLUMN added int",
        "CREATE INDEX ON spans (name)",
        # Of tables that are only read: to wait for them could make the migration fail.
        "ALTER TABLE generative_models ADD COLUMN added int",
        "ALTER TABLE token_prices ADD COLUMN added int",
    ],
)
async def test_a_migration_under_way_is_waited_for_without_blocking_it(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record], migration: str
) -> None:
    exporter = PostgresExporter(phoenix_database, schema=None, reject=RejectedSpans().take)
    await exporter.check()

    async with database.transaction():
        await database.execute(migration)
        with pytest.raises(RetryableError, match="55P03: the tables are locked"):
            await exporter.consume([span(1)])
    await exporter.consume([span(1)])
    await exporter.close()

    assert await database.fetchval("SELECT count(*) FROM spans") == 1


async def test_no_database_is_waited_for_and_its_password_not_told() -> None:
    url = "postgresql+asyncpg://someone:secret@127.0.0.1:1/app"

    with pytest.raises(RetryableError, match="no connection to postgresql://someone:") as caught:
        await export(url, [span(1)])

    assert "secret" not in str(caught.value)


async def test_a_connection_killed_in_the_middle_is_retried_without_loss_or_duplicate(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    exporter = PostgresExporter(phoenix_database, schema=None, reject=RejectedSpans().take)
    await exporter.consume([span(1)])
    batch = [span(number) for number in range(1, 50)]

    # Hold the trace, so that the batch waits in the middle of its transaction; then kill it.
    async with database.transaction():
        await database.execute("SELECT FROM traces FOR UPDATE")
        async with asyncio.TaskGroup() as tasks:
            storing = tasks.create_task(_fails_retryably(exporter, batch))
            await _kill_whoever_waits(database)
    assert await storing
    assert await database.fetchval("SELECT count(*) FROM spans") == 1
    await exporter.consume(batch)
    await exporter.close()

    assert await database.fetchval("SELECT count(*) FROM spans") == 49


async def _kill_whoever_waits(database: asyncpg.Connection[asyncpg.Record]) -> None:
    while True:
        if await database.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            return
        await asyncio.sleep(0.01)


async def _fails_retryably(exporter: PostgresExporter, batch: list[Span]) -> bool:
    try:
        await exporter.consume(batch)
    except RetryableError as error:
        return not isinstance(error, UnforeseenError)
    return False


async def test_parents_in_a_circle_end_and_count_each_other_once(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    def member(number: int, parent: int) -> Span:
        return span(
            number, parent_id=f"{parent:016x}", span_kind="LLM", attributes=llm_tokens(number)
        )

    await export(phoenix_database, [member(1, 2), member(2, 3)], [member(3, 1), member(4, 4)])

    assert await database.fetchval("SELECT count(*) FROM spans") == 4
    assert (
        await database.fetchval(
            "SELECT cumulative_llm_token_count_prompt FROM spans WHERE span_id = $1", f"{4:016x}"
        )
        == 4
    )


async def test_projects_with_new_spans_are_announced_once_a_second_at_most(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    heard: asyncio.Queue[list[int]] = asyncio.Queue()
    await database.add_listener(
        "tracequill_spans", lambda *event: heard.put_nowait(json.loads(event[3]))
    )
    exporter = PostgresExporter(phoenix_database, schema=None, reject=RejectedSpans().take)

    await exporter.consume([span(1), span(2, trace=2, project_name="other")])
    await exporter.announce()
    await exporter.consume([span(1), span(3)])
    await exporter.announce()

    projects = await database.fetch("SELECT name, id FROM projects")
    ids = {record["name"]: record["id"] for record in projects}
    assert await heard.get() == sorted([ids["app"], ids["other"]])
    assert heard.empty()
    while heard.empty():
        await exporter.announce()
        await asyncio.sleep(0.05)
    assert await heard.get() == [ids["app"]]
    await exporter.close()


async def test_two_exporters_with_the_same_traces_and_sessions_get_the_totals_right(
    phoenix_database: str, new_database: object
) -> None:
    requests = [record_of(payload) for payload in generated_requests(7, traces=40, requests=40)]

    async def half(records: list[Record]) -> None:
        exporter = PostgresExporter(phoenix_database, schema=None, reject=RejectedSpans().take)
        for record in records:
            while True:
                try:
                    await exporter.consume(spans_of([record]))
                    break
                except UnforeseenError:
                    raise
                except RetryableError:
                    await asyncio.sleep(0.01)
        await exporter.close()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(half(requests[::2]))
        tasks.create_task(half(requests[1::2]))
    assert callable(new_database)
    alone = new_database()
    await export(alone, spans_of(requests))

    both, one = await stored_rows(phoenix_database), await stored_rows(alone)
    # Who comes first decides project, session and which of two versions of a span is stored; the
    # sums must be those of what is stored.
    assert {row[0] for row in both["spans"]} == {row[0] for row in one["spans"]}
    assert _wrong_sums(both["spans"]) == []


def _wrong_sums(spans: list[tuple[object, ...]]) -> list[object]:
    """Give the spans whose cumulative counts are not the sums of what is below them."""
    below: dict[object, list[tuple[object, ...]]] = {}
    for row in spans:
        below.setdefault((row[1], row[2]), []).append(row)

    def total(row: tuple[object, ...]) -> list[int]:
        own = [int(row[9] == "ERROR"), int(row[14] or 0), int(row[15] or 0)]  # type: ignore[call-overload]
        children = [total(child) for child in below.get((row[1], row[0]), [])]
        return [sum(column) for column in zip(own, *children, strict=True)]

    return [row[0] for row in spans if total(row) != list(row[11:14])]


async def test_another_postgres_schema(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    await database.execute('ALTER SCHEMA public RENAME TO "Phoenix\'s"')
    exporter = PostgresExporter(phoenix_database, schema="Phoenix's", reject=RejectedSpans().take)

    await exporter.consume([span(1, span_kind="LLM")])
    await exporter.close()

    assert await database.fetchval('SELECT count(*) FROM "Phoenix\'s".spans') == 1
