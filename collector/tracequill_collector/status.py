"""A status file: what a process without a socket says about itself, for another to publish.

Values go in and come out as one small JSON object. A reader sees the old file or the new one,
never a part. Nothing depends on it: it is not synced, and a broken one reads as none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Status:
    """What a process wrote about itself, and how long ago."""

    pid: int
    age_seconds: float
    """By the monotonic clock; infinite when it was written before the last boot."""
    values: dict[str, Any]


def write_status(path: Path, values: Mapping[str, Any]) -> None:
    """Replace the status file at *path* in one step; its folder is created where missing."""
    content = orjson.dumps(
        {"pid": os.getpid(), "monotonic_seconds": time.monotonic(), "values": dict(values)}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def read_status(path: Path) -> Status | None:
    """Read the status file at *path*; None when there is none, or none that can be read."""
    try:
        content = orjson.loads(path.read_bytes())
        age_seconds = time.monotonic() - content["monotonic_seconds"]
        return Status(
            pid=int(content["pid"]),
            age_seconds=age_seconds if age_seconds >= 0 else float("inf"),
            values=dict(content["values"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
