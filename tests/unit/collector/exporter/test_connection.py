"""Every form of a database URL that Phoenix reads is read."""

from __future__ import annotations

import pytest

from tracequill_collector.exporter.connection import asyncpg_url, transaction_settings


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@h:1/d", "postgresql://u:p@h:1/d"),
        ("postgres://h/d", "postgresql://h/d"),
        ("postgresql+asyncpg://u:p%40q@h/d", "postgresql://u:p%40q@h/d"),
        ("postgresql+psycopg://h/d", "postgresql://h/d"),
        ("postgresql://u@/d?host=/tmp/dir", "postgresql://u@/d?host=%2Ftmp%2Fdir"),
        ("postgresql+asyncpg://h/d?ssl=require", "postgresql://h/d?sslmode=require"),
        (
            "postgresql://h/d?sslmode=verify-full&connect_timeout=3&keepalives=1",
            "postgresql://h/d?sslmode=verify-full",
        ),
        (
            "postgresql+asyncpg://h/d?prepared_statement_cache_size=0&application_name=x",
            "postgresql://h/d?application_name=x",
        ),
    ],
)
def test_a_url_is_given_as_asyncpg_reads_it(url: str, expected: str) -> None:
    assert asyncpg_url(url) == expected


def test_a_url_of_another_database_is_refused_with_what_to_use() -> None:
    with pytest.raises(ValueError, match="begins with 'sqlite'; use postgresql://"):
        asyncpg_url("sqlite:///phoenix.db")


def test_a_transaction_waits_for_the_disk_and_finds_its_schema() -> None:
    assert "synchronous_commit TO on" in transaction_settings(None)
    assert "search_path" not in transaction_settings(None)
    assert transaction_settings('a"b').endswith('search_path TO "a""b"')
