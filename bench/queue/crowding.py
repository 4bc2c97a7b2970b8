"""A crowd from the outside: it works on a queue, and what it was told is held against the tables.

Out come figures of time, and of what must be none: questions answered by more people than they are
asked of, somebody's second answer to one question, and answers that were acknowledged and are not
in our table, or not in Phoenix's.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp

from bench.ingest.meter import POSTGRES, Usage, fixed, metered
from bench.ingest.servers import BenchError, clean_environment, connected, start, stop
from bench.queue.crowd import Order, Report
from bench.queue.data import PROJECT
from bench.queue.server import Caller, Json, Server, caller

SERVER, CROWD = "server", "annotators (the bench)"
LEASE_SECONDS = 30
"""A tenth of the default: the page says ten times as often that it is still there."""
_GRACE_SECONDS = 120.0
_PASSWORD_BYTES = 12


@dataclass(frozen=True, slots=True)
class Checked:
    """What the tables say of what was acknowledged; but for the first, nothing may be there."""

    acknowledged: int
    not_in_our_table: int
    not_in_phoenix: int
    unasked: int
    """Answers in the table that nobody was told of."""
    items_answered_too_often: int
    answered_twice_by_one: int
    held_twice: int

    @property
    def is_good(self) -> bool:
        return self.acknowledged > 0 and sum(asdict(self).values()) == self.acknowledged


@dataclass(frozen=True, slots=True)
class Worked:
    """A crowd's work."""

    order: Order
    report: Report
    checked: Checked
    usage: Usage

    @property
    def counted(self) -> list[tuple[float, float]]:
        """When each answer after the warm time was sent, and acknowledged."""
        warm = self.report.began + self.order.warm_seconds
        return [row[4:6] for row in self.report.acknowledged if row[4] >= warm]


async def measure_crowd(
    postgres_pid: int,
    server: Server,
    folder: Path,
    queue: Json,
    people: Sequence[tuple[str, str]],
    *,
    seconds: float,
    warm_seconds: float,
    pace_seconds: tuple[float, float],
) -> Worked:
    """Have *people*, each an identifier and a cookie, work on *queue*."""
    order = Order(
        base_url=server.base_url,
        queue_id=queue["queue_id"],
        project=PROJECT,
        overlap=queue["overlap"],
        cookies=[cookie for _, cookie in people],
        seconds=seconds,
        warm_seconds=warm_seconds,
        lease_seconds=queue["lease_seconds"],
        pace_seconds=pace_seconds,
    )
    log = folder / "crowd.log"
    arguments = ["-m", "bench.queue.crowd", json.dumps(asdict(order))]
    process = await start(arguments, clean_environment(), log, pipes=True)
    try:
        assert process.stdout is not None and process.stdin is not None
        if await process.stdout.readline() != b"ready\n":
            raise BenchError(f"the crowd did not start: {log.read_text()[-2000:]}")
        pids = {
            SERVER: server.process.pid,
            POSTGRES: postgres_pid,
            CROWD: process.pid,
        }
        async with metered(fixed(pids)) as usage:
            process.stdin.write(b"\n")
            await process.stdin.drain()
            async with asyncio.timeout(warm_seconds + seconds + _GRACE_SECONDS):
                line = await process.stdout.readline()
        if not line:
            raise BenchError(f"the crowd ended: {log.read_text()[-2000:]}")
    finally:
        await stop(process)
    report = Report(**json.loads(line))
    return Worked(order, report, await check(server.database_url, order, report, people), usage)


async def check(
    url: str, order: Order, report: Report, people: Sequence[tuple[str, str]]
) -> Checked:
    """Hold what *people* were told against the tables of the database at *url*."""
    said = {row[0]: (people[row[1]][0], row[2], row[3]) for row in report.acknowledged}
    async with connected(url) as connection:
        answers = await connection.fetch(_ANSWERS, order.queue_id)
        labels = await connection.fetch(_PHOENIX, order.queue_id)
    kept = {str(row["answer_id"]): (row["person"], row["item_id"], row["label"]) for row in answers}
    in_phoenix = {(row["identifier"], row["item_id"], row["label"]) for row in labels}
    by_item = Counter(item_id for _, item_id, _ in kept.values())
    by_person = Counter((person, item_id) for person, item_id, _ in kept.values())
    return Checked(
        acknowledged=len(said),
        not_in_our_table=sum(kept.get(answer_id) != one for answer_id, one in said.items()),
        not_in_phoenix=sum(one not in in_phoenix for one in said.values()),
        unasked=len(kept.keys() - said.keys()),
        items_answered_too_often=sum(count > order.overlap for count in by_item.values()),
        answered_twice_by_one=sum(count > 1 for count in by_person.values()),
        held_twice=report.held_twice,
    )


_ANSWERS = """
SELECT answer_id, person, item_id, "values" -> 'quality' ->> 'label' AS label
FROM tracequill.annotation_answers WHERE queue_id = $1
"""
_PHOENIX = """
SELECT a.identifier, i.item_id, a.label
FROM tracequill.annotation_items AS i
JOIN spans AS s ON s.span_id = i.span_id
JOIN span_annotations AS a ON a.span_rowid = s.id
WHERE i.queue_id = $1 AND a.name = 'quality' AND a.source = 'APP' AND a.annotator_kind = 'HUMAN'
"""


async def people_of(server: Server, count: int) -> list[tuple[str, str]]:
    """Give *count* people, each with their identifier and the cookie of their browser."""
    if server.admin_token:
        async with caller(server) as admin:
            return [await _user(admin, server, number) for number in range(count)]
    return [await _named(server, f"annotator {number}") for number in range(count)]


async def _named(server: Server, name: str) -> tuple[str, str]:
    async with caller(server, name) as one:
        me = await one.call("GET", "/me")
        return me["person"]["person"], _cookies(one.session)


async def _user(admin: Caller, server: Server, number: int) -> tuple[str, str]:
    email, password = f"annotator-{number}@example.org", secrets.token_hex(_PASSWORD_BYTES)
    user = {
        "auth_method": "LOCAL",
        "username": f"annotator {number}",
        "email": email,
        "password": password,
        "role": "MEMBER",
    }
    body = {"user": user, "send_welcome_email": False}
    async with admin.session.post("/v1/users", json=body) as made:
        if not made.ok:
            raise BenchError(f"no user could be made: {(await made.text())[:500]}")
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(server.base_url, cookie_jar=jar) as session:
        login = {"email": email, "password": password}
        async with session.post("/auth/login", json=login) as answer:
            if not answer.ok:
                raise BenchError(f"no user could sign in: {(await answer.text())[:500]}")
        one = Caller(session)
        me = await one.call("GET", "/me")
        return me["person"]["person"], _cookies(session)


def _cookies(session: aiohttp.ClientSession) -> str:
    return "; ".join(f"{one.key}={one.coded_value}" for one in session.cookie_jar)
