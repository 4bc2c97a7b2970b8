"""``make bench-proxy``: one run, its tables and picture in ``bench/results/``.

``--quick`` takes one to two minutes and writes nothing into the repository unless told where.
"""

from __future__ import annotations

import argparse
import resource
import sys

from bench.command import parser_of, progress, run_bounded
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
    say = progress()
    scale = QUICK if options.quick else FULL
    names = [name for name in options.gateways if name != DIRECT]
    try:
        found = run_bounded(run(scale, options.parts, names, options.data_dir, say), _MAX_SECONDS)
    except BenchError as error:
        print(f"bench-proxy: {error}", file=sys.stderr)
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


def _options() -> argparse.Namespace:
    quick = "a minute or two, small numbers"
    parser = parser_of("python -m bench.proxy", __doc__, quick, PARTS)
    parser.add_argument(
        "--gateways", nargs="+", choices=NAMES, default=list(NAMES), help="only these gateways"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
