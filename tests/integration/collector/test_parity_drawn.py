"""Whatever is sent, in whatever order: the rows are Phoenix's (promise 2 of DESIGN)."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.integration.collector.drawn import Requests, drawn_requests
from tests.integration.collector.exporting import export, spans_of
from tests.integration.collector.oracle import (
    EMPTY,
    Phoenix,
    assert_same_rows,
    execute,
    stored_rows,
)
from tests.integration.collector.prices import enter_prices
from tracequill_collector.pipeline import Record, RecordKind

pytestmark = pytest.mark.integration

NewDatabase = Callable[[], str]

EXAMPLES = int(os.environ.get("PARITY_EXAMPLES", "30"))


@pytest.fixture
async def databases(new_database: NewDatabase) -> tuple[str, str]:
    """A database for Phoenix and one for us, with the same prices."""
    found = new_database(), new_database()
    for database in found:
        await enter_prices(database)
    return found


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    # To make a failing example small takes minutes, and what differs is told anyway.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(requests=drawn_requests(), cuts=st.sets(st.integers(1, 20), max_size=6))
async def test_the_rows_are_the_same(
    phoenix: Phoenix, databases: tuple[str, str], requests: Requests, cuts: set[int]
) -> None:
    theirs, ours = databases
    await execute(EMPTY, theirs, ours)
    phoenix.ingest(theirs, requests)

    # Batches need not be requests: the spans are cut anew, in their order.
    records = [
        Record(RecordKind.OTLP_TRACES, 0, payload, project_name=name or "")
        for payload, name in requests
    ]
    # An application's spans are alike: from the eighth time on, they are nested another way.
    for _ in range(9):
        spans = spans_of(records)
    places = [0, *sorted(cuts), len(spans)]
    await export(ours, *(spans[a:b] for a, b in pairwise(places)))

    assert_same_rows(await stored_rows(ours), await stored_rows(theirs))
