"""``tracequill psql``: a shell on the database."""

from __future__ import annotations

import os
import shutil
from typing import Annotated

import typer

from tracequill.database_url import running_database_url
from tracequill.settings import load_settings
from tracequill_collector.cli.options import DatabaseUrl, DataDir
from tracequill_collector.errors import StartError
from tracequill_collector.stack.postgres_binaries import find_binaries

app = typer.Typer(add_completion=False)


@app.command(context_settings={"ignore_unknown_options": True})
def psql(
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Passed on to psql: -c 'SELECT 1', -f FILE, …")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Open psql on the database that Phoenix uses."""
    settings = load_settings(data_dir=data_dir, database_url=database_url)
    url = running_database_url(settings)
    try:
        program = str(find_binaries() / "bin" / "psql")
    except StartError:
        found = shutil.which("psql")
        if found is None:
            raise
        program = found
    if settings.database_schema:
        os.environ["PGOPTIONS"] = f"-c search_path={settings.database_schema}"
    os.execv(program, [program, url, *(arguments or [])])
