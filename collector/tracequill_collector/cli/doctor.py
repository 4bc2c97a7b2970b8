"""``tracequill doctor``: what is right, what is wrong, what to do."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

import typer
from rich.console import Console
from rich.text import Text

from tracequill.settings import Settings, load_settings
from tracequill_collector.cli.options import AsJson, DatabaseUrl, DataDir
from tracequill_collector.stack.doctor import Finding, examine

app = typer.Typer(add_completion=False)

_STYLES = {"ok": ("ok", "green"), "warning": ("look", "yellow"), "failed": ("FAILED", "bold red")}


@app.command()
def doctor(
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> int:
    """Check configuration, disk, processes, database, schema and upstreams.

    Writes one trace to the project 'tracequill-doctor' and reads it back.
    Exit code 1 if a check failed.
    """
    settings = load_settings(data_dir=data_dir, database_url=database_url)
    console = None if as_json else Console(highlight=False, soft_wrap=True)
    findings = asyncio.run(_examine(settings, console))
    failed = any(finding.level == "failed" for finding in findings)
    if as_json:
        found = [asdict(finding) for finding in findings]
        typer.echo(json.dumps({"ok": not failed, "findings": found}))
    return 1 if failed else 0


async def _examine(settings: Settings, console: Console | None) -> list[Finding]:
    findings = []
    async for finding in examine(settings):
        findings.append(finding)
        if console is not None:
            mark, style = _STYLES[finding.level]
            console.print(
                Text(f"{mark:>6}  ", style=style)
                .append(f"{finding.check:<15} ", style="bold")
                .append(finding.text, style="default")
            )
    return findings
