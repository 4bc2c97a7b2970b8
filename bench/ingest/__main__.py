"""``make bench-ingest``: one run, its tables and picture in ``bench/results/``.

``--quick`` takes about two minutes and writes nothing into the repository unless told where.
"""

from __future__ import annotations

import argparse
import sys

from bench.command import parser_of, progress, run_bounded
from bench.ingest.pages import RESULTS, write_page, write_results
from bench.ingest.run import FULL, PARTS, QUICK, run
from bench.ingest.servers import BenchError
from bench.ingest.table import render

_MAX_SECONDS = 40 * 60


def main() -> int:
    options = _options()
    say = progress()
    scale = QUICK if options.quick else FULL
    try:
        found = run_bounded(run(scale, options.parts, options.data_dir, say), _MAX_SECONDS)
    except BenchError as error:
        print(f"bench-ingest: {error}", file=sys.stderr)
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


def _options() -> argparse.Namespace:
    quick = "about two minutes, small numbers"
    return parser_of("python -m bench.ingest", __doc__, quick, PARTS).parse_args()


if __name__ == "__main__":
    sys.exit(main())
