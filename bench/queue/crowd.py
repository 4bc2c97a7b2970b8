"""A process that is many annotators at once, each with a cookie and connections of their own.

``python -m bench.queue.crowd JSON``: an Order goes in, ``ready`` is printed, an empty line on
standard input begins it, and the Report leaves as one line of JSON. Each annotator does what the
page does: holds one question and some ahead, sends an answer and at the same time asks for one
more, and says from time to time that it is still there. How they are checked is not known here,
but for what only the one who asks can see: a question that two hold at the same time.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
import uuid
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
import psutil

AHEAD = 4
"""Questions that the page holds beside the one that is shown."""
LABELS = ("good", "bad")
NICE = 5
_API = "/tracequill/api"
_CONNECTIONS = 6  # of a browser to one server
_TIMEOUT = aiohttp.ClientTimeout(total=60)
_LOOK_SECONDS = 0.02
_PATIENCE_SECONDS = 10.0
_SEED = 20_26


@dataclass(frozen=True, slots=True)
class Order:
    """What to do."""

    base_url: str
    queue_id: int
    project: str
    overlap: int
    cookies: list[str]
    """Of each annotator, as the header is."""
    seconds: float
    warm_seconds: float
    """At the beginning, not counted."""
    lease_seconds: float
    pace_seconds: tuple[float, float] = (0.0, 0.0)
    """From one answer to the next; zero: the next one as soon as one is acknowledged."""


@dataclass(slots=True)
class Report:
    """What became of it. Times are of the monotonic clock that all processes share."""

    began: float = 0.0
    ended: float = 0.0
    acknowledged: list[tuple[str, int, int, str, float, float]] = field(default_factory=list)
    """Id, person, item, label, sent and answered, of each answer that was accepted."""
    lease_ms: list[float] = field(default_factory=list)
    heartbeat_ms: list[float] = field(default_factory=list)
    in_phoenix_ms: list[float] = field(default_factory=list)
    """From sending an answer until Phoenix's own API gives it, for the first annotator."""
    refused: dict[str, int] = field(default_factory=dict)
    held_twice: int = 0
    """Questions given to more people at the same time than their overlap, or twice to one."""
    lost_leases: int = 0
    starved: int = 0
    """Times that somebody had no question to answer."""
    late: int = 0
    """Paced answers that left later than they should have by a tenth of a second."""
    cpu_seconds: float = 0.0


class _Crowd:
    """What all of them share."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.report = Report()
        self.refused: Counter[str] = Counter()
        self.holders: dict[int, set[int]] = {}

    @property
    def is_counted(self) -> bool:
        return time.monotonic() - self.report.began >= self.order.warm_seconds

    @property
    def goes_on(self) -> bool:
        spent = time.monotonic() - self.report.began
        return spent < self.order.warm_seconds + self.order.seconds

    def holds(self, item_id: int, person: int) -> None:
        holders = self.holders.setdefault(item_id, set())
        if person in holders or len(holders) >= self.order.overlap:
            self.report.held_twice += 1
        holders.add(person)


class _Annotator:
    def __init__(self, crowd: _Crowd, number: int, session: aiohttp.ClientSession) -> None:
        self._crowd = crowd
        self._order = crowd.order
        self._number = number
        self._session = session
        self._chance = random.Random(f"{_SEED} {crowd.order.queue_id} {number}")
        self._path = f"{_API}/queues/{crowd.order.queue_id}"
        self._line: deque[dict[str, Any]] = deque()
        self._sending: set[int] = set()
        self._filling = asyncio.Lock()

    async def work(self) -> None:
        """Begin somewhere in the first interval, as people do, and go on until the end."""
        low, high = self._order.pace_seconds
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(self._beat())
            due = time.monotonic() + self._chance.uniform(0, high)
            await self._fill()
            while self._crowd.goes_on:
                if high:
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    self._crowd.report.late += time.monotonic() - due > 0.1
                if not self._line:
                    self._crowd.report.starved += 1
                    await self._fill()
                    if not self._line:
                        await asyncio.sleep(_LOOK_SECONDS)
                        continue
                item = self._line.popleft()
                self._sending.add(item["item_id"])  # before anybody asks what is held
                sending = tasks.create_task(self._submit(item))
                filling = tasks.create_task(self._fill())
                due += self._chance.uniform(low, high)
                if not high:  # as the page's outbox: one answer after the other
                    await sending
                    await filling
            beating.cancel()

    async def _fill(self) -> None:
        """Have enough again; one request at a time, or the same would be given twice."""
        async with self._filling:
            if (count := 1 + AHEAD - len(self._line)) > 0:
                await self._take(count)

    async def _take(self, count: int) -> None:
        held = [item["item_id"] for item in self._line]
        body = {"count": count, "have": [*held, *self._sending]}
        began = time.monotonic()
        found = await self._call("POST", f"{self._path}/lease", body)
        if found is None:
            return
        if self._crowd.is_counted:
            self._crowd.report.lease_ms.append((time.monotonic() - began) * 1000)
        for item in found["items"]:
            self._crowd.holds(item["item_id"], self._number)
            self._line.append({"item_id": item["item_id"], "span_id": item["span_id"]})
        self._lost(found["lost"])

    async def _beat(self) -> None:
        """As often as the page does."""
        while True:
            await asyncio.sleep(self._order.lease_seconds / 3 * self._chance.uniform(0.9, 1.1))
            if have := [item["item_id"] for item in self._line]:
                began = time.monotonic()
                found = await self._call("POST", f"{self._path}/heartbeat", {"have": have})
                if found is not None:
                    self._lost(found["lost"])
                    self._crowd.report.heartbeat_ms.append((time.monotonic() - began) * 1000)

    def _lost(self, item_ids: list[int]) -> None:
        """What was being answered when this was asked is no loss."""
        for item in [one for one in self._line if one["item_id"] in item_ids]:
            self._crowd.report.lost_leases += 1
            self._crowd.holders[item["item_id"]].discard(self._number)
            self._line.remove(item)

    async def _submit(self, item: dict[str, Any]) -> None:
        item_id, answer_id = item["item_id"], str(uuid.UUID(int=self._chance.getrandbits(128)))
        label = self._chance.choice(LABELS)
        now = datetime.now(UTC).isoformat()
        body = {
            "answer_id": answer_id,
            "values": {"quality": {"label": label}},
            "correction": None,
            "timing": {"shown_at": now, "first_key_at": now, "submitted_at": now, "keys": 2},
            "replaces": None,
        }
        sent = time.monotonic()
        found = await self._call("POST", f"{self._path}/items/{item_id}/answer", body)
        answered = time.monotonic()
        self._sending.discard(item_id)
        if found is None:
            return
        if self._crowd.order.overlap == 1:
            self._crowd.holders[item_id].discard(self._number)
        row = (answer_id, self._number, item_id, label, sent, answered)
        self._crowd.report.acknowledged.append(row)
        if self._number == 0:
            await self._look(item["span_id"], sent)

    async def _look(self, span_id: str, sent: float) -> None:
        """Ask Phoenix's own API for the answer."""
        path = f"/v1/projects/{self._order.project}/span_annotations"
        while time.monotonic() - sent < _PATIENCE_SECONDS:
            async with self._session.get(path, params={"span_ids": span_id}) as answer:
                found = orjson.loads(await answer.read())
            names = {row["name"] for row in found.get("data", ())}
            if "quality" in names:
                self._crowd.report.in_phoenix_ms.append((time.monotonic() - sent) * 1000)
                return
            await asyncio.sleep(_LOOK_SECONDS)
        self._crowd.refused["not in Phoenix"] += 1

    async def _call(self, method: str, path: str, body: object) -> dict[str, Any] | None:
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, path, data=orjson.dumps(body), headers=headers
            ) as answer:
                content = orjson.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            self._crowd.refused[type(error).__name__] += 1
            return None
        if not answer.ok:
            self._crowd.refused[f"{answer.status} {content.get('code', '')}".strip()] += 1
            return None
        data: dict[str, Any] = content["data"]
        return data


async def run(order: Order) -> Report:
    """Do what *order* says."""
    crowd = _Crowd(order)
    sessions = [
        aiohttp.ClientSession(
            order.base_url,
            headers={"Cookie": cookie},
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            timeout=_TIMEOUT,
        )
        for cookie in order.cookies
    ]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    process = psutil.Process()
    before = process.cpu_times()
    crowd.report.began = time.monotonic()
    try:
        async with asyncio.TaskGroup() as tasks:
            for number, session in enumerate(sessions):
                tasks.create_task(_Annotator(crowd, number, session).work())
    finally:
        for session in sessions:
            await session.close()
    crowd.report.ended = time.monotonic()
    after = process.cpu_times()
    crowd.report.cpu_seconds = after.user + after.system - before.user - before.system
    crowd.report.refused = dict(crowd.refused)
    return crowd.report


def main() -> int:
    os.nice(NICE)
    order = Order(**json.loads(sys.argv[1]))
    print(json.dumps(asdict(asyncio.run(run(order)))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
