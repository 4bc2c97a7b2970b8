"""What the figures were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

import psutil

from bench.ingest.servers import Databases, connected

_SYNC_BYTES = 128 * 1024
_SYNCS = 100


async def machine_facts(databases: Databases) -> dict[str, Any]:
    """Give cores, memory, disk and versions."""
    async with connected(databases.url("tracequill")) as connection:
        postgres = await connection.fetchval("SHOW server_version")
    return hardware_facts(databases.folder) | {
        "postgres": postgres,
        "phoenix": importlib.metadata.version("arize-phoenix"),
    }


def hardware_facts(folder: Path) -> dict[str, Any]:
    """Give cores, memory, the disk of *folder*, and our own version and Python's."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(psutil.virtual_memory().total / 1024**3, 1),
        "system": f"{platform.system()} {platform.release()}",
        "disk": _disk(folder),
        "fdatasync_ms_p50": _sync_ms(folder),
        "python": platform.python_version(),
        "tracequill": importlib.metadata.version("tracequill"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _disk(folder: Path) -> str:
    """Give file system and kind of the disk that *folder* is on."""
    parts = [
        part
        for part in psutil.disk_partitions(all=True)
        if folder.resolve().is_relative_to(part.mountpoint)
    ]
    if not parts:
        return "unknown"
    part = max(parts, key=lambda part: len(part.mountpoint))
    name = Path(part.device).name
    rotating = Path(f"/sys/block/{name}/queue/rotational")
    kind = ""
    if name.startswith(("vd", "xvd")):
        kind = ", virtual disk"
    elif rotating.exists():
        kind = ", rotating disk" if rotating.read_text().strip() == "1" else ", solid state"
    return f"{part.fstype}{kind}"


def _sync_ms(folder: Path) -> float:
    """Give how long it takes to append 128 KiB durably, as the median."""
    path = folder / "sync.test"
    took = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(os.urandom(_SYNC_BYTES))
            began = time.perf_counter()
            if hasattr(os, "fdatasync"):
                os.fdatasync(file.fileno())
            else:
                os.fsync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    path.unlink()
    return round(sorted(took)[_SYNCS // 2], 2)
