"""How many connections the receivers hold, and for how long one may be idle.

Numbers of the process come in, limits go out. Every connection is an open file, and the queue
needs files too: it must find one when senders have taken all that they may have.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import dataclass

# gRPC and HTTP have a limit each, of the same size.
_PROTOCOLS = 2
_FILES_MAX = 65_536
# For the queue, the log and the server's own sockets.
_SPARE_FILES = 256


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one protocol's connections may take."""

    connections: int
    idle_seconds: float = 75.0
    """Longer than the 60 s after which common load balancers close an idle connection, so that
    none sends a request on one that is just being closed here. Headers must arrive within it."""


def connection_limits() -> ConnectionLimits:
    """Let this process open as many files as it may, and share them out."""
    files = _allow_files()
    spare = min(_SPARE_FILES, files // 2)
    return ConnectionLimits(max(1, (files - spare) // _PROTOCOLS))


def _allow_files() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, _FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS has a second limit, below the one it names
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return wanted if soft == resource.RLIM_INFINITY else soft
