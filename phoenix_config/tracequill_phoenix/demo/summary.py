"""What the demo says at its end: what was sent, and what to look at. Facts in, lines out."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from tracequill_phoenix.demo.check import Found
from tracequill_phoenix.demo.labels import DATASET, QUEUE


def print_summary(
    console: Console,
    phoenix_url: str,
    found: list[Found],
    projects: dict[str, str],
    labels: int,
    dataset: dict[str, Any],
    queue_url: str,
) -> None:
    """Print the calls of both applications, and where to see them.

    *projects* gives the id of each project; *dataset* and *queue_url* are empty when there
    is none.
    """
    table = Table("call", title="One span for each call")
    for one in found:
        table.add_column(one.calls.project, justify="right")
    for operation in sorted({name for one in found for name in one.calls.made}):
        table.add_row(operation, *[str(one.calls.made[operation]) for one in found])
    table.add_section()
    table.add_row("calls", *[str(one.calls.total) for one in found])
    table.add_row("spans in Phoenix", *[str(len(one.spans)) for one in found])
    table.add_row("of them errors, on purpose", *[str(one.calls.refused) for one in found])
    console.print(table)
    console.print("What to look at:", style="bold")
    for project, project_id in projects.items():
        _line(console, f"traces of {project}", f"{phoenix_url}/projects/{project_id}/traces")
    first = next(iter(projects.values()))
    _line(console, "sessions, turn by turn", f"{phoenix_url}/projects/{first}/sessions")
    _line(console, f"{labels} labels 'quality'", f"{phoenix_url}/projects/{first}/spans")
    _line(console, "annotation queues", f"{phoenix_url}/tracequill/annotate/")
    if queue_url:
        _line(console, f"queue {QUEUE}", queue_url)
    if dataset:
        examples = f"{phoenix_url}/datasets/{dataset['dataset_id']}/examples"
        _line(console, f"dataset {DATASET}", examples)
        export = f"tracequill export {DATASET} --format openai-chat -o train.jsonl"
        _line(console, "a training file", export)


def _line(console: Console, label: str, value: str) -> None:
    console.print(f"  {label:<26} {value}", soft_wrap=True, highlight=False, markup=False)
