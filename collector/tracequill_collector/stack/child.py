"""Starts child processes that die with us, even when we are killed with -9."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: loading a library between fork and exec is not safe.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    """Give a ``preexec_fn``: the kernel sends *death_signal* to the child when we are gone.

    Where there is no such kernel feature the child watches TRACEQUILL_PARENT_PID itself. The
    function runs after the child has changed its user, because that clears the setting.
    """
    parent = os.getpid()

    def prepare() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:  # we died before the child could ask
                os._exit(1)

    return prepare


def is_running(pid: int, folder: Path | None = None) -> bool:
    """Whether *pid* is alive and, where the system tells, works in *folder*."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    proc = Path("/proc") / str(pid)
    if not proc.exists():
        return not Path("/proc/self").exists()
    try:
        if (proc / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return False
        if folder is not None:
            return os.path.samefile(proc / "cwd", folder)
    except FileNotFoundError:
        return False
    except PermissionError:
        return False
    return True


def start_ticks(pid: int) -> int:
    """When *pid* started, in clock ticks since boot; 0 where the system does not tell.

    Together with the pid it names one process: pids are used again, this pair is not.
    """
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
