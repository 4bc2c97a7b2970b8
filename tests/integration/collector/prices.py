"""Prices that people entered, to compete with those that Phoenix brings along."""

from __future__ import annotations

import asyncpg


async def enter_prices(database: str) -> None:
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
