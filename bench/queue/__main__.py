"""``make bench-queue``: one run, its tables in ``bench/results/``.

``--quick`` takes about two minutes and writes nothing into the repository unless told where.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bench.command import parser_of, progress, run_bounded
from bench.ingest.pages import RESULTS
from bench.ingest.servers import BenchError
from bench.queue import figures
from bench.queue.pages import read_results, write_page, write_results
from bench.queue.run import FULL, PARTS, QUICK, run
from bench.queue.table import render

_MAX_SECONDS = 20 * 60


def main() -> int:
    options = _options()
    say = progress()
    scale = QUICK if options.quick else FULL
    try:
        running = run(scale, options.parts, options.data_dir, options.keep, say)
        found = run_bounded(running, _MAX_SECONDS)
    except BenchError as error:
        print(f"bench-queue: {error}", file=sys.stderr)
        return 1
    is_kept = not options.quick and len(options.parts) == len(PARTS)
    results = options.results or (RESULTS if is_kept or options.add else None)
    if options.add and results is not None:
        found = _together(read_results(results), found)
    print(render(found))
    if results is not None:
        write_results(found, results)
        say(f"written into {results}")
    if options.write_docs or is_kept:
        write_page(found)
    return 0


def _together(before: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Put what was measured now beside what was measured before."""
    if before["mode"] != found["mode"]:
        raise SystemExit(f"bench-queue: {before['mode']} and {found['mode']} are not to be mixed")
    both = before | found
    both["seconds"] = before["seconds"] + found["seconds"]
    both["crowds"] = before.get("crowds", {}) | found.get("crowds", {})
    if not both["crowds"]:
        del both["crowds"]
    both["targets"] = figures.reached(both)
    return both


def _options() -> argparse.Namespace:
    quick = "about two minutes, small numbers"
    parser = parser_of("python -m bench.queue", __doc__, quick, PARTS)
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep the spans there, for the next run"
    )
    parser.add_argument(
        "--add", action="store_true", help="put the figures beside those of an earlier run"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
