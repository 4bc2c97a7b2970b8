"""``tracequill collector``: this component alone."""

from __future__ import annotations

import typer

from tracequill.settings import load_settings
from tracequill_collector.cli.options import (
    DatabaseUrl,
    DataDir,
    Host,
    Insecure,
    OtlpGrpcPort,
    OtlpHttpPort,
    Verbose,
)
from tracequill_collector.service.policies import policy_of
from tracequill_collector.stack.foreground import run_in_foreground
from tracequill_collector.stack.processes import collector_children
from tracequill_collector.stack.up import run_children

app = typer.Typer(add_completion=False)


@app.command()
def collector(
    host: Host = None,
    otlp_grpc_port: OtlpGrpcPort = None,
    otlp_http_port: OtlpHttpPort = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    insecure: Insecure = None,
    verbose: Verbose = False,
) -> int:
    """Receive OTLP and write Phoenix's rows: a receiver and an exporter.

    A span is on disk before its sender is answered. Without a database the
    queue grows up to TRACEQUILL_QUEUE_MAX_BYTES, and is exported when the
    database is there.
    """
    settings = load_settings(
        host=host,
        otlp_grpc_port=otlp_grpc_port,
        otlp_http_port=otlp_http_port,
        data_dir=data_dir,
        database_url=database_url,
        insecure=insecure,
    )
    policy_of(settings)  # a wrong rule is said before anything starts
    ports = [("OTLP/HTTP", settings.otlp_http_port), ("OTLP/gRPC", settings.otlp_grpc_port)]
    children = collector_children(settings)
    return run_in_foreground(
        lambda stop: run_children(settings, "collector", children, ports, stop, verbose)
    )
