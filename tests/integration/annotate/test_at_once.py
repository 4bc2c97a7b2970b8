"""The same thing asked twice at once, many people at once, and Phoenix's pages that follow."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.integration.annotate.rig import (
    Call,
    Worker,
    named,
    path_of,
    rows,
    span_annotations,
    write_calls,
)
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration

PEOPLE = 12
ITEMS = 20


def test_one_answer_sent_five_times_at_once_is_kept_once(phoenix_server: PhoenixServer) -> None:
    (span_id,) = write_calls(phoenix_server, "five times", [Call()])
    with named(phoenix_server, "Ana") as ana:
        queue = ana.create("five times", "five times")
        (item,) = ana.lease(queue)
        answer_id = str(uuid.uuid4())

        with ThreadPoolExecutor(5) as pool:
            sent = [pool.submit(ana.answer, item, answer_id=answer_id) for _ in range(5)]
            answered = [one.result() for one in sent]

    assert Counter(one["repeated"] for one in answered) == {True: 4, False: 1}
    assert len({str(one["answer"]) for one in answered}) == 1
    assert len(span_annotations(phoenix_server, span_id)) == 1


def test_many_people_answer_everything_once_each_and_nothing_is_lost(
    phoenix_server: PhoenixServer,
) -> None:
    span_ids = write_calls(phoenix_server, "many people", [Call()] * ITEMS)
    with ExitStack() as stack:
        workers = [
            stack.enter_context(named(phoenix_server, f"person {number}"))
            for number in range(PEOPLE)
        ]
        queue = workers[0].create("many people", "many people", overlap=3)

        def work(worker: Worker) -> list[int]:
            answered = []
            while True:
                items = worker.lease(queue, 3)
                for item in items:
                    worker.answer(item)
                    answered.append(item["item_id"])
                if not items and not _others_hold(worker, queue):
                    return answered

        with ThreadPoolExecutor(PEOPLE) as pool:
            answered = list(pool.map(work, workers))

    for mine in answered:
        assert len(set(mine)) == len(mine)
    assert Counter(Counter(one for mine in answered for one in mine).values()) == {3: ITEMS}
    for span_id in span_ids:
        assert len(span_annotations(phoenix_server, span_id)) == 3
    kept = rows(
        phoenix_server,
        "SELECT count(*) FROM tracequill.annotation_answers WHERE queue_id = $1",
        queue["queue_id"],
    )
    assert kept == [{"count": 3 * ITEMS}]


def _others_hold(worker: Worker, queue: dict[str, Any]) -> bool:
    given = worker.post(f"/queues/{queue['queue_id']}/lease", {"count": 1})
    for item in given["items"]:
        worker.post(f"/queues/{queue['queue_id']}/release", {"have": [item["item_id"]]})
    return bool(given["items"] or given["held_by_others"])


def test_phoenixs_pages_learn_of_an_answer_and_of_its_undoing(
    phoenix_server: PhoenixServer,
) -> None:
    write_calls(phoenix_server, "live", [Call()])
    with named(phoenix_server, "Ana") as ana:
        (project,) = [row for row in ana.get("/projects") if row["name"] == "live"]
        (item,) = ana.lease(ana.create("live", "live"))
        before = _last_change(ana, project["project_id"])

        ana.answer(item)
        answered = _change_after(ana, project["project_id"], before)
        ana.post(f"/queues/{item['queue_id']}/undo", {"item_id": item["item_id"]})
        _change_after(ana, project["project_id"], answered)

        assert ana.get(path_of(item))["state"] == "leased"


def _last_change(worker: Worker, project_id: str) -> str:
    query = "query($id: ID!) { node(id: $id) { ... on Project { streamingLastUpdatedAt } } }"
    body = {"query": query, "variables": {"id": project_id}}
    found: str | None = worker.client.post("/graphql", json=body).json()["data"]["node"][
        "streamingLastUpdatedAt"
    ]
    return found or ""


def _change_after(worker: Worker, project_id: str, before: str) -> str:
    deadline = time.monotonic() + 10
    while (now := _last_change(worker, project_id)) <= before:
        assert time.monotonic() < deadline, "Phoenix's pages were told nothing"
        time.sleep(0.05)
    return now
