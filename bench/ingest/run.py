"""One run: each measurement after the other, and their figures in one JSON object.

Short measurements are repeated in turn, so that what else the machine does in a minute meets all of
them alike.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.ingest import figures
from bench.ingest.answers import Answers, measure_answers
from bench.ingest.copying import Copied, measure_copy
from bench.ingest.machine import machine_facts
from bench.ingest.overload import measure_overload
from bench.ingest.servers import Databases, running_postgres
from bench.ingest.storing import (
    Stored,
    measure_drain,
    measure_growth,
    measure_phoenix,
    measure_sustained,
)

PARTS = ("phoenix", "stored", "answers", "growth", "overload")
MIB = 1024 * 1024
QUIET_SPANS_PER_SECOND = 100
_QUIET_TRACES = 3
_HALF_TRACES = 17
_OVERLOAD = 10


@dataclass(frozen=True, slots=True)
class Scale:
    """How long and how often."""

    name: str
    phoenix_seconds: float
    window_seconds: float
    rounds: int
    sustained_seconds: float
    backlog_spans: int
    answer_rounds: int
    answer_seconds: float
    growth_spans: int
    growth_bucket: int
    overload_seconds: float
    overload_queue_bytes: int


FULL = Scale("full", 60, 10, 3, 20, 60_000, 2, 20, 1_000_000, 100_000, 60, 512 * MIB)
QUICK = Scale("quick", 12, 4, 1, 8, 20_000, 1, 5, 60_000, 20_000, 10, 64 * MIB)


class Run:
    """A run on one Postgres; what was found is in ``found``."""

    def __init__(
        self, scale: Scale, databases: Databases, folder: Path, say: Callable[[str], None]
    ) -> None:
        self.found: dict[str, Any] = {"mode": scale.name}
        self._scale = scale
        self._databases = databases
        self._folder = folder
        self._say = say
        self._numbers = 0

    def _new_folder(self) -> Path:
        """Give a data directory of its own to each measurement: a short one, for its sockets."""
        self._numbers += 1
        folder = self._folder / f"run{self._numbers}"
        folder.mkdir()
        return folder

    async def phoenix(self) -> None:
        """Stock Phoenix."""
        scale = self._scale
        stored = await measure_phoenix(
            self._databases,
            self._new_folder(),
            seconds=scale.phoenix_seconds,
            window_seconds=scale.window_seconds,
        )
        self.found["phoenix"] = figures.of_stored([stored])
        self._say(f"stock Phoenix stores {stored.spans_per_second:.0f} spans/s")

    async def stored(self) -> None:
        """Ours while senders go on, ours with a backlog, and COPY of the same rows, in turn."""
        scale = self._scale
        sustained: list[Stored] = []
        drained: list[Stored] = []
        copied: list[Copied] = []
        copied_by_two: list[Copied] = []
        for _ in range(scale.rounds):
            sustained.append(
                await measure_sustained(
                    self._databases,
                    self._new_folder(),
                    seconds=scale.sustained_seconds,
                    window_seconds=scale.sustained_seconds / 4,
                )
            )
            self._say(f"stored while senders go on: {sustained[-1].spans_per_second:.0f} spans/s")
            async with self._databases.fresh("drained") as url:
                drained.append(
                    await measure_drain(
                        self._databases, url, self._new_folder(), scale.backlog_spans
                    )
                )
                self._say(f"stored from a backlog: {drained[-1].spans_per_second:.0f} spans/s")
                one, two = await measure_copy(self._databases, url, (1, 2))
                copied.append(one)
                copied_by_two.append(two)
                self._say(
                    f"bare COPY: {one.spans_per_second:.0f} spans/s, by two connections "
                    f"{two.spans_per_second:.0f}"
                )
        self.found["sustained"] = figures.of_stored(sustained)
        self.found["drained"] = figures.of_stored(drained)
        self.found["copy"] = figures.of_copied(copied)
        self.found["copy_by_two"] = figures.of_copied(copied_by_two)

    async def answers(self) -> None:
        """Answers and visibility at half the load, with syncs and without, and at a quiet rate."""
        scale = self._scale
        half = round(self._capacity() / 2)
        synced: list[Answers] = []
        unsynced: list[Answers] = []
        for _ in range(scale.answer_rounds):
            for is_synced, found in ((True, synced), (False, unsynced)):
                answers = await measure_answers(
                    self._databases,
                    self._new_folder(),
                    spans_per_second=half,
                    traces=_HALF_TRACES,
                    seconds=scale.answer_seconds,
                    is_synced=is_synced,
                )
                found.append(answers)
                self._say(
                    f"answers at {half} spans/s, {'synced' if is_synced else 'not synced'}: p50 "
                    f"{figures.percentile(answers.acknowledged_ms, 0.5):.1f} ms, p99 "
                    f"{figures.percentile(answers.acknowledged_ms, 0.99):.1f} ms"
                )
        quiet = await measure_answers(
            self._databases,
            self._new_folder(),
            spans_per_second=QUIET_SPANS_PER_SECOND,
            traces=_QUIET_TRACES,
            seconds=scale.answer_seconds,
        )
        self.found["half_load"] = figures.of_answers(synced)
        self.found["half_load_unsynced"] = figures.of_answers(unsynced)
        self.found["quiet"] = figures.of_answers([quiet])
        self._say(f"visible at 100 spans/s: p95 {self.found['quiet']['visible_ms_p95']:.0f} ms")

    async def growth(self) -> None:
        """From an empty database to a large one."""
        scale = self._scale
        stored = await measure_growth(
            self._databases,
            self._new_folder(),
            spans=scale.growth_spans,
            bucket=scale.growth_bucket,
        )
        self.found["growth"] = figures.of_stored([stored]) | {
            "bucket_spans": scale.growth_bucket,
            "buckets": [round(rate) for rate in stored.windows],
        }
        self._say(f"to {stored.spans} spans: {stored.spans_per_second:.0f} spans/s")

    async def overload(self) -> None:
        """Ten times the capacity."""
        scale = self._scale
        overload = await measure_overload(
            self._databases,
            self._new_folder(),
            spans_per_second=_OVERLOAD * self._capacity(),
            seconds=scale.overload_seconds,
            queue_max_bytes=scale.overload_queue_bytes,
        )
        self.found["overload"] = figures.of_overload(overload) | {"times": _OVERLOAD}
        self._say(
            f"overload: {overload.offered_spans_per_second:.0f} spans/s offered, "
            f"{overload.acknowledged_spans} acknowledged, {overload.lost_spans} lost"
        )

    def _capacity(self) -> float:
        if "sustained" not in self.found:
            raise SystemExit("this part needs the part 'stored' in the same run")
        return float(self.found["sustained"]["spans_per_second"])


async def run(
    scale: Scale, parts: Sequence[str], data_dir: Path | None, say: Callable[[str], None]
) -> dict[str, Any]:
    """Run *parts* and give their figures."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=data_dir, prefix="bench-ingest-") as name:
        folder = Path(name)
        async with running_postgres(folder) as databases:
            say("making Phoenix's tables")
            await databases.make_template()
            current = Run(scale, databases, folder, say)
            current.found["machine"] = await machine_facts(databases)
            current.found["spans"] = figures.of_spans()
            for part in PARTS:
                if part in parts:
                    await getattr(current, part)()
    current.found["seconds"] = round(time.monotonic() - began)
    figures.add_ratios(current.found)
    return current.found
