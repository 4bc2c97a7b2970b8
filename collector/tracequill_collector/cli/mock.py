"""``tracequill mock``: the mock upstream alone, on a loopback port, without proxy or collector."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tracequill.settings import load_settings
from tracequill_collector.mock.recording import RecordedExchange, read_recording
from tracequill_collector.mock.replay import Replay
from tracequill_collector.mock.server import serve
from tracequill_collector.mock.upstream import MockUpstream

_PLACES_SHOWN = 10

app = typer.Typer(add_completion=False)


@app.command()
def mock(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 9010,
    latency_seconds: Annotated[
        float | None, typer.Option(help="Time before the first byte of an answer.")
    ] = None,
    chunk_seconds: Annotated[
        float | None, typer.Option(help="Time between two chunks of a stream.")
    ] = None,
    error_share: Annotated[
        float | None, typer.Option(help="The share of calls, 0 to 1, answered with an error.")
    ] = None,
    requests_per_second: Annotated[
        float | None, typer.Option(help="Past this rate calls get 429. 0: no limit.")
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            help="Answer with recorded exchanges only: a .jsonl file or a folder of .json files."
        ),
    ] = None,
) -> None:
    """Run the mock upstream: it answers as OpenAI, Anthropic and Bedrock do.

    Any key is taken but 'invalid'. In front of it, the proxy records its
    calls: TRACEQUILL_UPSTREAM_OPENAI=http://127.0.0.1:9010 tracequill proxy.
    The proxy has a mock of its own as well, at /mock. With --replay it answers
    what a recording answers, streams in pieces, and nothing else; of any
    vendor.
    """
    settings = load_settings(
        mock_latency_seconds=latency_seconds,
        mock_chunk_seconds=chunk_seconds,
        mock_error_share=error_share,
        mock_requests_per_second=requests_per_second,
    )
    recorded = read_recording(replay) if replay is not None else []
    upstream = MockUpstream(
        latency_seconds=settings.mock_latency_seconds,
        chunk_seconds=settings.mock_chunk_seconds,
        error_share=settings.mock_error_share,
        requests_per_second=settings.mock_requests_per_second,
        replay=Replay(recorded) if replay is not None else None,
    )
    asyncio.run(serve(upstream, port, lambda address: _announce(address, recorded)))


def _announce(address: str, recorded: Sequence[RecordedExchange]) -> None:
    console = Console()
    console.print(f"Mock upstream: {address}  (Ctrl-C stops it).", highlight=False)
    if recorded:
        places = sorted({f"{exchange.method} {exchange.path}" for exchange in recorded})
        console.print(f"Answers with {len(recorded)} recorded exchanges:", highlight=False)
        for place in places[:_PLACES_SHOWN]:
            console.print(f"  {place}", highlight=False, markup=False, soft_wrap=True)
        if len(places) > _PLACES_SHOWN:
            console.print(f"  and {len(places) - _PLACES_SHOWN} more", highlight=False)
        return
    console.print(f"  OpenAI     base_url={address}/v1", highlight=False)
    console.print(f"  Anthropic  base_url={address}", highlight=False)
    console.print(f"  boto3      endpoint_url={address}", highlight=False)
