"""Prices that people enter, change and take away while the exporter runs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.integration.collector.exporting import RejectedSpans
from tests.integration.collector.small import llm, span
from tracequill_collector.exporter.connection import Connection
from tracequill_collector.exporter.postgres import PostgresExporter

pytestmark = pytest.mark.integration


@pytest.fixture
async def database(phoenix_database: str) -> AsyncIterator[Connection]:
    """A connection to enter prices, and to look at costs."""
    connection = await asyncpg.connect(phoenix_database)
    yield connection
    await connection.close()


async def test_each_change_of_a_price_counts_for_the_spans_that_come_after_it(
    phoenix_database: str, database: Connection
) -> None:
    exporter = PostgresExporter(phoenix_database, schema=None, reject=RejectedSpans().take)

    async def cost(number: int) -> float | None:
        """Store a call of ten tokens on each side, and give what it cost."""
        attributes = llm(10)
        attributes["llm"] = {**attributes["llm"], "model_name": "our-own"}  # type: ignore[dict-item]
        exporter._prices_at = float("-inf")  # it looks every five seconds
        await exporter.consume([span(number, tokens=10, attributes=attributes)])
        found: float | None = await database.fetchval(
            "SELECT total_cost FROM span_costs ORDER BY id DESC LIMIT 1"
        )
        return found

    costs = [await cost(1)]
    model = await database.fetchval(
        "INSERT INTO generative_models (name, provider, name_pattern, is_built_in) "
        "VALUES ('ours', '', '^our-own$', false) RETURNING id"
    )
    await database.executemany(
        "INSERT INTO token_prices (model_id, token_type, is_prompt, base_rate) "
        "VALUES ($1, $2, $3, $4)",
        [(model, "input", True, 1.0), (model, "output", False, 2.0)],
    )
    costs.append(await cost(2))
    await database.execute("UPDATE token_prices SET base_rate = 5 WHERE model_id = $1", model)
    await database.execute("UPDATE generative_models SET updated_at = now() WHERE id = $1", model)
    costs.append(await cost(3))
    await database.execute("UPDATE generative_models SET deleted_at = now() WHERE id = $1", model)
    costs.append(await cost(4))
    await exporter.close()

    assert costs == [None, 30.0, 100.0, None]
