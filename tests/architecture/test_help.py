"""What the help of the commands is to say is shown: Rich takes a bare bracket for markup."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pytest
from typer.main import get_command

COMMANDS = sorted(entry_points(group="tracequill.commands"), key=lambda point: point.name)


def texts(command: Any) -> list[str]:
    """Give the help of *command*, of its options and of the commands below it."""
    found = [command.help, *(getattr(option, "help", None) for option in command.params)]
    for below in getattr(command, "commands", {}).values():
        found += texts(below)
    return [text for text in found if text]


@pytest.mark.parametrize("point", COMMANDS, ids=lambda point: point.name)
def test_no_bracket_of_the_help_is_taken_for_markup(point: EntryPoint) -> None:
    said = texts(get_command(point.load()))

    assert said
    assert not [text for text in said if re.search(r"(?<!\\)\[[a-z#/@]", text)]
