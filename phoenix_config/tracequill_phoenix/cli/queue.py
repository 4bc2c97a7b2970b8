"""``tracequill queue``: the running Phoenix's annotation queues, made, filled, listed, exported."""

from __future__ import annotations

import difflib
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tracequill.errors import CommandError, UsageError
from tracequill.settings import load_settings
from tracequill_phoenix.cli.options import AsJson
from tracequill_phoenix.phoenix_client import PhoenixClient

app = typer.Typer(
    help="Make and export annotation queues.", no_args_is_help=True, add_completion=False
)

_API = "/tracequill/api/queues"
FORMATS = ("csv", "xlsx", "jsonl")
ORDERS = ("newest", "oldest", "random")

_NAME = Annotated[str, typer.Argument(help="The queue's name.")]
_PROJECT = Annotated[str, typer.Option("--project", "-p", help="The project of the calls.")]
_WHERE = Annotated[
    str,
    typer.Option(
        help="Which calls, in Phoenix's filter language: \"llm.model_name == 'gpt-4o'\". "
        "Without it: all of them."
    ),
]
_SAMPLE = Annotated[int | None, typer.Option(min=1, help="Of those that match, so many at random.")]
_EVERY = Annotated[
    bool,
    typer.Option(
        "--every-llm-span", help="Every call of a model; without it the final one of each trace."
    ),
]


@app.command()
def create(
    name: _NAME,
    project: _PROJECT,
    annotation: Annotated[
        list[str],
        typer.Option(
            "--annotation", "-a", help="An annotation config to ask for; may be given again."
        ),
    ],
    where: _WHERE = "",
    overlap: Annotated[
        int, typer.Option(min=1, max=20, help="How many people answer each question.")
    ] = 1,
    sample: _SAMPLE = None,
    order: Annotated[str, typer.Option(help=f"One of: {', '.join(ORDERS)}.")] = "newest",
    every_llm_span: _EVERY = False,
    assign: Annotated[
        list[str] | None,
        typer.Option(help="Only for this person: name or e-mail address; may be given again."),
    ] = None,
    instructions: Annotated[
        Path | None, typer.Option(help="A Markdown file that is shown beside the questions.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an annotation queue: a question for each call that matches."""
    if order not in ORDERS:
        raise UsageError(f"there is no order {order!r}. There is: {', '.join(ORDERS)}.")
    body = {
        "name": name,
        "labels": [{"name": config} for config in annotation],
        "overlap": overlap,
        "order": order,
        "members": assign or [],
        "assigned_only": bool(assign),
        "instructions": _read(instructions) if instructions else "",
        "selection": _selection(project, where, sample, every_llm_span),
    }
    with PhoenixClient(load_settings()) as phoenix:
        if name in {queue["name"] for queue in phoenix.get(_API)["data"]}:
            raise CommandError(
                f"there is a queue {name!r} already. Choose another name, or add questions to it: "
                f"tracequill queue add {shlex.quote(name)} --project {shlex.quote(project)}"
            )
        made: dict[str, Any] = phoenix.post(_API, body)["data"]
    if as_json:
        typer.echo(json.dumps({key: made[key] for key in ("name", "items", "url")}))
    else:
        typer.echo(
            f"queue '{made['name']}' with {_count(made['items'], 'question')}: {made['url']}"
        )


@app.command()
def add(
    name: _NAME,
    project: _PROJECT,
    where: _WHERE = "",
    sample: _SAMPLE = None,
    every_llm_span: _EVERY = False,
    as_json: AsJson = False,
) -> None:
    """Add questions to a queue; those that are in it already are left out."""
    body = _selection(project, where, sample, every_llm_span)
    with PhoenixClient(load_settings()) as phoenix:
        queue = _find(phoenix, name)
        added: dict[str, Any] = phoenix.post(f"{_API}/{queue['queue_id']}/items", body)["data"]
    if as_json:
        typer.echo(json.dumps({"name": name, **added, "url": queue["url"]}))
        return
    line = f"queue '{name}' got {_count(added['added'], 'question')} and has {added['items']} now"
    left_out = f"; {added['already']} left out that it had" if added["already"] else ""
    typer.echo(f"{line}{left_out}: {queue['url']}")


@app.command("list")
def show(as_json: AsJson = False) -> None:
    """List the annotation queues."""
    with PhoenixClient(load_settings()) as phoenix:
        queues = phoenix.get(_API)["data"]
    keys = ("name", "items", "done", "answers", "overlap", "url")
    if as_json:
        typer.echo(json.dumps({"queues": [{key: queue[key] for key in keys} for queue in queues]}))
        return
    if not queues:
        typer.echo(
            "No queues yet. Make one: tracequill queue create NAME --project P --annotation quality"
        )
        return
    for queue in queues:
        # Two lines each, at any width: an address that is cut or broken leads nowhere.
        typer.echo(f"{queue['name']}: {_progress(queue)}\n  {queue['url']}")


@app.command()
def status(name: _NAME, as_json: AsJson = False) -> None:
    """Say how far a queue is."""
    with PhoenixClient(load_settings()) as phoenix:
        queue = _find(phoenix, name)
    if as_json:
        keys = ("name", "items", "done", "answers", "overlap", "questions", "url")
        typer.echo(json.dumps({key: queue[key] for key in keys}))
        return
    line = _progress(queue)
    if waiting := queue["questions"]:
        verb = "waits" if waiting == 1 else "wait"
        line += f", {_count(waiting, 'question')} of annotators {verb} for a reply"
    typer.echo(f"{line}: {queue['url']}")


@app.command()
def export(
    name: _NAME,
    output: Annotated[
        str, typer.Option("--output", "-o", help="The file to write; - is standard output.")
    ],
    format_name: Annotated[
        str | None,
        typer.Option("--format", help=f"One of: {', '.join(FORMATS)}; else what FILE ends with."),
    ] = None,
) -> None:
    """Write all answers of a queue to a file, a column for each person."""
    chosen = format_name or Path(output).suffix.removeprefix(".").lower() or "csv"
    if chosen not in FORMATS:
        raise UsageError(f"there is no format {chosen!r}. There is: {', '.join(FORMATS)}.")
    with PhoenixClient(load_settings()) as phoenix:
        path = f"{_API}/{_find(phoenix, name)['queue_id']}/download"
        if output == "-":
            phoenix.download(path, sys.stdout.buffer.write, format=chosen)
            sys.stdout.buffer.flush()
            return
        _download(phoenix, path, Path(output), chosen)
    typer.echo(f"answers of the queue '{name}' written to {output}.")


def _download(phoenix: PhoenixClient, path: str, output: Path, chosen: str) -> None:
    """Write the file whole or not at all, for its owner alone: it holds what people wrote."""
    part = output.with_name(f"{output.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise CommandError(f"{str(output)!r} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            phoenix.download(path, file.write, format=chosen)
        part.replace(output)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _selection(project: str, where: str, sample: int | None, every: bool) -> dict[str, Any]:
    which = "every_llm_span" if every else "final_answers"
    return {"project": project, "where": where, "which": which, "sample": sample}


def _find(phoenix: PhoenixClient, name: str) -> dict[str, Any]:
    queues = phoenix.get(_API)["data"] + phoenix.get(_API, archived=True)["data"]
    by_name: dict[str, dict[str, Any]] = {queue["name"]: queue for queue in queues}
    if name in by_name:
        return by_name[name]
    near = difflib.get_close_matches(name, by_name, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else "See them all: tracequill queue list"
    raise UsageError(f"there is no queue {name!r}. {hint}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the instructions {str(path)!r} cannot be read: {error}.") from error


def _progress(queue: dict[str, Any]) -> str:
    questions = _count(queue["items"], "question")
    return f"{queue['done']} of {questions} done, {_count(queue['answers'], 'answer')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
