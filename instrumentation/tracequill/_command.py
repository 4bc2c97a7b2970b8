"""The ``tracequill`` command: finds the subcommand, loads only that one, says what is missing."""

from __future__ import annotations

import difflib
import importlib
import sys
from importlib.metadata import entry_points, version
from typing import Any

from tracequill.errors import CommandError

_GROUP = "tracequill.commands"
# Shown by `tracequill --help` without loading a single subcommand.
SUMMARIES = {
    "up": "run everything on this machine; --demo adds conversations to look at",
    "collector": "run the OTLP receiver and the exporter",
    "proxy": "run the forwarding proxy and its recorder",
    "phoenix": "run the forked Phoenix",
    "doctor": "check the configuration, the database, the ports and the disk",
    "psql": "open a shell on the database",
    "provision": "create projects, annotation configs and queues from a YAML file",
    "queue": "make and export annotation queues",
    "dataset": "build datasets from annotated spans",
    "export": "write a fine-tuning file from a dataset",
    "replay": "send again what the queues have kept",
    "dead-letters": "list, show, replay and discard what could not be interpreted",
    "mock": "run the mock upstream alone",
}


def main(arguments: list[str] | None = None) -> int:
    """Run ``tracequill ARGUMENTS``; return 0 for done, 1 for failed, 2 for wrong usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        _say(_help())
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        _say(f"tracequill {version('tracequill')}")
        return 0
    name = words[0]
    points = {point.name: point for point in entry_points(group=_GROUP)}
    if name not in points:
        near = difflib.get_close_matches(name, points, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else "Run 'tracequill --help' for the list."
        _complain(f"unknown command '{name}'. {hint}")
        return 2
    module, _, attribute = points[name].value.partition(":")
    extra = module.split(".")[0].removeprefix("tracequill_")
    try:
        app = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.startswith("tracequill"):
            raise
        _complain(
            f"'{name}' needs {missing}, which is not installed. "
            f"Run: pip install 'tracequill[{extra}]'"
        )
        return 1
    return _run(app, name, words[1:])


def _run(app: Any, name: str, words: list[str]) -> int:
    """Run a Typer *app*; every expected failure is one sentence and an exit code."""
    from typer.core import TyperGroup
    from typer.exceptions import Abort, Exit, TyperException
    from typer.main import get_command

    command = get_command(app)
    place = f"tracequill {name}"
    if isinstance(command, TyperGroup) and words and words[0] in command.commands:
        place += f" {words[0]}"
    try:
        result = command.main(args=words, prog_name=f"tracequill {name}", standalone_mode=False)
    except CommandError as error:
        _complain(str(error))
        return error.exit_code
    except Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, Abort):
        return 130
    except TyperException as error:  # a wrong option, argument or value
        said = error.format_message().rstrip(".")
        if not said and isinstance(command, TyperGroup):  # the help, printed by now, is no sentence
            said = f"'{name}' needs one of: {', '.join(command.commands)}"
        _complain(f"{said}. See '{place} --help'.")
        return 2
    return result if isinstance(result, int) else 0


def _help() -> str:
    width = max(map(len, SUMMARIES))
    lines = "\n".join(f"  {name:<{width}}  {text}" for name, text in SUMMARIES.items())
    return (
        "Usage: tracequill COMMAND [OPTIONS]\n\n"
        "Trace LLM applications, label the answers, train the next model from them.\n\n"
        f"Commands:\n{lines}\n\n"
        "'tracequill COMMAND --help' explains one. Exit codes: 0 done, 1 failed, 2 wrong usage."
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _complain(text: str) -> None:
    sys.stderr.write(f"tracequill: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
