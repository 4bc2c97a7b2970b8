"""The data directory: made private, locked by one ``up``, cleared of what a killed one left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import orjson

from tracequill_collector.errors import StartError
from tracequill_collector.stack.child import is_running, start_ticks

_LEFTOVER_SECONDS = 10.0


def create_data_dir(path: Path) -> None:
    """Create the data directory for this user alone, or say why it cannot be."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / ".probe"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise StartError(
            f"the data directory {path} cannot be used: {error.strerror}. "
            "Free space, correct its permissions, or set TRACEQUILL_DATA_DIR to another folder."
        ) from None


@contextlib.contextmanager
def locked(data_dir: Path, command: str) -> Iterator[RunState]:
    """Hold *data_dir* for one *command*, and end what a killed one left running."""
    descriptor = os.open(data_dir / f"{command}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(descriptor, 32).decode(errors="replace").strip()
            raise StartError(
                f"another 'tracequill {command}' (pid {pid}) uses {data_dir}. "
                "Stop it, or set TRACEQUILL_DATA_DIR and other ports for a second stack."
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        state = RunState(data_dir / f"{command}.json")
        state.end_leftovers()
        yield state
        state.write({})
    finally:
        os.close(descriptor)


class RunState:
    """Which children run, on disk, so that the next start can end what was left of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, pids: dict[str, int]) -> None:
        """Remember *pids*, each with its start time: a pid alone may be used again."""
        content = {name: [pid, start_ticks(pid)] for name, pid in pids.items()}
        temporary = self._path.with_suffix(".tmp")
        with contextlib.suppress(OSError):  # a full disk: the next start has less to go by
            temporary.write_bytes(orjson.dumps(content))
            temporary.replace(self._path)

    def end_leftovers(self) -> None:
        """End children of a killed predecessor; the kernel has usually done it already."""
        try:
            content = orjson.loads(self._path.read_bytes())
            left = {(int(pid), int(ticks)) for pid, ticks in content.values()}
        except (OSError, ValueError, TypeError, AttributeError):
            return
        deadline = time.monotonic() + _LEFTOVER_SECONDS
        while left := {(pid, ticks) for pid, ticks in left if _is_same(pid, ticks)}:
            for pid, _ in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                pids = ", ".join(str(pid) for pid, _ in sorted(left))
                raise StartError(
                    f"processes {pids} of an earlier run do not end. End them: kill -9 {pids}"
                )
            time.sleep(0.05)


def _is_same(pid: int, ticks: int) -> bool:
    return ticks != 0 and is_running(pid) and start_ticks(pid) == ticks
