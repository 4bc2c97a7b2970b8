"""Every form of a database URL that Phoenix reads is read; a password is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracequill.database_url import asyncpg_url, running_database_url
from tracequill.errors import CommandError
from tracequill.settings import Settings, mask_url


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


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:5432/d?a=b", "postgresql://u:***@h:5432/d?a=b"),
        ("postgresql://u:p/@q@h/d", "postgresql://u:***@h/d"),
        ("postgresql://h/d?password=p&user=u", "postgresql://h/d?password=***&user=u"),
        ("postgresql://u@h/d?sslpassword=p", "postgresql://u@h/d?sslpassword=***"),
        ("postgresql://u@/d?host=/tmp/x", "postgresql://u@/d?host=/tmp/x"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_the_embedded_database_is_found_in_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "postgres.url").write_text("postgresql://postgres@/tracequill?host=/tmp/x\n")

    url = running_database_url(Settings.model_validate({"data_dir": tmp_path}))

    assert url == "postgresql://postgres@/tracequill?host=/tmp/x"


def test_no_database_at_all_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"no database is configured .* 'tracequill up'"):
        running_database_url(Settings.model_validate({"data_dir": tmp_path}))
