"""What the benchmarks share: options, progress, a limit on time, errors for a person."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from bench.ingest.servers import BenchError


def parser_of(
    program: str, description: str | None, quick: str, parts: Sequence[str]
) -> argparse.ArgumentParser:
    """Give the options that every benchmark has; *quick* says what ``--quick`` takes."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument(
        "--parts", nargs="+", choices=parts, default=list(parts), help="only these measurements"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="a folder on the disk to measure (default: the temporary one)"
    )
    parser.add_argument("--results", type=Path, help="where to write tables, JSON and picture")
    parser.add_argument(
        "--write-docs", action="store_true", help="put the figures into docs/performance.md"
    )
    return parser


def progress() -> Callable[[str], None]:
    """Give a function that prints a line with the seconds since now."""
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {line}", file=sys.stderr, flush=True)

    return say


def run_bounded(running: Coroutine[Any, Any, dict[str, Any]], max_seconds: float) -> dict[str, Any]:
    """Run to the end within *max_seconds*; BenchError for whatever is meant for a person."""
    try:
        return asyncio.run(_bounded(running, max_seconds))
    except BaseExceptionGroup as error:
        if (reason := _reason(error)) is None:
            raise
        raise reason from None


async def _bounded(
    running: Coroutine[Any, Any, dict[str, Any]], max_seconds: float
) -> dict[str, Any]:
    try:
        async with asyncio.timeout(max_seconds):
            return await running
    except TimeoutError:
        raise BenchError(f"not done after {max_seconds / 60:.0f} minutes") from None


def _reason(error: BaseException) -> BenchError | None:
    """Find what is meant for a person in what a TaskGroup raised."""
    if isinstance(error, BenchError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_reason, error.exceptions)), None)
    return None
