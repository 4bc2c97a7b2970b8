"""``make bench-ingest``: one run, its tables and picture in ``bench/results/``.

``--quick`` takes about two minutes and writes nothing into the repository unless told where.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from bench.ingest.pages import RESULTS, write_page, write_results
from bench.ingest.run import FULL, PARTS, QUICK, run
from bench.ingest.servers import BenchError
from bench.ingest.table import render

_MAX_SECONDS = 40 * 60


def main() -> int:
    options = _options()
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {line}", file=sys.stderr, flush=True)

    scale = QUICK if options.quick else FULL
    try:
        found = asyncio.run(_bounded(run(scale, options.parts, options.data_dir, say)))
    except (BenchError, BaseExceptionGroup) as error:
        if (reason := _reason(error)) is None:
            raise
        print(f"bench-ingest: {reason}", file=sys.stderr)
        return 1
    print(render(found))
    results = options.results
    is_whole = not options.quick and len(options.parts) == len(PARTS)
    if results is None and is_whole:
        results = RESULTS
    if results is not None:
        write_results(found, results)
        say(f"written into {results}")
    if options.write_docs or is_whole:
        write_page(found)
    return 0


async def _bounded(running: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    try:
        async with asyncio.timeout(_MAX_SECONDS):
            return await running
    except TimeoutError:
        raise BenchError(f"not done after {_MAX_SECONDS / 60:.0f} minutes") from None


def _reason(error: BaseException) -> BenchError | None:
    """Find what is meant for a person in what a TaskGroup raised."""
    if isinstance(error, BenchError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_reason, error.exceptions)), None)
    return None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.ingest", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about two minutes, small numbers")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), help="only these measurements"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="a folder on the disk to measure (default: the temporary one)"
    )
    parser.add_argument("--results", type=Path, help="where to write tables, JSON and picture")
    parser.add_argument(
        "--write-docs", action="store_true", help="put the figures into docs/performance.md"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
