"""What managers see, decide and take away; and what nobody sees before everybody has answered."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import openpyxl
import pytest

from tests.integration.annotate.rig import (
    API,
    QUALITY,
    Call,
    Json,
    Worker,
    named,
    path_of,
    span_annotations,
    write_calls,
)
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration

TAGS: Json = {
    "name": "tags",
    "kind": "CATEGORICAL",
    "values": [{"label": "rude"}, {"label": "long"}],
    "multiple": True,
    "required": False,
}


@pytest.fixture
def ana(phoenix_server: PhoenixServer) -> Iterator[Worker]:
    with named(phoenix_server, "Ana") as worker:
        yield worker


@pytest.fixture
def ben(phoenix_server: PhoenixServer) -> Iterator[Worker]:
    with named(phoenix_server, "Ben") as worker:
        yield worker


def of_two(
    server: PhoenixServer, name: str, calls: list[Call], ana: Worker, **fields: Any
) -> tuple[Json, list[str]]:
    span_ids = write_calls(server, name, calls)
    return ana.create(name, name, overlap=2, order="oldest", **fields), span_ids


def url_of(queue: Json, rest: str) -> str:
    return f"/queues/{queue['queue_id']}/{rest}"


def fetched(worker: Worker, queue: Json, kind: str) -> httpx.Response:
    answer = worker.client.get(f"{API}{url_of(queue, 'download')}", params={"format": kind})
    assert answer.status_code == 200, answer.text
    return answer


def table(worker: Worker, queue: Json) -> list[dict[str, str]]:
    text = fetched(worker, queue, "csv").content.decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_nobody_sees_what_others_said_before_everybody_has(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    queue, _ = of_two(phoenix_server, "blind", [Call()], ana)
    (item,) = ana.lease(queue)
    ana.answer(item, "bad")

    refused = ben.get(f"{path_of(item)}/answers", status=409)
    assert "not everybody" in refused["detail"]
    ana.get(f"{path_of(item)}/answers", status=409)
    ana.call("PUT", f"{path_of(item)}/consensus", {"values": {"quality": {"label": "bad"}}}, 409)
    for worker in (ana, ben):
        assert worker.get(url_of(queue, "disagreements")) == []
        assert table(worker, queue)[0]["quality: Ana"] == ""
        (listed,) = worker.get(url_of(queue, "items"))
        assert "bad" not in json.dumps(listed)
        assert listed["people"] == [
            {"person": "tracequill:Ana", "name": "Ana", "state": "answered"}
        ]

    (item,) = ben.lease(queue)
    assert item["answer"] is None
    ben.answer(item, "good")

    seen = ben.get(f"{path_of(item)}/answers")
    assert {one["name"]: one["values"]["quality"]["label"] for one in seen["answers"]} == {
        "Ana": "bad",
        "Ben": "good",
    }
    assert seen["item"]["item_id"] == item["item_id"]
    assert table(ana, queue)[0]["quality: Ana"] == "bad"


def test_a_disagreement_is_not_listed_while_somebody_may_still_answer(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    write_calls(phoenix_server, "third", [Call()])
    queue = ana.create("third", "third", overlap=3)
    for worker, label in ((ana, "good"), (ben, "bad")):
        worker.answer(worker.lease(queue)[0], label)

    assert ana.get(url_of(queue, "disagreements")) == []
    with named(phoenix_server, "Cy") as third:
        third.answer(third.lease(queue)[0], "good")
    assert len(ana.get(url_of(queue, "disagreements"))) == 1


def test_in_an_archived_queue_everybody_has_said_what_they_will(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    queue, _ = of_two(phoenix_server, "archived results", [Call()], ana)
    (item,) = ana.lease(queue)
    ana.answer(item, "bad")

    ana.call("PATCH", f"/queues/{queue['queue_id']}", {"archived": True})

    assert len(ana.get(f"{path_of(item)}/answers")["answers"]) == 1
    assert table(ana, queue)[0]["quality: Ana"] == "bad"


def test_a_disagreement_is_listed_until_a_consensus_is_kept_here_and_in_phoenix(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    calls = [Call(f"Question {number}?", f"Answer {number}.") for number in range(3)]
    queue, span_ids = of_two(phoenix_server, "differ", calls, ana)
    for worker, labels in ((ana, ("good", "good", "bad")), (ben, ("good", "bad", "good"))):
        for item, label in zip(worker.lease(queue, 3), labels, strict=True):
            worker.answer(item, label)

    first, second = ana.get(url_of(queue, "disagreements"))
    assert (first["question"], first["answer"], first["labels"]) == (
        "Question 1?",
        "Answer 1.",
        ["quality"],
    )
    assert {one["name"] for one in first["answers"]} == {"Ana", "Ben"}
    path = f"/queues/{queue['queue_id']}/items/{first['item_id']}/consensus"
    decided = ana.call(
        "PUT",
        path,
        {
            "values": {"quality": {"label": "bad"}},
            "correction": {"text": "It was lost."},
            "reason": "it never came",
        },
    )

    assert decided["decided_by"] == {"person": "tracequill:Ana", "name": "Ana"}
    assert "-Answer 1." in decided["correction"]["diff"]
    assert [one["item_id"] for one in ana.get(url_of(queue, "disagreements"))] == [
        second["item_id"]
    ]
    both = ana.get(url_of(queue, "disagreements?resolved=true"))
    assert [one["consensus"] for one in both] == [decided, None]
    kept = {
        (row["name"], row["identifier"]): row
        for row in span_annotations(phoenix_server, span_ids[1])
    }
    identifier = f"queue:{queue['queue_id']}:consensus"
    assert kept["quality", identifier]["label"] == "bad"
    assert kept["quality", identifier]["metadata"]["reason"] == "it never came"
    assert kept["correction", identifier]["explanation"] == "It was lost."
    assert {who for name, who in kept if name == "quality"} == {
        "tracequill:Ana",
        "tracequill:Ben",
        identifier,
    }

    ana.call("PUT", path, {"values": {"quality": {"label": "good"}}})
    kept = {
        (row["name"], row["identifier"]): row
        for row in span_annotations(phoenix_server, span_ids[1])
    }
    assert kept["quality", identifier]["label"] == "good"
    assert ("correction", identifier) not in kept
    ana.call("DELETE", path, status=204)
    assert identifier not in {
        row["identifier"] for row in span_annotations(phoenix_server, span_ids[1])
    }
    assert len(ana.get(url_of(queue, "disagreements"))) == 2


def test_an_explanation_and_an_answer_left_open_are_no_disagreement(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    queue, _ = of_two(phoenix_server, "alike", [Call(), Call()], ana, labels=[QUALITY, TAGS])
    for worker, tags in ((ana, ["rude", "long"]), (ben, ["long", "rude"])):
        first, second = worker.lease(queue, 2)
        said = {"quality": {"label": "good", "explanation": f"says {tags[0]}"}}
        worker.answer(first, values=said | {"tags": {"labels": tags}})
        worker.answer(second, values=said if worker is ana else said | {"tags": {"labels": tags}})

    assert ana.get(url_of(queue, "disagreements")) == []
    assert ana.get(url_of(queue, "disagreements?label=tags")) == []
    ana.get(url_of(queue, "disagreements?label=nothing"), status=422)


def test_long_lists_come_in_pages(phoenix_server: PhoenixServer, ana: Worker, ben: Worker) -> None:
    queue, _ = of_two(phoenix_server, "pages", [Call() for _ in range(5)], ana)
    for worker, label in ((ana, "good"), (ben, "bad")):
        for item in worker.lease(queue, 5):
            worker.answer(item, label)

    for what in ("disagreements", "items"):
        found, cursor = [], ""
        while True:
            page = ana.client.get(
                f"{API}{url_of(queue, what)}", params={"limit": 2, "cursor": cursor}
            ).json()
            found += [one["item_id"] for one in page["data"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert len(found) == len(set(found)) == 5
    ana.get(url_of(queue, "items?cursor=x"), status=422)


def test_progress_counts_what_everybody_did(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    queue, _ = of_two(phoenix_server, "progress", [Call() for _ in range(4)], ana)
    first, second, third, _ = ana.lease(queue, 4)
    timing = {"shown_at": "2026-01-01T12:00:00Z", "submitted_at": "2026-01-01T12:00:04Z"}
    ana.answer(first, timing=timing, correction={"text": "Better."})
    ana.post(f"{path_of(second)}/skip", {"timing": None})
    ana.post(
        f"{path_of(third)}/flag",
        {"flag_id": "0e1a3c55-7a43-4b5e-9a8e-0a3f1c2d4e5f", "question": "What is this?"},
    )
    (item,) = ben.lease(queue)
    ben.answer(item, "bad")

    found = ana.get(url_of(queue, "progress"))

    assert (found["items"], found["answers"], found["answers_needed"]) == (4, 2, 8)
    assert (found["remaining"], found["flags_open"], found["skips"]) == (6, 1, 1)
    assert found["per_hour"] is None
    assert [day["answers"] for day in found["days"]] == [2]
    people = {one["name"]: one for one in found["people"]}
    assert people["Ana"]["median_seconds"] == 4
    assert [people["Ana"][what] for what in ("answers", "skips", "flags", "corrections")] == [
        1,
        1,
        1,
        1,
    ]
    assert (people["Ana"]["leased"], people["Ben"]["answers"]) == (1, 1)
    # Ana holds one and has flagged one; Ben has three to go.
    assert (people["Ana"]["left"], people["Ben"]["left"]) == (2, 3)
    assert found["labels"] == [{"name": "quality", "counts": {"good": 1, "bad": 1}, "mean": None}]
    states = {
        state: len(ana.get(url_of(queue, f"items?state={state}")))
        for state in ("open", "leased", "flagged", "done", "all")
    }
    assert states == {"open": 1, "leased": 1, "flagged": 1, "done": 1, "all": 4}


def test_agreement_is_of_all_and_of_each_two(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    queue, _ = of_two(phoenix_server, "agreement", [Call() for _ in range(6)], ana)
    for worker, labels in ((ana, "gggbbb"), (ben, "ggbbbb")):
        for item, label in zip(worker.lease(queue, 6), labels, strict=True):
            worker.answer(item, "good" if label == "g" else "bad")

    (label,) = ana.get(url_of(queue, "agreement"))["labels"]

    assert (label["name"], label["items"], label["people"]) == ("quality", 6, 2)
    assert label["percent"]["value"] == pytest.approx(5 / 6)
    assert label["cohen_kappa"]["value"] == pytest.approx(2 / 3)
    assert label["cohen_kappa"]["low"] <= 2 / 3 <= label["cohen_kappa"]["high"]
    (pair,) = label["pairs"]
    assert (pair["a"]["name"], pair["b"]["name"], pair["items"]) == ("Ana", "Ben", 6)
    assert pair["krippendorff_alpha"] == label["krippendorff_alpha"]
    assert ana.get(url_of(queue, "agreement"))["labels"] == [label]


def test_agreement_is_of_labels_of_every_kind_and_of_answers_that_hold(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    number = {"name": "marks", "kind": "CONTINUOUS", "required": False}
    labels = [QUALITY, number, TAGS, {"name": "why", "kind": "FREEFORM", "required": False}]
    queue, _ = of_two(
        phoenix_server, "kinds compared", [Call() for _ in range(6)], ana, labels=labels
    )
    for worker in (ana, ben):
        for place, item in enumerate(worker.lease(queue, 6)):
            off = worker is ben and place == 0
            values: Json = {"quality": {"label": "bad" if place < 3 else "good"}}
            values["marks"] = {"score": place + (0.5 if off else 0)}
            values["tags"] = {"labels": ["long"] if off else ["rude", "long"]}
            worker.answer(item, values=values | {"why": {"text": "because"}})
    undone = ben.post(url_of(queue, "undo"), {"item_id": None})

    found = {one["name"]: one for one in ana.get(url_of(queue, "agreement"))["labels"]}

    assert undone["undone"] == "answer"
    assert [found[name]["items"] for name in ("quality", "marks", "tags", "why")] == [5, 5, 5, 0]
    assert found["quality"]["percent"]["value"] == 1
    assert found["marks"]["percent"]["value"] == pytest.approx(4 / 5)
    assert 0.9 < found["marks"]["krippendorff_alpha"]["value"] < 1
    assert found["tags"]["percent"]["value"] == pytest.approx(4 / 5)
    assert "free text" in found["why"]["percent"]["why"]


def test_the_download_has_a_row_for_every_question_in_each_format(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    calls = [Call("=cmd|' /C calc'!A0", "-1"), Call("Unanswered?", "Nobody judged this.")]
    queue, _ = of_two(phoenix_server, 'down"load/\u202e', calls, ana)
    for worker, label in ((ana, "good"), (ben, "bad")):
        worker.answer(worker.lease(queue)[0], label)

    answer = fetched(ana, queue, "csv")
    first, second = table(ana, queue)
    lines = [json.loads(line) for line in fetched(ana, queue, "jsonl").text.splitlines()]
    sheet = openpyxl.load_workbook(io.BytesIO(fetched(ana, queue, "xlsx").content)).worksheets[0]
    head, *cells = sheet.iter_rows(values_only=True)

    assert 'filename="down-load.csv"' in answer.headers["content-disposition"]
    assert first["question"] == "'=cmd|' /C calc'!A0"
    assert (first["quality: Ana"], first["quality: Ben"]) == ("good", "bad")
    assert (second["question"], second["answer"]) == ("Unanswered?", "Nobody judged this.")
    assert second["state"] == "open"
    assert [line["question"] for line in lines] == [calls[0].question, "Unanswered?"]
    assert list(head) == list(lines[0]) == list(first)
    assert [row[2] for row in cells] == ["'=cmd|' /C calc'!A0", "Unanswered?"]
    ana.get(url_of(queue, "download?format=exe"), status=422)


def test_the_download_says_what_was_skipped_and_what_was_asked_about(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    queue, _ = of_two(phoenix_server, "states", [Call() for _ in range(5)], ana)
    done, skipped, asked, both, _ = ana.lease(queue, 5)
    of_ben = {item["item_id"]: item for item in ben.lease(queue, 5)}
    ana.answer(done)
    ben.answer(of_ben[done["item_id"]])
    for item in (skipped, both):
        ana.post(f"{path_of(item)}/skip", {"timing": None})
    for worker, item in ((ana, asked), (ben, of_ben[both["item_id"]])):
        worker.post(f"{path_of(item)}/flag", {"flag_id": str(uuid4()), "question": "What is it?"})

    states = [row["state"] for row in table(ana, queue)]

    assert states == ["done", "skipped", "asked", "asked", "open"]


def test_a_long_answer_is_whole_in_the_download_and_cut_only_where_a_cell_ends(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    text = "word " * 8000 + "end"
    write_calls(phoenix_server, "long", [Call(text, text), Call(text, text)])
    queue = ana.create("long", "long")
    ana.answer(ana.lease(queue)[0])

    lines = [json.loads(line) for line in fetched(ana, queue, "jsonl").text.splitlines()]
    book = openpyxl.load_workbook(io.BytesIO(fetched(ana, queue, "xlsx").content))

    assert [(line["question"], line["answer"]) for line in lines] == [(text, text)] * 2
    assert [row["answer"] for row in table(ana, queue)] == [text, text]
    cells = [row[3] for row in book.worksheets[0].iter_rows(min_row=2, values_only=True)]
    assert [str(cell)[-7:] for cell in cells] == ["… [cut]"] * 2


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *((f"999999/{what}", 404) for what in ("progress", "agreement", "items", "download")),
        (f"{10**30}/progress", 422),
        (f"1/items/{10**30}/answers", 422),
        (f"1/disagreements?cursor={10**30}", 422),
        ("1/items?limit=0", 422),
        ("1/items?state=nonsense", 422),
    ],
)
def test_odd_requests_for_results_are_refused_in_a_sentence(
    ana: Worker, path: str, status: int
) -> None:
    refused = ana.get(f"/queues/{path}", status=status)

    assert refused["code"] in ("invalid", "not_found")
    assert len(refused["detail"]) > 10
