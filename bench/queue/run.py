"""One run: a database full of spans, a server on it, and each measurement after the other."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.ingest.machine import machine_facts
from bench.queue import figures
from bench.queue.crowding import LEASE_SECONDS, Worked, measure_crowd, people_of
from bench.queue.data import Spans, running_spans
from bench.queue.page import FULL_PAGE, QUICK_PAGE, PageScale, measure_page
from bench.queue.selecting import measure_selection
from bench.queue.server import Server, caller, running_server

PARTS = ("page", "people", "signed_in", "selection")
PEOPLE = 50
PACE_SECONDS = (2.0, 4.0)
"""Of fast people, from one answer to the next."""
WARM_SECONDS = 5.0
NO_PAUSE = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much and how long."""

    name: str
    spans: int
    items: int
    seconds: float
    page: PageScale


FULL = Scale("full", 1_000_000, 10_000, 45.0, FULL_PAGE)
QUICK = Scale("quick", 20_000, 500, 5.0, QUICK_PAGE)


class Run:
    """A run on one database; what was found is in ``found``."""

    def __init__(
        self, scale: Scale, spans: Spans, url: str, folder: Path, say: Callable[[str], None]
    ) -> None:
        self.found: dict[str, Any] = {
            "mode": scale.name,
            "spans": spans.count,
            "items": scale.items,
        }
        self._scale = scale
        self._spans = spans
        self._url = url
        self._folder = folder
        self._say = say

    async def all_of(self, parts: Sequence[str]) -> None:
        """Measure *parts*: those where nobody signs in on one server, the rest on another."""
        if set(parts) - {"signed_in"}:
            async with running_server(self._url, self._folder / "server") as server:
                for part in PARTS:
                    if part in parts and part != "signed_in":
                        self._say(f"measuring: {part}")
                        await getattr(self, part)(server)
        if "signed_in" in parts:
            folder = self._folder / "server_with_users"
            async with running_server(self._url, folder, users=True) as server:
                self._say("measuring: signed_in")
                await self._crowd(server, "signed_in", 1, PACE_SECONDS)

    async def page(self, server: Server) -> None:
        """One person in a browser."""
        async with caller(server, "Manager") as manager:
            self.found["page"] = await measure_page(server, manager, self._scale.page, self._say)

    async def people(self, server: Server) -> None:
        """Many people at once, as they work, and without any pause."""
        await self._crowd(server, "one_person", 1, PACE_SECONDS)
        await self._crowd(server, "two_people", 2, PACE_SECONDS)
        await self._crowd(server, "no_pause", 2, NO_PAUSE)

    async def selection(self, server: Server) -> None:
        """Whoever makes queues and reads their results."""
        async with caller(server, "Manager") as manager:
            selected = await measure_selection(server, manager, self._scale.items)
        self.found["selection"] = figures.of_selected(selected)

    async def _crowd(
        self, server: Server, name: str, overlap: int, pace_seconds: tuple[float, float]
    ) -> None:
        people = await people_of(server, PEOPLE)
        async with caller(server, "Manager") as manager:
            queue = await manager.create_queue(
                name, self._scale.items, overlap=overlap, lease_seconds=LEASE_SECONDS
            )
        worked: Worked = await measure_crowd(
            self._spans.databases.postgres.pid,
            server,
            self._folder,
            queue,
            people,
            seconds=self._scale.seconds,
            warm_seconds=WARM_SECONDS,
            pace_seconds=pace_seconds,
        )
        one = self.found.setdefault("crowds", {})[name] = figures.of_worked(worked)
        self._say(
            f"{name}: {one['answers_per_second']} answers/s, p95 {one['submit'].get('p95_ms')} ms, "
            f"{'nothing wrong' if one['good'] else one['checked'] | one['refused']}"
        )


async def run(
    scale: Scale,
    parts: Sequence[str],
    data_dir: Path | None,
    kept: Path | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Run *parts* and give their figures; the spans stay in *kept* for the next run."""
    began = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(dir=data_dir, prefix="bench-queue-")
        folder = Path(stack.enter_context(temporary))
        if kept is not None:
            kept.mkdir(parents=True, exist_ok=True)
        spans = await stack.enter_async_context(running_spans(kept or folder, scale.spans, say))
        url = await stack.enter_async_context(spans.fresh("queue"))
        current = Run(scale, spans, url, folder, say)
        current.found["machine"] = await machine_facts(spans.databases)
        await current.all_of(parts)
    current.found["seconds"] = round(time.monotonic() - began)
    current.found["targets"] = figures.reached(current.found)
    return current.found
