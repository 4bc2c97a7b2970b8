from __future__ import annotations

import logging

import pytest

from tracequill._log import SeldomLog


def test_a_kind_of_line_is_written_once_an_interval_and_the_others_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    log = SeldomLog(interval_seconds=60, clock=lambda: now[0])

    for now[0] in (0.0, 1.0, 59.0, 60.0):
        log.write(logging.WARNING, "down", "it is down at %d", now[0])

    assert [record.getMessage() for record in caplog.records] == [
        "it is down at 0",
        "it is down at 60 (2 more like this since the last line)",
    ]


def test_another_kind_is_written_at_once(caplog: pytest.LogCaptureFixture) -> None:
    log = SeldomLog(clock=lambda: 0.0)

    log.write(logging.WARNING, "down", "down")
    log.write(logging.ERROR, "lost", "lost")

    assert [record.getMessage() for record in caplog.records] == ["down", "lost"]
