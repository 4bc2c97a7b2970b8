"""Databases from a test's side: where one is, and statements on connections of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import asyncpg

T = TypeVar("T")


def database_url(server_url: str, name: str) -> str:
    """Give *server_url* with its database replaced by *name*."""
    before, _, query = server_url.partition("?")
    return f"{before.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* to its end on a loop of its own, whether or not a test's loop runs."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result(120)


async def execute(url: str, statement: str) -> None:
    """Run one *statement* on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def fetch_value(url: str, query: str) -> Any:
    """Give the first value that *query* finds."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()
