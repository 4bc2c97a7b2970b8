"""``tracequill provision``: projects, annotation configs and queues from a YAML file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from tracequill.settings import load_settings
from tracequill_phoenix.cli.options import AsJson
from tracequill_phoenix.phoenix_client import PhoenixClient
from tracequill_phoenix.provision import Change
from tracequill_phoenix.provision import provision as apply
from tracequill_phoenix.provision_file import Provision, QueueEntry, read_provision

app = typer.Typer(add_completion=False)


@app.command()
def provision(
    file: Annotated[Path, typer.Argument(help="See deploy/provision.example.yaml.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create or update the projects, annotation configs and queues of FILE.

    Safe to run again; nothing is ever deleted.
    """
    wanted = read_provision(file)
    with PhoenixClient(load_settings()) as phoenix:
        changes = apply(phoenix, wanted, dry_run=dry_run)
        empty = _empty(phoenix, wanted) if wanted.queues and not dry_run else []
    counts = Counter(change.result for change in changes)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "dry_run": dry_run,
                    **{result: counts[result] for result in ("created", "updated", "unchanged")},
                    "changes": [_as_dict(change) for change in changes],
                    "empty": [
                        {"name": queue.name, "project": queue.project, "where": queue.where}
                        for queue in empty
                    ],
                }
            )
        )
        return
    for change in changes:
        typer.echo(f"{change.result:<9}  {change.kind:<17}  {change.name}")
    did = "would be " if dry_run else ""
    typer.echo(
        f"{did}created {counts['created']}, {did}updated {counts['updated']}, "
        f"unchanged {counts['unchanged']}"
    )
    for queue in empty:
        what = f"that matches {queue.where}" if queue.where else "yet"
        typer.echo(
            f"warning: the queue {queue.name!r} has 0 questions: the project {queue.project!r} has "
            f"no answer {what}. Run this again when it has.",
            err=True,
        )


def _empty(phoenix: PhoenixClient, wanted: Provision) -> list[QueueEntry]:
    """Give the queues for which nothing was found so far."""
    without = {
        queue["name"]
        for queue in phoenix.get("/tracequill/api/queues")["data"]
        if not queue["items"]
    }
    return [queue for queue in wanted.queues if queue.name in without]


def _as_dict(change: Change) -> dict[str, str]:
    return {"kind": change.kind, "name": change.name, "result": change.result}
