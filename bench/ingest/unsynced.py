"""Run a module of ours as if the disk were free: ``python -m bench.ingest.unsynced MODULE``.

Shows what durability costs. It is no setting of the product: what is acknowledged this way is lost
with the machine.
"""

from __future__ import annotations

import os
import runpy
import sys


def _no_sync(fd: int) -> None:
    """Say that it is on the medium, though it is not."""


if __name__ == "__main__":
    os.fsync = os.fdatasync = _no_sync  # type: ignore[assignment]
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
