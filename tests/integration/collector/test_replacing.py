"""Spans that are stored already are written anew, in place, and all that follows from them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.collector.exporting import RejectedSpans, record_of, spans_of
from tests.integration.collector.generated import generated_requests
from tests.integration.collector.oracle import EMPTY, assert_same_rows, execute, stored_rows
from tests.integration.collector.small import BEGIN, SECOND, llm, rows_of, session, span
from tracequill_collector.exporter.postgres import ExporterCounts, PostgresExporter
from tracequill_collector.pipeline import Record, Span

pytestmark = pytest.mark.integration

NewDatabase = Callable[[], str]


@pytest.fixture
async def database(phoenix_database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to look at what is stored."""
    connection = await asyncpg.connect(phoenix_database)
    yield connection
    await connection.close()


async def store(database: str, *batches: Sequence[Span]) -> ExporterCounts:
    """Store *batches* as they come."""
    return await _consume(database, batches, is_replacing=False)


async def rewrite(database: str, *batches: Sequence[Span]) -> ExporterCounts:
    """Store *batches*, writing anew what is stored already."""
    return await _consume(database, batches, is_replacing=True)


async def _consume(
    database: str, batches: Sequence[Sequence[Span]], *, is_replacing: bool
) -> ExporterCounts:
    rejected = RejectedSpans()
    exporter = PostgresExporter(database, schema=None, reject=rejected.take)
    try:
        for batch in batches:
            await exporter.consume(batch, is_replacing=is_replacing)
    finally:
        await exporter.close()
    assert rejected == []
    return exporter.counts


async def test_a_span_keeps_its_row_and_its_annotations(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    await store(phoenix_database, [span(1)])
    rowid = await database.fetchval("SELECT id FROM spans")
    await database.execute(
        "INSERT INTO span_annotations (span_rowid, name, metadata, annotator_kind, source, "
        "identifier) VALUES ($1, 'good', '{}', 'HUMAN', 'APP', '')",
        rowid,
    )

    counts = await rewrite(phoenix_database, [span(1, name="after", status_code="ERROR")])

    assert (counts.stored_spans, counts.replaced_spans, counts.seen_before_spans) == (0, 1, 0)
    found = await rows_of(database, "SELECT id, name, status_code FROM spans")
    assert found == [(rowid, "after", "ERROR")]
    assert await database.fetchval("SELECT span_rowid FROM span_annotations") == rowid


async def test_every_part_of_a_span_is_written(
    phoenix_database: str, new_database: NewDatabase, records: list[Record]
) -> None:
    fresh = new_database()
    wanted = list({one.span_id: one for one in spans_of(records)}.values())
    # What was stored before has nothing in common with them but ids, trace and times.
    poor = [
        replace(
            span(1),
            trace_id=one.trace_id,
            span_id=one.span_id,
            start_time_unix_ns=one.start_time_unix_ns,
            end_time_unix_ns=one.end_time_unix_ns,
            project_name=one.project_name,
        )
        for one in wanted
    ]
    await store(phoenix_database, poor)
    await store(fresh, wanted)

    counts = await rewrite(phoenix_database, wanted)

    assert counts.replaced_spans == len(wanted)
    assert_same_rows(await stored_rows(phoenix_database), await stored_rows(fresh))


async def test_costs_are_replaced_and_taken_away(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    await store(phoenix_database, [span(1, tokens=10), span(2, tokens=20), span(3)])

    await rewrite(phoenix_database, [span(1, tokens=100), span(2), span(3, tokens=30)])

    assert await rows_of(
        database,
        "SELECT s.span_id, c.total_tokens, count(*) FROM span_costs c "
        "JOIN spans s ON s.id = c.span_rowid JOIN span_cost_details d ON d.span_cost_id = c.id "
        "GROUP BY 1, 2 ORDER BY 1",
    ) == [(f"{1:016x}", 200.0, 2), (f"{3:016x}", 60.0, 2)]
    assert await database.fetchval("SELECT count(*) FROM span_cost_details") == 4


async def test_a_changed_parent_takes_its_sums_along(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    tree = [span(1), span(2, parent=1), span(3, parent=1), span(4, parent=2, tokens=7)]
    await store(phoenix_database, tree)

    await rewrite(phoenix_database, [span(4, parent=3, tokens=9, status_code="ERROR")])

    sums = await rows_of(
        database,
        "SELECT cumulative_llm_token_count_prompt, cumulative_error_count FROM spans "
        "ORDER BY span_id",
    )
    assert sums == [(9, 1), (0, 0), (9, 1), (9, 1)]


async def test_ranges_become_as_narrow_as_the_spans_are(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    await store(
        phoenix_database,
        [span(1, attributes=session("s")), span(90), span(50, trace=2, attributes=session("s"))],
    )

    await rewrite(phoenix_database, [span(90, start_time_unix_ns=BEGIN, end_time_unix_ns=BEGIN)])

    ranges = (
        "SELECT extract(epoch FROM start_time)::bigint - $1, "
        "extract(epoch FROM end_time)::bigint - $1 FROM "
    )
    begin = BEGIN // SECOND
    traces = await rows_of(database, f"{ranges} traces ORDER BY trace_id", begin)
    sessions = await rows_of(database, f"{ranges} project_sessions", begin)
    assert (traces, sessions) == ([(0, 11), (50, 60)], [(0, 60)])


async def test_the_project_and_the_session_of_a_trace_stay(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    await store(phoenix_database, [span(1, attributes=session("first")), span(2, trace=2)])

    await rewrite(
        phoenix_database,
        [
            span(1, attributes=session("second"), project_name="other"),
            span(2, trace=2, attributes=session("third")),
        ],
    )

    assert await rows_of(
        database,
        "SELECT p.name, s.session_id FROM traces t JOIN projects p ON p.id = t.project_rowid "
        "JOIN project_sessions s ON s.id = t.project_session_rowid ORDER BY t.trace_id",
    ) == [("app", "first"), ("app", "third")]
    assert await database.fetchval("SELECT count(*) FROM projects WHERE name = 'other'") == 0


async def test_new_spans_and_stored_ones_in_one_batch(
    phoenix_database: str, new_database: NewDatabase
) -> None:
    fresh = new_database()
    await store(phoenix_database, [span(1), span(3, parent=2, tokens=5)])
    after = [span(1, name="after"), span(2, parent=1, tokens=3), span(3, parent=2, tokens=50)]
    elsewhere = [span(7, trace=2, tokens=1), span(8, trace=2, parent=7, tokens=2)]

    counts = await rewrite(phoenix_database, after + elsewhere)

    assert (counts.stored_spans, counts.replaced_spans) == (3, 2)
    await store(fresh, after + elsewhere)
    assert_same_rows(await stored_rows(phoenix_database), await stored_rows(fresh))


@pytest.mark.parametrize("is_stored", [True, False])
async def test_of_a_span_that_comes_twice_the_last_is_kept(
    phoenix_database: str,
    new_database: NewDatabase,
    database: asyncpg.Connection[asyncpg.Record],
    is_stored: bool,
) -> None:
    fresh = new_database()
    last = [span(1), span(2, parent=1, tokens=4, name="last")]
    if is_stored:
        await store(phoenix_database, [span(2, tokens=1)])
    before_last = span(
        2, parent=1, tokens=9, end_time_unix_ns=BEGIN + 99 * SECOND, attributes=llm(9)
    )

    counts = await rewrite(phoenix_database, [before_last, *last])

    assert counts.stored_spans + counts.replaced_spans == 2
    await store(fresh, last)
    assert_same_rows(await stored_rows(phoenix_database), await stored_rows(fresh))
    assert await database.fetchval("SELECT count(*) FROM span_costs") == 1


async def test_a_bad_span_among_those_that_are_written_anew_is_rejected_alone(
    phoenix_database: str, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    await store(phoenix_database, [span(number) for number in range(1, 9)])
    batch = [span(number, name="after") for number in range(1, 9)]
    batch[4] = span(5, name="\0")
    rejected = RejectedSpans()
    exporter = PostgresExporter(phoenix_database, schema=None, reject=rejected.take)

    await exporter.consume(batch, is_replacing=True)
    await exporter.close()

    assert rejected.span_ids == [f"{5:016x}"]
    assert await database.fetchval("SELECT count(*) FROM spans WHERE name = 'after'") == 7


_NUMBERS = st.integers(1, 9)


@st.composite
def trees(draw: st.DrawFn) -> list[Span]:
    """Give spans of a few traces, each parent with a smaller number than its children."""
    found = []
    for number in draw(st.sets(_NUMBERS, min_size=1)):
        start = BEGIN + draw(st.integers(0, 50)) * SECOND
        found.append(
            span(
                number,
                trace=1 + number % 3,
                parent=draw(st.integers(0, number - 1)),
                tokens=draw(st.sampled_from([0, 0, 3, 50])),
                status_code=draw(st.sampled_from(["OK", "ERROR"])),
                start_time_unix_ns=start,
                end_time_unix_ns=start + draw(st.integers(0, 50)) * SECOND,
            )
        )
    # The session of a trace is decided by its first span, which is why each names it.
    return [
        replace(one, attributes={**one.attributes, **session(one.trace_id[-1])}) for one in found
    ]


@pytest.fixture
async def exporters(
    pair: tuple[str, str],
) -> AsyncIterator[tuple[PostgresExporter, PostgresExporter]]:
    """An exporter for each of two databases; neither may reject anything."""
    rejected = RejectedSpans()
    both = [PostgresExporter(url, schema=None, reject=rejected.take) for url in pair]
    yield both[0], both[1]
    for exporter in both:
        await exporter.close()
    assert rejected == []


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(before=trees(), after=trees(), cut=st.integers(0, 9))
async def test_afterwards_it_is_as_if_the_new_spans_alone_had_come(
    pair: tuple[str, str],
    exporters: tuple[PostgresExporter, PostgresExporter],
    before: list[Span],
    after: list[Span],
    cut: int,
) -> None:
    """And writing the same once more changes nothing."""
    await execute(EMPTY, *pair)
    ours, fresh = exporters
    kept = [one for one in before if one.span_id not in {new.span_id for new in after}]
    await ours.consume(before)
    await fresh.consume(kept)
    await fresh.consume(after)

    await ours.consume(after[:cut], is_replacing=True)
    await ours.consume(after[cut:], is_replacing=True)

    wanted = await stored_rows(pair[1])
    assert_same_rows(await stored_rows(pair[0]), wanted)
    await ours.consume(after, is_replacing=True)
    assert_same_rows(await stored_rows(pair[0]), wanted)


async def test_generated_traces_written_anew_are_the_same_rows(phoenix_database: str) -> None:
    spans = spans_of(
        [record_of(payload) for payload in generated_requests(5, traces=30, requests=5)]
    )
    first = list({one.span_id: one for one in reversed(spans)}.values())
    await store(phoenix_database, first)
    before = await stored_rows(phoenix_database)

    counts = await rewrite(phoenix_database, first[:20], first[10:])

    assert counts.stored_spans == 0
    assert_same_rows(await stored_rows(phoenix_database), before)
