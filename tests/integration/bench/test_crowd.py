"""A small crowd on a real server, and what the tables say of it when something is wrong."""

from __future__ import annotations

import asyncio
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from bench.queue.crowd import Order
from bench.queue.crowding import Worked, check, measure_crowd, people_of
from bench.queue.figures import of_worked
from bench.queue.server import Server, caller

from tests.integration.annotate.rig import Call, write_calls
from tests.integration.databases import execute, run
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration

PEOPLE = 5
PROJECT = "bench"


@pytest.fixture(scope="module")
def worked(
    phoenix_server: PhoenixServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Worked, list[tuple[str, str]]]:
    """Some people who have answered for two seconds, two of them each question."""
    write_calls(phoenix_server, PROJECT, [Call()] * 120)
    process: Any = SimpleNamespace(pid=phoenix_server.process.pid)
    server = Server(phoenix_server.base_url, phoenix_server.database_url, process, "")

    async def work() -> tuple[Worked, list[tuple[str, str]]]:
        people = await people_of(server, PEOPLE)
        async with caller(server, "Ana") as ana:
            queue = await ana.create_queue("crowd", 100, overlap=2)
        found = await measure_crowd(
            os.getpid(),  # no matter whose CPU it is
            server,
            tmp_path_factory.mktemp("crowd"),
            queue | {"lease_seconds": 3},  # so that they say soon that they are still there
            people,
            seconds=2.0,
            warm_seconds=0.5,
            pace_seconds=(0.1, 0.3),
        )
        return found, people

    return run(work())


def test_a_crowd_answers_and_nothing_is_wrong(worked: tuple[Worked, Any]) -> None:
    found, _ = worked
    figures = of_worked(found)

    assert found.checked.is_good, found.checked
    assert figures["good"] and not figures["refused"]
    assert figures["answers"] >= PEOPLE and figures["submit"]["times"] == figures["answers"]
    assert figures["lease"]["times"] and figures["heartbeat"]["times"]
    assert figures["in_phoenix"]["times"]
    assert sys.maxsize > found.checked.acknowledged > figures["answers"]


def test_what_is_lost_or_given_twice_is_found(
    worked: tuple[Worked, Any], phoenix_server: PhoenixServer
) -> None:
    found, people = worked
    url, order, report = phoenix_server.database_url, found.order, found.report
    first, second, third = (row[0] for row in report.acknowledged[:3])
    _, person, item_id, *_ = next(row for row in report.acknowledged if row[0] == second)
    identifier = people[person][0]

    def now(order: Order = order) -> Any:
        return run(check(url, order, report, people))

    _execute(url, f"DELETE FROM tracequill.annotation_answers WHERE answer_id = '{first}'")
    assert now().not_in_our_table == 1

    _execute(
        url,
        "DELETE FROM span_annotations USING spans, tracequill.annotation_items AS i "
        "WHERE spans.id = span_annotations.span_rowid AND spans.span_id = i.span_id "
        f"AND i.item_id = {item_id} AND span_annotations.identifier = '{identifier}'",
    )
    assert now().not_in_phoenix == 1

    _execute(
        url,
        "INSERT INTO tracequill.annotation_answers "
        '(answer_id, queue_id, item_id, slot, person, "values", undone_at) '
        "SELECT gen_random_uuid(), queue_id, item_id, slot, person, values, now() "
        f"FROM tracequill.annotation_answers WHERE answer_id = '{third}'",
    )
    wrong = now()
    assert (wrong.unasked, wrong.answered_twice_by_one) == (1, 1)
    assert not wrong.is_good


def _execute(url: str, statement: str) -> None:
    run(asyncio.wait_for(execute(url, statement), 10))
