"""``tracequill phoenix``: replaces itself by the server process. Does not load Phoenix."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tracequill.settings import load_settings
from tracequill_phoenix.environment import phoenix_environment

app = typer.Typer(add_completion=False)


@app.command()
def phoenix(
    host: Annotated[
        str | None, typer.Option(help="The address to listen on. Default: 127.0.0.1.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port of pages and API. Default: 6006.")] = (
        None
    ),
    database_url: Annotated[
        str | None,
        typer.Option(help="The Postgres: postgresql://user:password@host:port/database."),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where files are kept. Default: ./.tracequill.")
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="Allow an address beyond this machine though nobody signs in."
        ),
    ] = False,
) -> None:
    """Run the forked Phoenix: pages and API for traces, annotations and datasets.

    It brings its Postgres to the schema of this version. Starting takes up to half a minute.

    Spans sent to its port go to the collector ('tracequill collector').
    """
    settings = load_settings(
        host=host,
        phoenix_port=port,
        database_url=database_url,
        data_dir=data_dir,
        insecure=insecure or None,
    )
    phoenix_environment(settings, os.environ)  # refuses what is missing, before the new process
    sys.stdout.flush()
    os.execve(
        sys.executable,
        [sys.executable, "-m", "tracequill_phoenix.server"],
        {**os.environ, **settings.to_environment()},
    )
