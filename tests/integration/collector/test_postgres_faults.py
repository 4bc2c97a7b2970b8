"""What the exporter does about each error of a real Postgres, by its SQLSTATE."""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import asyncpg
import pytest

from tests.integration.collector.exporting import RejectedSpans
from tests.integration.collector.small import llm, rows_of, session, span
from tracequill_collector.errors import RetryableError
from tracequill_collector.exporter.connection import Connection
from tracequill_collector.exporter.postgres import PostgresExporter, UnforeseenError
from tracequill_collector.pipeline import Span

pytestmark = pytest.mark.integration

_INT4_MAX = 2**31 - 1
_INT8_MAX = 2**63 - 1
_BATCH = [span(number, trace=1 + number % 3) for number in range(1, 11)]


@pytest.fixture
async def database(phoenix_database: str) -> AsyncIterator[Connection]:
    """A connection to look at, and to disturb, what the exporter does."""
    connection = await asyncpg.connect(phoenix_database)
    yield connection
    await connection.close()


@pytest.fixture
def rejected() -> RejectedSpans:
    """What the exporter has given up."""
    return RejectedSpans()


@pytest.fixture
async def exporter(
    phoenix_database: str, rejected: RejectedSpans
) -> AsyncIterator[PostgresExporter]:
    """An exporter that has stored spans before."""
    exporter = PostgresExporter(phoenix_database, schema=None, reject=rejected.take)
    await exporter.consume([span(900, trace=9)])
    exporter.counts.transactions = exporter.counts.failed_transactions = 0
    yield exporter
    await exporter.close()


async def fail(database: Connection, state: str, *, times: int, when: str = "true") -> None:
    """Let Postgres raise *state* when a span is stored, *times* times."""
    # A sequence counts on although the transaction that failed is rolled back.
    await database.execute(
        "CREATE SEQUENCE tried AS int; "
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF nextval('tried') <= {times} THEN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; "
        "END IF; RETURN NEW; END $$; "
        f"CREATE TRIGGER fail BEFORE INSERT ON spans FOR EACH ROW WHEN ({when}) "
        "EXECUTE FUNCTION fail()"
    )


async def stored(database: Connection) -> int:
    """Count the spans of traces 1 to 8."""
    count: int = await database.fetchval(
        "SELECT count(*) FROM spans s JOIN traces t ON t.id = s.trace_rowid WHERE t.trace_id < $1",
        f"{9:032x}",
    )
    return count


# --- retried as a whole ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    ["40P01", "40001", "08006", "53100", "53200", "53300", "57014", "57P01", "25006", "55P03"],
)
async def test_the_whole_batch_is_retried(
    exporter: PostgresExporter, rejected: RejectedSpans, database: Connection, state: str
) -> None:
    await fail(database, state, times=1)

    with pytest.raises(RetryableError, match=state) as caught:
        await exporter.consume(_BATCH)
    assert not isinstance(caught.value, UnforeseenError)
    assert await stored(database) == 0
    await exporter.consume(_BATCH)

    assert await stored(database) == len(_BATCH)
    assert (exporter.counts.failed_transactions, exporter.counts.transactions) == (1, 1)
    assert rejected == []


async def test_a_real_deadlock_loses_nothing(
    exporter: PostgresExporter, rejected: RejectedSpans, database: Connection
) -> None:
    await exporter.consume([span(1, trace=1), span(2, trace=2)])
    lock = "SELECT FROM traces WHERE trace_id = $1 FOR UPDATE"
    storing = asyncio.Event()

    async def store() -> str:
        storing.set()
        try:
            await exporter.consume([span(3, trace=1), span(4, trace=2)])
        except RetryableError as error:
            return str(error)
        return ""

    async with database.transaction():
        await database.execute("SET LOCAL deadlock_timeout TO '1min'")  # the victim is the other
        await database.execute(lock, f"{2:032x}")
        async with asyncio.TaskGroup() as tasks:
            attempt = tasks.create_task(store())
            await storing.wait()
            await _until_somebody_waits(database)
            await database.execute(lock, f"{1:032x}")
    assert "40P01" in attempt.result()
    await exporter.consume([span(3, trace=1), span(4, trace=2)])

    assert await stored(database) == 4
    assert rejected == []


async def _until_somebody_waits(database: Connection) -> None:
    query = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN "
        "(SELECT pid FROM pg_stat_activity WHERE datname = current_database())"
    )
    while True:
        if await database.fetchval(query):
            return
        await asyncio.sleep(0.01)


async def test_after_a_failover_to_a_replica_a_new_connection_is_opened(
    exporter: PostgresExporter, rejected: RejectedSpans, database: Connection
) -> None:
    name = await database.fetchval("SELECT current_database()")
    await database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only TO on")
    await database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    reasons = []
    for _ in range(3):
        with pytest.raises(RetryableError) as caught:
            await exporter.consume(_BATCH)
        reasons.append(str(caught.value))
    # Only a connection that opens after this is writable.
    await database.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await exporter.consume(_BATCH)

    assert "25006" in reasons[-1]
    assert await stored(database) == len(_BATCH)
    assert rejected == []


# --- repeated with fresh knowledge, then bisected -------------------------------------------


@pytest.mark.parametrize("state", ["23503", "23505"])
async def test_the_batch_is_repeated_at_once(
    exporter: PostgresExporter, rejected: RejectedSpans, database: Connection, state: str
) -> None:
    await fail(database, state, times=1)

    await exporter.consume(_BATCH)

    assert await stored(database) == len(_BATCH)
    assert (exporter.counts.failed_transactions, exporter.counts.transactions) == (1, 1)
    assert rejected == []


@pytest.mark.parametrize("state", ["23503", "23505", "22023", "54001"])
async def test_the_one_span_that_fails_is_found_and_rejected(
    exporter: PostgresExporter, rejected: RejectedSpans, database: Connection, state: str
) -> None:
    await fail(database, state, times=1000, when="NEW.name = 'bad'")
    batch = [*_BATCH[:6], replace(_BATCH[6], name="bad"), *_BATCH[7:]]

    await exporter.consume(batch)

    assert await stored(database) == len(_BATCH) - 1
    assert rejected.span_ids == [batch[6].span_id]
    assert state in rejected[0].reason


async def test_a_model_that_was_deleted_under_us_prices_nothing_more(
    exporter: PostgresExporter, rejected: RejectedSpans, database: Connection
) -> None:
    pattern = "SELECT name_pattern FROM generative_models WHERE name = 'gpt-4o'"
    assert await database.fetchval(pattern), "the built-in prices have gpt-4o"
    await database.execute(
        "WITH gone AS (SELECT id FROM generative_models WHERE 'gpt-4o' ~ name_pattern), "
        "prices AS (DELETE FROM token_prices WHERE model_id IN (SELECT id FROM gone)) "
        "DELETE FROM generative_models WHERE id IN (SELECT id FROM gone)"
    )

    await exporter.consume([span(1, tokens=5), span(2)])

    assert rejected == []
    costs = await rows_of(database, "SELECT model_id, total_tokens, total_cost FROM span_costs")
    assert costs == [(None, 10.0, None)]


# --- no span's fault ------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["23514", "42501", "XX000", "ZZ999", "2200H"])
async def test_an_unforeseen_state_waits_and_alarms(
    exporter: PostgresExporter, rejected: RejectedSpans, database: Connection, state: str
) -> None:
    await fail(database, state, times=2, when=f"NEW.span_id = '{5:016x}'")

    for _ in range(2):
        with pytest.raises(UnforeseenError, match=state):
            await exporter.consume(_BATCH)
        assert await stored(database) == 0
    await exporter.consume(_BATCH)

    assert await stored(database) == len(_BATCH)
    assert rejected == []


async def test_bad_data_everywhere_is_no_bad_data_although_old_spans_come_along(
    exporter: PostgresExporter, rejected: RejectedSpans, database: Connection
) -> None:
    await exporter.consume(_BATCH[:5])
    await fail(database, "22000", times=1000)

    with pytest.raises(UnforeseenError, match="not even a plain one"):
        await exporter.consume(_BATCH)

    assert rejected == []


@pytest.mark.parametrize(
    ("table", "last"),
    [
        ("projects", _INT4_MAX),
        ("project_sessions", _INT4_MAX),
        ("traces", _INT4_MAX),
        ("spans", _INT4_MAX - 2),
        ("span_costs", _INT8_MAX),
        ("span_cost_details", _INT8_MAX - 1),
    ],
)
async def test_a_table_without_row_ids_waits(
    exporter: PostgresExporter,
    rejected: RejectedSpans,
    database: Connection,
    table: str,
    last: int,
) -> None:
    batch = [
        span(900, trace=9),
        span(901, trace=9),
        *(span(n, tokens=n, attributes=_full(n), project_name="new") for n in range(1, 5)),
    ]
    await database.execute(f"SELECT setval('{table}_id_seq', $1)", last)

    with pytest.raises(UnforeseenError, match="2200H: a table has used up its row ids"):
        await exporter.consume(batch)
    assert await stored(database) == 0
    await database.execute(f"SELECT setval('{table}_id_seq', 1000)")
    await exporter.consume(batch)

    assert await stored(database) == 4
    assert rejected == []


def _full(number: int) -> dict[str, object]:
    return {**llm(number), **session("s")}


@pytest.mark.parametrize("table", ["projects", "project_sessions", "traces", "spans"])
async def test_ids_longer_than_their_column_wait(
    exporter: PostgresExporter, rejected: RejectedSpans, database: Connection, table: str
) -> None:
    await database.execute(f"ALTER SEQUENCE {table}_id_seq AS bigint MAXVALUE {_INT8_MAX}")
    await database.execute(f"SELECT setval('{table}_id_seq', $1)", _INT4_MAX)
    other = span(1, project_name="new", attributes=session("new"))

    with pytest.raises(UnforeseenError, match="2200H"):
        await exporter.consume([span(900, trace=9), other])

    assert rejected == []


async def test_the_share_of_used_row_ids_is_that_of_the_fullest_table(
    exporter: PostgresExporter, database: Connection
) -> None:
    assert exporter.counts.ids_used_share < 0.01
    # More than an int4 holds, but next to nothing of what these may have.
    await database.execute("SELECT setval('span_cost_details_id_seq', $1)", 5 * _INT4_MAX)
    # A sequence may go further than its column: the column is what ends.
    await database.execute(f"ALTER SEQUENCE traces_id_seq AS bigint MAXVALUE {_INT8_MAX}")
    await database.execute("SELECT setval('traces_id_seq', $1)", _INT4_MAX * 3 // 4)

    exporter._prices_at = float("-inf")
    await exporter.check()

    assert exporter.counts.ids_used_share == pytest.approx(0.75)


# --- too long for an index ------------------------------------------------------------------

_NOISE = "".join(random.Random(1).choices(string.ascii_letters, k=9000))
"""Compression would make anything but noise short enough for an index."""


@pytest.mark.parametrize(
    "bad",
    [
        span(5, trace=5, project_name=_NOISE),
        span(5, trace=5, attributes=session(_NOISE)),
        span(5, trace=5, attributes={"user": {"id": _NOISE}}),
    ],
    ids=["project", "session", "user"],
)
async def test_a_span_with_an_indexed_value_that_is_too_long_is_rejected_alone(
    exporter: PostgresExporter, rejected: RejectedSpans, database: Connection, bad: Span
) -> None:
    await exporter.consume([*_BATCH[:4], bad, *_BATCH[5:]])

    assert rejected.span_ids == [bad.span_id]
    assert "54000: a value is too long for an index" in rejected[0].reason
    assert _NOISE[:20] not in rejected[0].reason
    assert await stored(database) == len(_BATCH) - 1
    assert not await database.fetchval("SELECT count(*) FROM projects WHERE length(name) > 100")


@pytest.mark.parametrize("make", [str, lambda text: "x" * len(text)], ids=["noise", "same"])
async def test_long_values_without_an_index_and_those_that_compression_shortens_are_stored(
    exporter: PostgresExporter,
    rejected: RejectedSpans,
    database: Connection,
    make: Callable[[str], str],
) -> None:
    long = make(_NOISE)
    values: dict[str, object] = {"status_message": long, "name": long}
    if long != _NOISE:
        values |= {"project_name": long, "attributes": session(long)}

    await exporter.consume([span(1, **values)])  # type: ignore[arg-type]

    assert rejected == []
    assert await database.fetchval("SELECT name FROM spans WHERE span_id = $1", f"{1:016x}") == long


async def test_a_kind_of_token_whose_name_is_too_long_costs_nothing(
    exporter: PostgresExporter, rejected: RejectedSpans, database: Connection
) -> None:
    attributes = llm(3)
    attributes["llm"] |= {"token_count": {"prompt": 3, "prompt_details": {_NOISE: 2}}}  # type: ignore[operator]

    await exporter.consume([span(1, tokens=3, attributes=attributes), span(2, tokens=4)])

    assert rejected == []
    assert await stored(database) == 2
    assert await rows_of(
        database, "SELECT span_id FROM span_costs c JOIN spans s ON s.id = c.span_rowid"
    ) == [(f"{2:016x}",)]
