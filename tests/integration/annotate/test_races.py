"""What happens at the same moment: two tabs of one person, two managers, a manager and a person."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import asyncpg
import pytest

from tests.integration.annotate.rig import (
    API,
    QUALITY,
    Call,
    Json,
    Worker,
    named,
    path_of,
    rows,
    span_annotations,
    write_calls,
)
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration


@pytest.fixture
def tabs(phoenix_server: PhoenixServer) -> Iterator[list[Worker]]:
    """Four pages of one person."""
    with ExitStack() as stack:
        yield [stack.enter_context(named(phoenix_server, "Tabea")) for _ in range(4)]


@pytest.fixture
def ben(phoenix_server: PhoenixServer) -> Iterator[Worker]:
    with named(phoenix_server, "Ben") as worker:
        yield worker


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make *calls* at the same time; give what each gave."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [one.result() for one in [pool.submit(call) for call in calls]]


def _asking(worker: Worker, method: str, path: str, body: object) -> Callable[[], int]:
    return partial(_status, worker, method, path, body)


def _status(worker: Worker, method: str, path: str, body: object) -> int:
    return worker.client.request(method, f"{API}{path}", json=body).status_code


def _answer(label: str = "good") -> Json:
    return {"answer_id": str(uuid.uuid4()), "values": {"quality": {"label": label}}}


def test_of_answers_from_several_tabs_one_is_kept(
    phoenix_server: PhoenixServer, tabs: list[Worker]
) -> None:
    span_ids = write_calls(phoenix_server, "tabs", [Call()] * 3)
    items = tabs[0].lease(tabs[0].create("tabs", "tabs", overlap=2), 3)

    for item in items:
        path = f"{path_of(item)}/answer"
        answered = at_once(*[_asking(tab, "POST", path, _answer()) for tab in tabs])
        assert Counter(answered) == {200: 1, 409: 3}

    for span_id in span_ids:
        assert len(span_annotations(phoenix_server, span_id)) == 1
    found = rows(
        phoenix_server,
        "SELECT state, count(*) FROM tracequill.annotation_slots WHERE queue_id = $1 GROUP BY 1",
        items[0]["queue_id"],
    )
    assert {row["state"]: row["count"] for row in found} == {"answered": 3, "open": 3}


def test_one_thing_is_undone_once_however_many_tabs_ask(
    phoenix_server: PhoenixServer, tabs: list[Worker]
) -> None:
    (span_id,) = write_calls(phoenix_server, "undo at once", [Call()])
    (item,) = tabs[0].lease(tabs[0].create("undo at once", "undo at once"))
    tabs[0].answer(item)
    path = f"/queues/{item['queue_id']}/undo"

    undone = at_once(*[_asking(tab, "POST", path, {}) for tab in tabs])

    assert Counter(undone) == {200: 1, 409: 3}
    assert span_annotations(phoenix_server, span_id) == []
    assert tabs[0].get(path_of(item))["state"] == "leased"


def test_a_queue_that_somebody_answers_is_not_deleted_with_the_answer(
    phoenix_server: PhoenixServer, tabs: list[Worker], ben: Worker
) -> None:
    write_calls(phoenix_server, "deleted", [Call()])
    for number in range(6):
        queue = ben.create(f"deleted {number}", "deleted")
        (item,) = tabs[0].lease(queue)
        path = f"/queues/{queue['queue_id']}"

        answered, deleted = at_once(
            _asking(tabs[0], "POST", f"{path_of(item)}/answer", _answer()),
            _asking(ben, "DELETE", path, None),
        )

        assert (answered, deleted) in ((200, 409), (404, 204))


def test_queues_made_at_once_share_a_label_that_none_had_before(
    phoenix_server: PhoenixServer, tabs: list[Worker]
) -> None:
    write_calls(phoenix_server, "shared label", [Call()])
    label = QUALITY | {"name": f"shared {uuid.uuid4()}"}

    def create(tab: Worker, name: str) -> int:
        body = {"labels": [label], "selection": {"project": "shared label"}, "name": name}
        return _status(tab, "POST", "/queues", body)

    made = at_once(*[partial(create, tab, f"shared {n}") for n, tab in enumerate(tabs)])
    again = at_once(*[partial(create, tab, "shared again") for tab in tabs])

    assert made == [201] * 4
    assert Counter(again) == {201: 1, 409: 3}


def test_order_and_overlap_are_changed_while_people_work(
    phoenix_server: PhoenixServer, tabs: list[Worker], ben: Worker
) -> None:
    write_calls(phoenix_server, "changed", [Call()] * 40)
    queue = ben.create("changed", "changed", overlap=2)
    path = f"/queues/{queue['queue_id']}"

    def change(field: str, values: tuple[object, ...]) -> list[int]:
        return [_status(ben, "PATCH", path, {field: value}) for value in values * 3]

    def work(tab: Worker) -> list[int]:
        statuses = []
        for _ in range(6):
            items = tab.lease(queue, 3)
            held = [item["item_id"] for item in items]
            statuses.append(_status(tab, "POST", f"{path}/heartbeat", {"have": held[::-1]}))
            if items:
                statuses.append(_status(tab, "POST", f"{path_of(items[0])}/answer", _answer()))
            statuses.append(_status(tab, "POST", f"{path}/release", {"have": held}))
        return statuses

    done = at_once(
        partial(change, "order", ("random", "oldest")),
        partial(change, "overlap", (3, 2)),
        *[partial(work, tab) for tab in tabs],
    )

    # Tabs of one person answer some questions twice, and release what another tab answers.
    assert {status for statuses in done for status in statuses} <= {200, 409}
    assert {status for statuses in done[:2] for status in statuses} == {200}


def test_a_name_that_two_give_at_once_is_one_person(phoenix_server: PhoenixServer) -> None:
    with ExitStack() as stack:
        workers = [Worker(stack.enter_context(phoenix_server.client())) for _ in range(4)]
        for number in range(8):
            spellings = [f"Zoë {number}", f"ZOË {number}", f"zoë {number}", f"zOË {number}"]
            given = at_once(
                *[
                    partial(worker.call, "PUT", "/me/name", {"name": name})
                    for worker, name in zip(workers, spellings, strict=True)
                ]
            )
            assert len({one["person"]["person"] for one in given}) == 1


def _waiting(server: PhoenixServer) -> int:
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    number: int = rows(server, query)[0]["count"]
    return number


@contextmanager
def _held(server: PhoenixServer, item: Json) -> Iterator[None]:
    """Hold an item's row: whoever is about to write it stops there, in mid-transaction."""
    statement = "SELECT FROM tracequill.annotation_items WHERE item_id = $1 FOR UPDATE"
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(server.database_url))
        try:
            runner.run(connection.execute("BEGIN"))
            runner.run(connection.fetch(statement, item["item_id"]))
            yield
        finally:
            runner.run(connection.close())


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


_BODIES: dict[str, Callable[[], Json]] = {
    "answer": _answer,
    "skip": dict,
    "flag": lambda: {"flag_id": str(uuid.uuid4()), "question": "Is this so?"},
    "undo": dict,
    "open": dict,
}
_CHANGES: list[Json] = [{"archived": True}, {"assigned_only": True, "members": ["Ben"]}]
_REFUSED = {0: (409, "archived"), 1: (403, "not_allowed")}


@pytest.mark.parametrize("number", [0, 1], ids=["archived", "unassigned"])
@pytest.mark.parametrize("what", ["answer", "skip", "flag"])
def test_a_change_waits_for_what_is_being_answered(
    phoenix_server: PhoenixServer, tabs: list[Worker], ben: Worker, number: int, what: str
) -> None:
    name = f"waits {number} {what}"
    write_calls(phoenix_server, name, [Call()])
    (item,) = tabs[0].lease(tabs[0].create(name, name))
    queue = f"/queues/{item['queue_id']}"

    with ThreadPoolExecutor(2) as pool:
        with _held(phoenix_server, item):
            said = pool.submit(_asking(tabs[0], "POST", f"{path_of(item)}/{what}", _BODIES[what]()))
            _until(lambda: _waiting(phoenix_server) == 1)
            changed = pool.submit(_asking(ben, "PATCH", queue, _CHANGES[number]))
            _until(lambda: changed.done() or _waiting(phoenix_server) == 2)
            assert not changed.done()
        assert (said.result(), changed.result()) == (200, 200)


@pytest.mark.parametrize("number", [0, 1], ids=["archived", "unassigned"])
@pytest.mark.parametrize("what", ["answer", "skip", "flag", "undo", "open"])
def test_what_is_answered_waits_for_a_change_and_is_refused(
    phoenix_server: PhoenixServer, tabs: list[Worker], ben: Worker, number: int, what: str
) -> None:
    name = f"refused {number} {what}"
    write_calls(phoenix_server, name, [Call()] * 2)
    item, other = tabs[0].lease(tabs[0].create(name, name), 2)
    queue = f"/queues/{item['queue_id']}"
    if what in ("undo", "open"):
        tabs[0].answer(item)
    path = f"{queue if what == 'undo' else path_of(item)}/{what}"

    with ThreadPoolExecutor(2) as pool:
        with _held(phoenix_server, other):
            change = _CHANGES[number] | {"order": "oldest"}  # writes all items
            changed = pool.submit(_asking(ben, "PATCH", queue, change))
            _until(lambda: _waiting(phoenix_server) == 1)
            said = pool.submit(tabs[0].client.post, f"{API}{path}", json=_BODIES[what]())
            _until(lambda: said.done() or _waiting(phoenix_server) == 2)
        assert changed.result() == 200
        refused = said.result()

    assert (refused.status_code, refused.json()["code"]) == _REFUSED[number]
