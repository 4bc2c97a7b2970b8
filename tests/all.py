"""Every test: those that need no network beside the others, which mostly wait for real parts.

Two cores are then both in use. ``python tests/all.py``, called by make test.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile


def main() -> int:
    """Run both, show what the quick ones said when the others are done, and give the exit code."""
    # Not by a shell's &, which would let whatever the tests start ignore Ctrl-C.
    pytest = [sys.executable, "-m", "pytest"]
    with tempfile.TemporaryFile("w+") as said:
        quick = subprocess.Popen(
            [*pytest, "tests/unit", "tests/architecture"], stdout=said, stderr=subprocess.STDOUT
        )
        try:
            rest_code = subprocess.call([*pytest, "tests/integration", "tests/acceptance"])
            quick_code = quick.wait()
        finally:
            quick.kill()
            quick.wait()
        said.seek(0)
        print("tests/unit and tests/architecture:")
        print(said.read(), end="", flush=True)
    return rest_code or quick_code


if __name__ == "__main__":
    sys.exit(main())
