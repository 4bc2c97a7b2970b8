"""``make bench-proxy``: one run, its tables and picture in ``bench/results/``.

``--quick`` takes one to two minutes and writes nothing into the repository unless told where.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from bench.ingest.pages import RESULTS
from bench.ingest.servers import BenchError
from bench.proxy.gateways import DIRECT, NAMES
from bench.proxy.pages import write_page, write_results
from bench.proxy.run import FULL, PARTS, QUICK, run
from bench.proxy.table import render

_MAX_SECONDS = 20 * 60
_FILES = 16_384


def main() -> int:
    options = _options()
    _raise_file_limit()
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {line}", file=sys.stderr, flush=True)

    scale = QUICK if options.quick else FULL
    names = [name for name in options.gateways if name != DIRECT]
    try:
        found = asyncio.run(_bounded(run(scale, options.parts, names, options.data_dir, say)))
    except (BenchError, BaseExceptionGroup) as error:
        if (reason := _reason(error)) is None:
            raise
        print(f"bench-proxy: {reason}", file=sys.stderr)
        return 1
    print(render(found))
    is_whole = len(options.parts) == len(PARTS) and len(names) == len(NAMES) - 1
    is_kept = is_whole and not options.quick
    results = options.results or (RESULTS if is_kept else None)
    if results is not None:
        write_results(found, results)
        say(f"written into {results}")
    if options.write_docs or is_kept:
        write_page(found)
    return 0


def _raise_file_limit() -> None:
    """Allow a thousand streams, two sockets each; the children have what we have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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
    parser = argparse.ArgumentParser(prog="python -m bench.proxy", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute or two, small numbers")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), help="only these measurements"
    )
    parser.add_argument(
        "--gateways", nargs="+", choices=NAMES, default=list(NAMES), help="only these gateways"
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
