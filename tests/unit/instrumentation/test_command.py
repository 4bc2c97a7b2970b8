"""The thin ``tracequill`` command finds subcommands and says what is missing."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from tracequill._command import SUMMARIES, main


def test_help_lists_every_subcommand_and_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    out = capsys.readouterr().out
    names = {point.name for point in entry_points(group="tracequill.commands")}
    assert names == set(SUMMARIES)
    assert all(name in out for name in names)


def test_no_arguments_is_wrong_usage() -> None:
    assert main([]) == 2


def test_an_unknown_command_is_one_sentence_with_a_suggestion(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["proxi"]) == 2

    assert capsys.readouterr().err == "tracequill: unknown command 'proxi'. Did you mean 'proxy'?\n"


def test_a_wrong_option_is_one_sentence_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--demoo"]) == 2

    assert capsys.readouterr().err.count("\n") == 1


def test_a_wrong_option_of_a_part_points_to_the_help_of_that_part(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["queue", "create", "name", "--projekt", "x"]) == 2

    assert "See 'tracequill queue create --help'." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["queue", "dataset", "dead-letters"])
def test_a_command_without_its_part_shows_its_help_and_says_what_is_missing(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name]) == 2

    shown = capsys.readouterr()
    assert f"Usage: tracequill {name}" in shown.out
    assert f"tracequill: '{name}' needs one of: " in shown.err
    assert "list" in shown.err
    assert f"See 'tracequill {name} --help'." in shown.err
    assert shown.err.count("\n") == 1


def test_a_wrong_setting_is_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["up", "--host", "0.0.0.0"]) == 2

    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "--insecure" in err


@pytest.mark.parametrize("name", sorted(SUMMARIES))
def test_every_subcommand_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0

    assert "Usage: tracequill" in capsys.readouterr().out
