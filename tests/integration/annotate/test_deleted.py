"""What Phoenix deletes stays in our copies: a trace, or a whole project with all that it held."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import pytest

from tests.integration.annotate.rig import (
    API,
    Call,
    Json,
    Worker,
    named,
    path_of,
    rows,
    write_calls,
)
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration


@pytest.fixture
def ana(phoenix_server: PhoenixServer) -> Iterator[Worker]:
    with named(phoenix_server, "Ana") as worker:
        yield worker


@pytest.fixture
def ben(phoenix_server: PhoenixServer) -> Iterator[Worker]:
    with named(phoenix_server, "Ben") as worker:
        yield worker


def judged(server: PhoenixServer, name: str, ana: Worker, ben: Worker) -> Json:
    """Give a queue of three questions; both have answered two of them, one differently."""
    write_calls(server, name, [Call(f"Question {n}?", f"Answer {n}.") for n in range(3)])
    queue = ana.create(name, name, overlap=2, order="oldest")
    for worker, labels in ((ana, ("good", "good")), (ben, ("good", "bad"))):
        for item, label in zip(worker.lease(queue, 2), labels, strict=True):
            worker.answer(item, label)
    return queue


def downloaded(worker: Worker, queue: Json, kind: str) -> bytes:
    path = f"{API}/queues/{queue['queue_id']}/download"
    return worker.client.get(path, params={"format": kind}).content


@pytest.mark.parametrize("what", ["trace", "project"])
def test_answers_and_what_they_judge_outlive_what_phoenix_deletes(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker, what: str
) -> None:
    name = f"deleted {what}"
    queue = judged(phoenix_server, name, ana, ben)
    base = f"/queues/{queue['queue_id']}"

    if what == "project":
        with phoenix_server.client() as client:
            assert client.delete(f"/v1/projects/{name}").status_code == 204
    else:
        rows(
            phoenix_server,
            "DELETE FROM traces WHERE project_rowid = (SELECT id FROM projects WHERE name = $1)",
            name,
        )

    assert rows(phoenix_server, "SELECT FROM projects WHERE name = $1", name) == (
        [] if what == "project" else [{}]
    )
    lines = [json.loads(line) for line in downloaded(ana, queue, "jsonl").splitlines()]
    assert [line["question"] for line in lines] == ["Question 0?", "Question 1?", ""]
    assert [line["quality: Ben"] for line in lines] == ["good", "bad", None]
    text = downloaded(ana, queue, "csv").decode("utf-8-sig")
    assert [row["answer"] for row in csv.DictReader(io.StringIO(text, newline=""))] == [
        "Answer 0.",
        "Answer 1.",
        "",
    ]
    assert ana.get(f"{base}/progress")["answers"] == 4
    (label,) = ana.get(f"{base}/agreement")["labels"]
    assert (label["items"], label["percent"]["value"]) == (2, 0.5)
    (differ,) = ana.get(f"{base}/disagreements")
    assert (differ["question"], differ["answer"]) == ("Question 1?", "Answer 1.")
    shown = ana.get(f"{base}/items/{differ['item_id']}")
    assert shown["conversation"]["question"] == "Question 1?"
    assert [one["question"] for one in ana.get(f"{base}/mine?search=Question 1")] == ["Question 1?"]


def test_a_question_that_is_gone_before_anybody_answered_it_says_so(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    queue = judged(phoenix_server, "gone", ana, ben)
    with phoenix_server.client() as client:
        client.delete("/v1/projects/gone")

    (item,) = ana.lease(queue, 3)

    assert item["conversation"] is None
    ana.post(f"{path_of(item)}/skip", {"timing": None})
    assert ana.lease(queue, 3) == []


def test_what_is_gone_cannot_be_added_and_the_sentence_says_what_is_missing(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    queue = judged(phoenix_server, "left", ana, ben)
    with phoenix_server.client() as client:
        client.delete("/v1/projects/left")

    base = f"/queues/{queue['queue_id']}"
    assert "no project 'left'" in ana.post(f"{base}/items", {"project": "left"}, 404)["detail"]
    assert ana.get(base)["items"] == 3
