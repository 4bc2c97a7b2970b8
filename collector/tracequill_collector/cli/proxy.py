"""``tracequill proxy``: this component alone."""

from __future__ import annotations

import typer

from tracequill.settings import load_settings
from tracequill_collector.cli.options import DataDir, Host, Insecure, ProxyPort, Verbose
from tracequill_collector.stack.foreground import run_in_foreground
from tracequill_collector.stack.processes import proxy_children
from tracequill_collector.stack.up import run_children

app = typer.Typer(add_completion=False)


@app.command()
def proxy(
    host: Host = None,
    proxy_port: ProxyPort = None,
    data_dir: DataDir = None,
    insecure: Insecure = None,
    verbose: Verbose = False,
) -> int:
    """Forward LLM calls unchanged and record them: a proxy and a recorder.

    The base URL of a client is http://127.0.0.1:4319/ROUTE: /openai/v1,
    /anthropic, /gemini, /bedrock/us-east-1, or /mock/v1, which is built in
    and needs no key; docs/proxy.md has all of them. Recorded calls go to the
    collector, and wait on disk while it is away.
    """
    settings = load_settings(host=host, proxy_port=proxy_port, data_dir=data_dir, insecure=insecure)
    ports = [("proxy", settings.proxy_port)]
    children = proxy_children(settings)
    base = f"http://{settings.host}:{settings.proxy_port}"
    hints = [("  for OpenAI", f"{base}/openai/v1"), ("  for the mock", f"{base}/mock/v1")]
    return run_in_foreground(
        lambda stop: run_children(settings, "proxy", children, ports, stop, verbose, hints)
    )
