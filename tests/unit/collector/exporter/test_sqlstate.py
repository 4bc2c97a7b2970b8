"""Errors of the database are told apart: wait, repeat, or look for the span."""

from __future__ import annotations

import asyncpg
import pytest

from tracequill_collector.exporter.sqlstate import Remedy, describe, is_of_the_batch, remedy


def error_of(state: str) -> asyncpg.PostgresError:
    """Give the error that asyncpg raises for *state*."""
    error: asyncpg.PostgresError = asyncpg.PostgresError.new(
        {"C": state, "M": "a message that quotes a secret prompt", "D": "the secret prompt"}
    )
    return error


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("40P01", Remedy.RETRY),
        ("40001", Remedy.RETRY),
        ("08006", Remedy.RETRY),
        ("53100", Remedy.RETRY),
        ("53300", Remedy.RETRY),
        ("57P01", Remedy.RETRY),
        ("57014", Remedy.RETRY),
        ("25006", Remedy.RETRY),
        ("55P03", Remedy.RETRY),
        ("23503", Remedy.REPEAT_THEN_BISECT),
        ("23505", Remedy.REPEAT_THEN_BISECT),
        ("22003", Remedy.BISECT),
        ("22P05", Remedy.BISECT),
        ("54000", Remedy.BISECT),
        ("2200H", Remedy.WAIT),
        ("23514", Remedy.WAIT),
        ("23502", Remedy.WAIT),
        ("42P01", Remedy.WAIT),
        ("42501", Remedy.WAIT),
        ("40002", Remedy.WAIT),
        ("XX000", Remedy.WAIT),
        ("ZZZZZ", Remedy.WAIT),
    ],
)
def test_a_state_has_its_remedy(state: str, expected: Remedy) -> None:
    assert remedy(error_of(state)) is expected


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        FileNotFoundError(2, "No such file or directory"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("unexpected"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_lost_connection_is_retried_on_a_new_one(error: Exception) -> None:
    assert remedy(error) is Remedy.RETRY
    assert not is_of_the_batch(error)


def test_a_number_too_large_for_its_column_is_the_spans_own_fault() -> None:
    # asyncpg finds it before Postgres does.
    error = asyncpg.DataError("value out of int32 range")

    assert remedy(error) is Remedy.BISECT


def test_an_error_of_ours_waits() -> None:
    assert remedy(KeyError("x")) is Remedy.WAIT


@pytest.mark.parametrize("state", ["40P01", "23505", "22003", "55P03"])
def test_the_connection_outlives_an_error_of_the_batch(state: str) -> None:
    assert is_of_the_batch(error_of(state))


@pytest.mark.parametrize("state", ["25006", "57P01", "08006", "XX000"])
def test_the_connection_does_not_outlive_other_errors(state: str) -> None:
    assert not is_of_the_batch(error_of(state))


@pytest.mark.parametrize("state", ["22003", "XX000", "54000"])
def test_a_description_tells_the_state_and_no_data(state: str) -> None:
    told = describe(error_of(state))

    assert state in told
    assert "secret" not in told


def test_a_description_of_our_own_error_says_where_and_no_data() -> None:
    try:
        raise ValueError("a secret prompt")
    except ValueError as error:
        told = describe(error)

    assert told.startswith("ValueError in test_sqlstate.py:")
    assert describe(FileNotFoundError(2, "No such file")) == "FileNotFoundError: No such file"
