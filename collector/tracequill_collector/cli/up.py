"""``tracequill up``: everything on one machine, in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from tracequill.settings import load_settings
from tracequill_collector.cli.options import (
    DatabaseUrl,
    DataDir,
    Host,
    Insecure,
    OtlpGrpcPort,
    OtlpHttpPort,
    PhoenixPort,
    ProxyPort,
    Verbose,
)
from tracequill_collector.service.policies import policy_of
from tracequill_collector.stack.foreground import run_in_foreground
from tracequill_collector.stack.up import run_up

app = typer.Typer(add_completion=False)


@app.command()
def up(
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Send conversations through the mock upstream once ready."),
    ] = False,
    host: Host = None,
    phoenix_port: PhoenixPort = None,
    otlp_grpc_port: OtlpGrpcPort = None,
    otlp_http_port: OtlpHttpPort = None,
    proxy_port: ProxyPort = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    insecure: Insecure = None,
    verbose: Verbose = False,
) -> int:
    """Run Postgres, Phoenix, the collector and the proxy; Ctrl-C stops them.

    Prints the addresses and the line 'ready' when all of them take work.
    A second start goes on with the same data. Without
    TRACEQUILL_DATABASE_URL an embedded Postgres is run.
    """
    settings = load_settings(
        host=host,
        phoenix_port=phoenix_port,
        otlp_grpc_port=otlp_grpc_port,
        otlp_http_port=otlp_http_port,
        proxy_port=proxy_port,
        data_dir=data_dir,
        database_url=database_url,
        insecure=insecure,
    )
    policy_of(settings)  # a wrong rule is said before anything starts
    return run_in_foreground(lambda stop: run_up(settings, stop, demo, verbose))
