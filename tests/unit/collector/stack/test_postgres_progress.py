"""A long crash recovery says what it is at; a failed start says why."""

from __future__ import annotations

from pathlib import Path

from tracequill_collector.stack.postgres import _initdb_reason, _recovery_line, _why

RECOVERY = """\
2026-01-01 00:00:00 UTC [7] LOG:  not properly shut down; automatic recovery in progress
2026-01-01 00:00:02 UTC [7] LOG:  redo in progress, elapsed time: 2.00 s, current LSN: 0/5A2B3C4
"""


def test_recovery_shows_the_last_line_that_postgres_said_of_it(tmp_path: Path) -> None:
    log = tmp_path / "postgres.log"
    log.write_text(RECOVERY)

    assert _recovery_line(log) == (
        ": redo in progress, elapsed time: 2.00 s, current LSN: 0/5A2B3C4"
    )


def test_without_a_log_there_is_nothing_to_add(tmp_path: Path) -> None:
    assert _recovery_line(tmp_path / "missing.log") == ""


def test_a_start_that_failed_for_space_says_to_free_some(tmp_path: Path) -> None:
    log = "1 FATAL:  could not write lock file: No space left on device\n1 LOG:  shut down\n"

    assert _why(log, tmp_path / "postgres.log").endswith(
        "could not write lock file: No space left on device. Free some space."
    )


def test_a_failed_initdb_says_what_went_wrong_and_not_what_it_cleaned_up() -> None:
    said = (
        "sh: 1: cannot create /dev/null: Permission denied\n"
        'initdb: error: program "postgres" is needed by initdb but was not found\n'
        'initdb: removing contents of data directory "/x"\n'
    )

    assert _initdb_reason(said).startswith("initdb: error: program")
    assert _initdb_reason("sh: cannot create /dev/null\ninitdb: removing\n") == (
        "sh: cannot create /dev/null"
    )
    assert _initdb_reason("") == "it said nothing"
