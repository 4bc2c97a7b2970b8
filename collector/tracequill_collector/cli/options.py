"""Options that several subcommands share; unset means "ask the environment and the file".

The help is Rich markup: a bracket that stands for itself is escaped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Host = Annotated[str | None, typer.Option(help="Address to listen on. \\[default: 127.0.0.1]")]
PhoenixPort = Annotated[int | None, typer.Option(help="Port of Phoenix. \\[default: 6006]")]
OtlpGrpcPort = Annotated[int | None, typer.Option(help="Port of OTLP/gRPC. \\[default: 4317]")]
OtlpHttpPort = Annotated[int | None, typer.Option(help="Port of OTLP/HTTP. \\[default: 4318]")]
ProxyPort = Annotated[int | None, typer.Option(help="Port of the proxy. \\[default: 4319]")]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder for queues and Postgres. \\[default: ./.tracequill]")
]
DatabaseUrl = Annotated[
    str | None, typer.Option(help="A Postgres of yours. \\[default: the embedded one]")
]
Insecure = Annotated[
    bool | None,
    typer.Option("--insecure", help="Allow an address beyond loopback without sign-in."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer one JSON object, for machines.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show every log line of every process.")
]
