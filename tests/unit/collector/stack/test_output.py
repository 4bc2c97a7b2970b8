"""Which lines of the processes a person sees while the stack runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracequill_collector.stack.output import Terminal

WARNING = "2026-01-01T00:00:00Z WARNING spans are kept in the queue waiting='no connection'"
STORED = "2026-01-01T00:00:09Z INFO spans are stored again waited_seconds=9.1"
SENT = "2026-01-01T00:00:09Z INFO spans are sent on again exporter=backup"
RECORDED = "2026-01-01T00:00:09Z INFO exchanges are recorded again"
OTHER = "2026-01-01T00:00:10Z INFO listening port=4317"


@pytest.mark.parametrize("over", [STORED, SENT, RECORDED])
def test_who_saw_a_warning_sees_that_it_is_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], over: str
) -> None:
    terminal = Terminal(tmp_path, verbose=False)
    terminal.show_warnings()

    for line in (WARNING, over, OTHER):
        terminal.line("exporter", line)
    terminal.close()

    shown = capsys.readouterr().out
    assert WARNING in shown and over in shown and OTHER not in shown
    assert (tmp_path / "exporter.log").read_text().splitlines() == [WARNING, over, OTHER]


def test_while_the_processes_wait_for_one_another_only_errors_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal(tmp_path, verbose=False)

    for line in (WARNING, STORED, "ERROR the port is taken"):
        terminal.line("exporter", line)
    terminal.close()

    assert capsys.readouterr().out == " exporter | ERROR the port is taken\n"
