"""The processes of each component, and how each says that it takes work."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from tracequill.settings import Settings
from tracequill_collector.stack.supervisor import Child
from tracequill_collector.status import read_status

_FRESH_SECONDS = 10.0
_EXPORTER_STATUS = Path("collector") / "exporter.status.json"
_EXPORTING_SECONDS = 15.0
_EXPORTING_POLL_SECONDS = 0.1


def collector_children(settings: Settings) -> list[Child]:
    """The exporter and the receiver: who takes work last is started last, and stopped first."""
    return [
        Child(
            "exporter",
            ["-m", "tracequill_collector.service.exporter"],
            _writes(settings.data_dir / _EXPORTER_STATUS),
        ),
        Child(
            "receiver",
            ["-m", "tracequill_collector.service.receiver"],
            _answers(settings.host, settings.otlp_http_port),
        ),
    ]


def proxy_children(settings: Settings) -> list[Child]:
    """The recorder and the forwarding process."""
    return [
        Child(
            "recorder",
            ["-m", "tracequill_collector.service.recorder"],
            _writes(settings.data_dir / "proxy" / "recorder.status.json"),
        ),
        Child(
            "proxy",
            ["-m", "tracequill_collector.service.proxy"],
            _answers(settings.host, settings.proxy_port),
            # Streams in flight are finished.
            stop_seconds=60,
        ),
    ]


def phoenix_children(settings: Settings) -> list[Child]:
    """The forked Phoenix."""
    return [
        Child(
            "phoenix",
            ["-m", "tracequill_phoenix.server"],
            _answers(settings.host, settings.phoenix_port),
            stop_seconds=15,
        )
    ]


async def await_exporting(settings: Settings) -> None:
    """Return when the exporter writes: it looks for Phoenix's tables every few seconds.

    Gives up after a while: the exporter says itself what it waits for, and nothing is lost.
    """
    path = settings.data_dir / _EXPORTER_STATUS
    for _ in range(int(_EXPORTING_SECONDS / _EXPORTING_POLL_SECONDS)):
        status = read_status(path)
        if status is not None and not status.values.get("waiting"):
            return
        await asyncio.sleep(_EXPORTING_POLL_SECONDS)


def _writes(path: Path) -> Callable[[int], Awaitable[bool]]:
    """Ready when this very process has written its status."""

    async def ready(pid: int) -> bool:
        status = read_status(path)
        return status is not None and status.pid == pid and status.age_seconds < _FRESH_SECONDS

    return ready


def _answers(host: str, port: int) -> Callable[[int], Awaitable[bool]]:
    async def ready(pid: int) -> bool:
        del pid
        return await http_status(host, port, "/readyz") == 200

    return ready


async def http_status(host: str, port: int, path: str) -> int:
    """GET *path* and give the status; 0 when nobody answers."""
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(target, port)
            try:
                request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                line = await reader.readline()
                return int(line.split()[1])
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, ValueError, IndexError):
        return 0
