"""``tracequill dataset``: datasets from spans, made by the running Phoenix."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tracequill.settings import load_settings
from tracequill_phoenix.cli.options import AsJson
from tracequill_phoenix.phoenix_client import PhoenixClient

app = typer.Typer(
    help="Build datasets from annotated spans.", no_args_is_help=True, add_completion=False
)


@app.command()
def build(
    name: Annotated[str, typer.Argument(help="The dataset's name.")],
    project: Annotated[str, typer.Option("--project", "-p", help="The project of the spans.")],
    where: Annotated[
        str,
        typer.Option(
            help="Which spans, in Phoenix's filter language: "
            "\"annotations['quality'].label == 'good'\". Without it: all of them."
        ),
    ] = "",
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many spans; the newest.")
    ] = None,
    append: Annotated[
        bool,
        typer.Option(
            "--append",
            help="Add to the dataset if it exists. Spans that are in it already, or were deleted "
            "from it, are left out.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a Phoenix dataset of the spans of a project that match a filter."""
    body = {"name": name, "project": project, "where": where, "limit": limit, "append": append}
    with PhoenixClient(load_settings()) as phoenix:
        built: dict[str, Any] = phoenix.post("/tracequill/api/datasets", body)["data"]
    if as_json:
        typer.echo(json.dumps(built))
        return
    did = "created with" if built["created"] else "got"
    line = f"dataset '{name}' {did} {_count(built['added'], 'example')}"
    if built["skipped"]:
        line += f"; {_count(built['skipped'], 'span')} left out that it had already"
    typer.echo(f"{line}. Export it: tracequill export {name} --format openai-chat -o train.jsonl")


@app.command("list")
def show(as_json: AsJson = False) -> None:
    """List the datasets in Phoenix."""
    with PhoenixClient(load_settings()) as phoenix:
        datasets = [
            {
                "name": dataset["name"],
                "examples": dataset["example_count"],
                "created_at": dataset["created_at"],
                "updated_at": dataset["updated_at"],
                "id": dataset["id"],
            }
            for dataset in phoenix.pages("/v1/datasets")
        ]
    if as_json:
        typer.echo(json.dumps({"datasets": datasets}))
        return
    if not datasets:
        typer.echo("No datasets yet. Make one: tracequill dataset build NAME --project P")
        return
    table = Table("dataset", "examples", "updated")
    for dataset in datasets:
        table.add_row(dataset["name"], str(dataset["examples"]), str(dataset["updated_at"])[:16])
    Console().print(table)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
