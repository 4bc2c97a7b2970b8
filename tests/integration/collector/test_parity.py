"""For the same requests the rows equal those of Phoenix's own ingestion (promise 2 of DESIGN)."""

from __future__ import annotations

import random
from collections.abc import Callable

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.collector.exporting import export, record_of, spans_of
from tests.integration.collector.generated import generated_requests
from tests.integration.collector.oracle import Phoenix, assert_same_rows, stored_rows
from tracequill_collector.exporter.specificity import specificity
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.processor.attributes import unflatten

pytestmark = pytest.mark.integration

NewDatabase = Callable[[], str]


async def test_requests_stored_one_by_one(
    phoenix: Phoenix, new_database: NewDatabase, requests: list[bytes], records: list[Record]
) -> None:
    theirs, ours = new_database(), new_database()
    phoenix.ingest(theirs, [(payload, None) for payload in requests])

    await export(ours, *(spans_of([record]) for record in records))

    assert_same_rows(await stored_rows(ours), await stored_rows(theirs))


async def test_requests_stored_as_one_batch_backwards(
    phoenix: Phoenix, new_database: NewDatabase, requests: list[bytes], records: list[Record]
) -> None:
    theirs, ours = new_database(), new_database()
    phoenix.ingest(theirs, [(payload, None) for payload in reversed(requests)])

    await export(ours, spans_of(records[::-1]))

    assert_same_rows(await stored_rows(ours), await stored_rows(theirs))


@pytest.mark.parametrize("seed", [1, 2])
async def test_generated_traces_in_random_pieces(
    phoenix: Phoenix, new_database: NewDatabase, seed: int
) -> None:
    theirs, ours = new_database(), new_database()
    requests = generated_requests(seed, traces=60, requests=12)
    phoenix.ingest(theirs, [(payload, None) for payload in requests])

    # Batches need not be requests: cut the spans anew, in their order.
    spans = spans_of([record_of(payload) for payload in requests])
    cuts = sorted(random.Random(seed).sample(range(len(spans)), 9))
    await export(ours, *(spans[a:b] for a, b in zip([0, *cuts], [*cuts, len(spans)], strict=True)))

    assert_same_rows(await stored_rows(ours), await stored_rows(theirs))


async def test_the_project_header_goes_before_the_resource(
    phoenix: Phoenix, new_database: NewDatabase, requests: list[bytes]
) -> None:
    theirs, ours = new_database(), new_database()
    phoenix.ingest(theirs, [(requests[0], "from the header"), (requests[5], None)])

    named = Record(RecordKind.OTLP_TRACES, 0, requests[0], project_name="from the header")
    await export(ours, spans_of([named]), spans_of([record_of(requests[5])]))

    assert_same_rows(await stored_rows(ours), await stored_rows(theirs))


async def test_prices_that_people_entered(
    phoenix: Phoenix, new_database: NewDatabase, requests: list[bytes]
) -> None:
    theirs, ours = new_database(), new_database()
    for database in (theirs, ours):
        await _enter_prices(database)
    phoenix.ingest(theirs, [(payload, None) for payload in requests])

    await export(ours, *(spans_of([record_of(payload)]) for payload in requests))

    assert_same_rows(await stored_rows(ours), await stored_rows(theirs))


async def _enter_prices(database: str) -> None:
    """Enter models that compete for gpt-4o: dated, of a provider, deleted, incomplete, broken."""
    models = [
        # name, provider, pattern, start_time, deleted, prices as (type, is_prompt, rate, custom)
        ("any gpt", "", "gpt-.*", None, False, [("input", True, 1e-3), ("output", False, 2e-3)]),
        ("azure", "azure", "gpt-4o", None, False, [("input", True, 3e-3), ("output", False, 1e-4)]),
        ("old", "", "^gpt-4o$", "2020-01-01", False, [("input", True, 5e-3)]),
        ("later", "", "^(gpt-4o)$", "2025-01-01", False, [("input", True, 6e-3)]),
        ("future", "", "^gpt-4o()$", "2999-01-01", False, [("input", True, 7e-3)]),
        ("deleted", "", "^gpt-4o-mini", None, True, [("input", True, 8e-3)]),
        ("no input price", "", "^o1-mini$", None, False, [("audio", True, 9e-3)]),
        ("free", "", "^our-own-7b$", None, False, [("input", True, 0.0), ("output", False, 0.0)]),
        ("no prices", "", "^gpt-4$", None, False, []),
    ]
    connection = await asyncpg.connect(database)
    try:
        for name, provider, pattern, start, deleted, prices in models:
            rowid = await connection.fetchval(
                "INSERT INTO generative_models "
                "(name, provider, name_pattern, is_built_in, start_time, deleted_at) VALUES "
                "($1, $2, $3, false, $4::text::timestamptz, CASE WHEN $5 THEN now() END) "
                "RETURNING id",
                name,
                provider,
                pattern,
                start,
                deleted,
            )
            await connection.executemany(
                "INSERT INTO token_prices (model_id, token_type, is_prompt, base_rate) "
                "VALUES ($1, $2, $3, $4)",
                [(rowid, *price) for price in prices],
            )
        await connection.execute(
            "UPDATE token_prices SET customization = "
            '\'{"key": "llm.token_count.completion", "threshold": "2", "new_rate": 1}\' '
            "WHERE model_id = (SELECT id FROM generative_models WHERE name = 'azure')"
        )
    finally:
        await connection.close()


_SEGMENTS = st.sampled_from(["a", "b", "0", "1", "01", "-1", "", " a ", "é", "10", "x y", "٣"])
_KEYS = st.lists(_SEGMENTS, min_size=1, max_size=5).map(".".join)
_VALUES = st.one_of(st.none(), st.integers(0, 9), st.just({"a": {"0": 1}}), st.just([1, {"a": 2}]))
_CASES = st.lists(st.lists(st.tuples(_KEYS, _VALUES), max_size=6), min_size=20, max_size=40)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_CASES)
def test_keys_are_nested_alike(phoenix: Phoenix, cases: list[list[tuple[str, object]]]) -> None:
    # As in a request, where the attributes of a span are collected by their key first.
    collected = [
        pairs for pairs in (list(dict(case).items()) for case in cases) if _is_settled(pairs)
    ]

    assert [unflatten(pairs) for pairs in collected] == phoenix.unflatten(collected)


def _is_settled(pairs: list[tuple[str, object]]) -> bool:
    """Whether Phoenix gives the same every time.

    Where two keys mean the same place, or get there on both sides of an empty segment, its winner
    depends on the order of a set.
    """
    paths = [_path(key) for key, _ in pairs]
    tops = [next(filter(None, path), "") for path in paths]
    return len({tuple(filter(None, path)) for path in paths}) == len(paths) and not any(
        "" in path and tops.count(top) > 1 for path, top in zip(paths, tops, strict=True)
    )


def _path(key: str) -> list[str]:
    segments = [segment.strip() for segment in key.split(".")]
    return [str(int(segment)) if segment.isdigit() else segment for segment in segments]


async def test_patterns_are_equally_specific(phoenix: Phoenix, new_database: NewDatabase) -> None:
    connection = await asyncpg.connect(new_database())
    try:
        found = await connection.fetch("SELECT name_pattern FROM generative_models")
    finally:
        await connection.close()
    patterns = [record["name_pattern"] for record in found] + [
        "",
        "^$",
        "a",
        "(?i)^gpt-4(?:o|\\.1)(?P<date>-\\d{4}-\\d{2,})?$",
        "(?i)(?m)^a\\$",
        "a\\\\$",
        "[]abc]",
        "[^a\\]b]+.*|\\D{2}",
        "{a}{,5}x{2}y{2,}",
        "(?<!x)a(?-i:b)\\.\\\\",
    ]

    assert [specificity(pattern) for pattern in patterns] == phoenix.specificity(patterns)
