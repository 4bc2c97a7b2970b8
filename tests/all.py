"""Every test, in two lanes beside each other, so that both cores are in use.

One waits for Phoenix, browsers and the whole stack; the other begins with what needs no network.
They take about the same time. ``python tests/all.py``, called by make test.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import IO

# Phoenix, a browser, peers or the whole stack.
_WHOLE = [f"tests/integration/{name}" for name in ("annotate", "bench", "datasets")]
_LANE = (
    ["tests/unit", "tests/architecture"],
    ["tests/integration", *(f"--ignore={folder}" for folder in _WHOLE)],
)
_BESIDE = ([*_WHOLE, "tests/acceptance"],)


def main() -> int:
    """Run both, show what the second one said when both have ended, and give the exit code."""
    with tempfile.TemporaryFile("w+") as said:
        try:
            with ThreadPoolExecutor(1) as thread:
                beside = thread.submit(_run, _BESIDE, said)
                code = _run(_LANE, None)
            return code or beside.result()
        finally:
            said.seek(0)
            print("beside it:")
            print(said.read(), end="", flush=True)


def _run(lane: tuple[list[str], ...], said: IO[str] | None) -> int:
    """Run its parts one after the other, and give the first exit code that is not 0."""
    # Not by a shell's &, which would let whatever the tests start ignore Ctrl-C.
    command = [sys.executable, "-m", "pytest"]
    codes = [subprocess.call([*command, *part], stdout=said, stderr=said) for part in lane]
    return next(filter(None, codes), 0)


if __name__ == "__main__":
    sys.exit(main())
