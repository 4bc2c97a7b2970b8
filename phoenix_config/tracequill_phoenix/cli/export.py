"""``tracequill export``: a fine-tuning file from a dataset, valid or not written."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tracequill.errors import UsageError
from tracequill.settings import Settings, load_settings
from tracequill_phoenix.cli.options import AsJson
from tracequill_phoenix.dataset_export.export import (
    FORMATS,
    ExportOptions,
    Summary,
    export_dataset,
)
from tracequill_phoenix.dataset_export.source import connect, find_dataset

app = typer.Typer(add_completion=False)


@app.command()
def export(
    name: Annotated[str, typer.Argument(help="The dataset's name.")],
    output: Annotated[
        str, typer.Option("--output", "-o", help="The file to write; - is standard output.")
    ],
    format_name: Annotated[
        str, typer.Option("--format", help=f"One of: {', '.join(FORMATS)}.")
    ] = "openai-chat",
    version: Annotated[
        str | None,
        typer.Option(
            help="The dataset's version: a number from 1, or Phoenix's id; else the latest."
        ),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out examples that do not fit the format.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="Write every finding to this file: row, span id, code, message."),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Refuse what the platform may refuse too, such as under 10 examples."
        ),
    ] = False,
    train_history: Annotated[
        bool,
        typer.Option(
            "--train-history",
            help="Train the earlier answers of a conversation as well; "
            "without it they get weight 0, since only the last one was judged.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a fine-tuning file of a dataset, from what its spans hold.

    Every row is checked; if one is not valid, nothing is written. Beside FILE
    stands FILE.manifest.json: the dataset's version, the span of each row,
    counts and a hash.
    """
    if format_name not in FORMATS:
        raise UsageError(f"there is no format {format_name!r}. There is: {', '.join(FORMATS)}.")
    options = ExportOptions(
        format_name=format_name,
        output=None if output == "-" else Path(output),
        report=report,
        skip_bad=skip_bad,
        strict=strict,
        train_history=train_history,
    )
    summary = asyncio.run(_export(load_settings(), name, version, options))
    for finding in summary.file_findings:
        typer.echo(f"warning: {finding.message}", err=True)
    said = json.dumps(summary.to_json()) if as_json else _sentence(summary, output)
    # Standard output may be the training file itself.
    typer.echo(said, err=options.output is None)


async def _export(
    settings: Settings, name: str, version: str | None, options: ExportOptions
) -> Summary:
    async with connect(settings) as connection:
        dataset = await find_dataset(connection, name, version)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        console = Console(stderr=True)
        with Progress(
            *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
        ) as progress:
            task = progress.add_task(f"exporting {dataset.name}", total=dataset.examples)
            return await export_dataset(
                connection,
                dataset,
                options,
                lambda examples: progress.update(task, completed=examples),
            )


def _sentence(summary: Summary, output: str) -> str:
    where = "standard output" if output == "-" else output
    dataset = summary.dataset
    line = (
        f"{summary.written} examples of the dataset '{dataset.name}', version {dataset.number}, "
        f"written to {where}"
    )
    if summary.skipped:
        codes = ", ".join(f"{code} {count}" for code, count in sorted(summary.codes.items()))
        line += f"; {summary.skipped} left out ({codes})"
    return f"{line}."
