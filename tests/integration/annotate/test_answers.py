"""Answers: given once, in Phoenix at once, undone there, too."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.integration.annotate.rig import (
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
def ana(phoenix_server: PhoenixServer) -> Iterator[Worker]:
    with named(phoenix_server, "Ana") as worker:
        yield worker


@pytest.fixture
def ben(phoenix_server: PhoenixServer) -> Iterator[Worker]:
    with named(phoenix_server, "Ben") as worker:
        yield worker


def test_an_answer_is_an_annotation_in_phoenix_and_a_copy_here(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    (span_id,) = write_calls(phoenix_server, "answers", [Call(user="u-7", session="s-1")])
    queue = ana.create("answers", "answers")
    (item,) = ana.lease(queue)

    timing = {"shown_at": "2026-01-01T12:00:00Z", "submitted_at": "2026-01-01T12:00:04Z"}
    answered = ana.answer(item, timing=timing | {"keys": 2})

    assert item["conversation"]["question"] == "Where is my order?"
    assert (item["model"], item["user"], item["session_id"]) == ("gpt-4o", "u-7", "s-1")
    assert answered["answer"]["seconds"] == 4
    assert span_annotations(phoenix_server, span_id) == [
        {
            "name": "quality",
            "label": "good",
            "score": 1.0,
            "explanation": None,
            "metadata": {"queue": "answers"},
            "annotator_kind": "HUMAN",
            "source": "APP",
            "identifier": "tracequill:Ana",
            "user_id": None,
        }
    ]
    copies = "SELECT question, answer FROM tracequill.annotation_inputs WHERE item_id = $1"
    assert rows(phoenix_server, copies, item["item_id"]) == [
        {"question": "Where is my order?", "answer": "It is on its way."}
    ]
    shown = ana.get(f"/queues/{queue['queue_id']}")
    assert (shown["items"], shown["done"], shown["answers"], shown["mine"]) == (1, 1, 1, 1)


def test_the_same_answer_sent_twice_is_kept_once(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    write_calls(phoenix_server, "twice", [Call(), Call()])
    queue = ana.create("twice", "twice", overlap=2)
    first, second = ana.lease(queue, 2)
    answer_id = str(uuid.uuid4())

    once = ana.answer(first, answer_id=answer_id)
    again = ana.answer(first, "bad", answer_id=answer_id)

    assert (once["repeated"], again["repeated"]) == (False, True)
    assert again["answer"] == once["answer"]
    assert ana.answer(second, status=409, answer_id=answer_id)["code"] == "id_taken"
    assert ana.answer(first, status=409)["code"] == "already_answered"
    assert ben.answer(first, status=409, answer_id=answer_id)["code"] == "id_taken"


def test_what_is_missing_is_said_and_nothing_is_kept(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    (span_id,) = write_calls(phoenix_server, "missing", [Call()])
    queue = ana.create("missing", "missing")
    (item,) = ana.lease(queue)

    refused = ana.answer(item, status=422, values={})

    assert (refused["code"], refused["missing"]) == ("incomplete", ["quality"])
    assert ana.answer(item, "great", status=422)["code"] == "invalid"
    assert span_annotations(phoenix_server, span_id) == []


def test_a_lost_lease_is_said_and_what_was_typed_is_kept(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    (span_id,) = write_calls(phoenix_server, "lost", [Call()])
    queue = ana.create("lost", "lost")
    (item,) = ana.lease(queue)
    _let_run_out(phoenix_server, queue)
    assert ben.lease(queue) != []

    refused = ana.answer(item, status=409, correction={"text": "Better."})

    assert (refused["code"], refused["draft_kept"]) == ("lease_lost", True)
    draft = ana.get(path_of(item))["draft"]
    assert draft["values"] == {"quality": {"label": "good"}}
    assert draft["correction"]["text"] == "Better."
    assert span_annotations(phoenix_server, span_id) == []


def test_a_lease_that_ran_out_still_counts_while_nobody_else_has_the_question(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    write_calls(phoenix_server, "late", [Call()])
    queue = ana.create("late", "late")
    (item,) = ana.lease(queue)
    _let_run_out(phoenix_server, queue)

    ana.answer(item)

    assert ben.lease(queue) == []


def test_several_people_answer_one_question_and_do_not_see_each_other(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    (span_id,) = write_calls(phoenix_server, "overlap", [Call()])
    queue = ana.create("overlap", "overlap", overlap=2)
    (for_ana,) = ana.lease(queue)
    ana.answer(for_ana)

    (for_ben,) = ben.lease(queue)
    assert for_ben["answer"] is None
    ben.answer(for_ben, "bad")

    said = [(row["identifier"], row["label"]) for row in span_annotations(phoenix_server, span_id)]
    assert said == [("tracequill:Ana", "good"), ("tracequill:Ben", "bad")]
    assert ana.get(f"/queues/{queue['queue_id']}")["done"] == 1


def test_every_kind_of_label_is_stored_as_phoenix_stores_it(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    (span_id,) = write_calls(phoenix_server, "kinds", [Call()])
    labels = [
        {
            "name": "tags",
            "kind": "CATEGORICAL",
            "multiple": True,
            "values": [{"label": "rude"}, {"label": "wrong", "score": 3}, {"label": "long"}],
        },
        {"name": "stars", "kind": "CONTINUOUS", "lower_bound": 1, "upper_bound": 5},
        {"name": "remark", "kind": "FREEFORM", "required": False},
    ]
    queue = ana.create("kinds", "kinds", labels=labels)
    (item,) = ana.lease(queue)
    values = {
        "tags": {"labels": ["wrong", "rude"]},
        "stars": {"score": 4.5, "explanation": "nearly"},
        "remark": {"text": "nul \x00 and \ud800"},
    }

    ana.answer(item, values=values, correction={"text": "It left\non Monday."})

    found = {row["name"]: row for row in span_annotations(phoenix_server, span_id)}
    assert sorted(found) == ["correction", "remark", "stars", "tags: rude", "tags: wrong"]
    assert (found["tags: wrong"]["label"], found["tags: wrong"]["score"]) == ("wrong", 3)
    assert (found["stars"]["score"], found["stars"]["explanation"]) == (4.5, "nearly")
    assert found["remark"]["explanation"] == "nul � and �"
    assert found["correction"]["explanation"] == "It left\non Monday."
    assert "-It is on its way." in found["correction"]["metadata"]["diff"]


def test_undo_takes_an_answer_back_here_and_in_phoenix(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    (span_id,) = write_calls(phoenix_server, "undo", [Call()])
    queue = ana.create("undo", "undo")
    (item,) = ana.lease(queue)
    ana.answer(item, correction={"text": "Better."})

    undone = ana.post(f"/queues/{queue['queue_id']}/undo", {})

    assert undone["undone"] == "answer"
    assert undone["item"]["state"] == "leased"
    assert undone["item"]["draft"]["values"] == {"quality": {"label": "good"}}
    assert span_annotations(phoenix_server, span_id) == []
    assert ben.lease(queue) == []
    assert ana.get(f"/queues/{queue['queue_id']}")["done"] == 0
    ana.answer(undone["item"], "bad")
    assert [row["label"] for row in span_annotations(phoenix_server, span_id)] == ["bad"]


def test_undo_restores_what_stood_in_phoenix_before(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    (span_id,) = write_calls(phoenix_server, "restore", [Call()])
    annotation = {
        "span_id": span_id,
        "name": "quality",
        "annotator_kind": "HUMAN",
        "identifier": "tracequill:Ana",
        "result": {"label": "bad", "explanation": "from Phoenix"},
        "metadata": {"by": "hand"},
    }
    answer = ana.client.post("/v1/span_annotations?sync=true", json={"data": [annotation]})
    assert answer.status_code == 200, answer.text
    before = span_annotations(phoenix_server, span_id)
    (item,) = ana.lease(ana.create("restore", "restore"))
    ana.answer(item)
    assert span_annotations(phoenix_server, span_id) != before

    ana.post(f"/queues/{item['queue_id']}/undo", {"item_id": item["item_id"]})

    assert span_annotations(phoenix_server, span_id) == before


def test_an_answer_can_be_changed_and_the_change_undone(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    (span_id,) = write_calls(phoenix_server, "change", [Call()])
    queue = ana.create("change", "change")
    (item,) = ana.lease(queue)
    first = ana.answer(item)["answer"]
    opened = ana.post(f"{path_of(item)}/open")
    assert opened["answer"]["answer_id"] == first["answer_id"]

    second = ana.answer(item, "bad", replaces=first["answer_id"])["answer"]

    assert second["replaces"] == first["answer_id"]
    assert [row["label"] for row in span_annotations(phoenix_server, span_id)] == ["bad"]
    undone = ana.post(f"/queues/{queue['queue_id']}/undo", {})
    assert undone["item"]["answer"]["answer_id"] == first["answer_id"]
    assert [row["label"] for row in span_annotations(phoenix_server, span_id)] == ["good"]
    assert ana.get(f"/queues/{queue['queue_id']}")["done"] == 1


def test_any_of_the_last_ten_can_be_undone_and_nothing_older(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    write_calls(phoenix_server, "ten", [Call()] * 11)
    queue = ana.create("ten", "ten")
    items = ana.lease(queue, 10)
    for item in items:
        ana.answer(item)
    (last,) = ana.lease(queue)
    ana.answer(last)
    path = f"/queues/{queue['queue_id']}"

    assert ana.post(f"{path}/undo", {"item_id": items[0]["item_id"]}, 409)["code"] == "not_recent"
    assert ana.post(f"{path}/undo", {"item_id": items[1]["item_id"]})["undone"] == "answer"
    recent = [row["item_id"] for row in ana.get(f"{path}/recent")]
    assert recent == [item["item_id"] for item in (last, *items[:1:-1])]


def test_no_more_than_ten_things_are_undone_one_after_the_other(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    write_calls(phoenix_server, "in a row", [Call()] * 12)
    queue = ana.create("in a row", "in a row")
    path = f"/queues/{queue['queue_id']}"
    items = ana.lease(queue, 10)
    items += ana.lease(queue, 2, have=[item["item_id"] for item in items])
    assert ana.post(f"{path}/undo", {}, 409)["detail"] == "there is nothing to undo."
    for item in items[:11]:
        ana.answer(item)
    flag = {"flag_id": str(uuid.uuid4()), "question": "So?"}
    ana.post(f"{path_of(items[11])}/flag", flag)

    undone = [ana.post(f"{path}/undo")["undone"] for _ in range(10)]
    refused = [ana.post(f"{path}/undo", body, 409) for body in ({}, {"item_id": None})]

    assert undone == ["flag", *["answer"] * 9]
    assert {one["code"] for one in refused} == {"not_recent"}
    assert {one["detail"].partition(".")[0] for one in refused} == {
        "only the last 10 can be undone"
    }
    assert ana.get(f"{path}/recent") == []
    body = {"item_id": items[1]["item_id"]}
    assert ana.post(f"{path}/undo", body, 409)["code"] == "not_recent"
    ana.answer(items[5])  # something new: what can be undone is what was done last
    recent = [row["item_id"] for row in ana.get(f"{path}/recent")]
    assert recent == [items[n]["item_id"] for n in (5, 1, 0)]
    assert ana.post(f"{path}/undo", body)["undone"] == "answer"


def test_a_skipped_question_is_free_for_others_and_can_be_opened_again(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    write_calls(phoenix_server, "skip", [Call()])
    queue = ana.create("skip", "skip")
    (item,) = ana.lease(queue)

    ana.post(f"{path_of(item)}/skip")

    assert ana.lease(queue) == []
    mine = ana.get(f"/queues/{queue['queue_id']}/mine")
    assert [(row["kind"], row["question"]) for row in mine] == [("skip", "Where is my order?")]
    (for_ben,) = ben.lease(queue)
    assert ana.post(f"{path_of(item)}/open", status=409)["code"] == "lease_lost"
    ben.post(f"/queues/{queue['queue_id']}/release", {"have": [for_ben["item_id"]]})
    assert ana.post(f"{path_of(item)}/open")["state"] == "leased"


def test_a_flagged_question_waits_for_the_managers_reply_and_comes_back_first(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    write_calls(phoenix_server, "flag", [Call(), Call()])
    queue = ana.create("flag", "flag", order="oldest")
    path = f"/queues/{queue['queue_id']}"
    first, _second = ana.lease(queue, 2)
    flag = {"flag_id": str(uuid.uuid4()), "question": "Which policy holds?"}
    values = {"quality": {"label": "bad"}}

    ana.post(f"{path_of(first)}/flag", flag | {"values": values})
    again = ana.post(f"{path_of(first)}/flag", flag)

    assert again["flag"]["question"] == "Which policy holds?"
    ana.post(f"{path}/release")
    assert [item["item_id"] for item in ben.lease(queue, 5)] == [_second["item_id"]]
    (asked,) = ben.get(f"{path}/flags")
    assert (asked["name"], asked["item_id"]) == ("Ana", first["item_id"])
    ben.post(f"{path}/flags/{flag['flag_id']}/reply", {"reply": "The new one."})
    (returned,) = ana.lease(queue, 5)
    assert returned["item_id"] == first["item_id"]
    reply = returned["flag"]
    assert (reply["reply"], reply["replied_by"]) == ("The new one.", "Ben")
    assert returned["draft"]["values"] == values
    assert ben.get(f"{path}/flags") == []


def test_my_answers_are_found_by_what_was_asked_said_and_corrected(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    calls = [Call(question="About refunds"), Call(answer="In two days"), Call()]
    write_calls(phoenix_server, "search", calls)
    queue = ana.create("search", "search", order="oldest")
    path = f"/queues/{queue['queue_id']}/mine"
    refund, days, plain = ana.lease(queue, 3)
    ana.answer(refund)
    ana.answer(days, "bad")
    ana.answer(plain, correction={"text": "By Friday"})

    def found(search: str) -> list[int]:
        return [row["item_id"] for row in ana.get(f"{path}?search={search}")]

    assert found("REFUND") == [refund["item_id"]]
    assert found("two days") == [days["item_id"]]
    assert found("friday") == [plain["item_id"]]
    assert found("100%") == []
    answer = ana.client.get(f"/tracequill/api{path}?limit=2").json()
    rest = ana.get(f"{path}?limit=2&cursor={answer['next_cursor']}")
    order = [row["item_id"] for row in (*answer["data"], *rest)]
    assert order == [plain["item_id"], days["item_id"], refund["item_id"]]


def test_what_was_judged_outlives_the_span(phoenix_server: PhoenixServer, ana: Worker) -> None:
    span_id, unjudged = write_calls(phoenix_server, "retention", [Call(), Call()])
    queue = ana.create("retention", "retention", order="oldest")
    first, second = ana.lease(queue, 2)
    ana.answer(first)

    _delete_spans(phoenix_server, [span_id, unjudged])

    opened = ana.post(f"{path_of(first)}/open")
    assert opened["conversation"]["question"] == "Where is my order?"
    assert ana.get(path_of(second))["conversation"] is None
    assert ana.answer(second)["answer"]["values"] == {"quality": {"label": "good"}}


def _let_run_out(server: PhoenixServer, queue: Json) -> None:
    rows(
        server,
        "UPDATE tracequill.annotation_slots SET leased_until = now() - interval '1 second' "
        "WHERE queue_id = $1 AND state = 'leased'",
        queue["queue_id"],
    )


def _delete_spans(server: PhoenixServer, span_ids: list[str]) -> None:
    rows(server, "DELETE FROM spans WHERE span_id = ANY($1)", span_ids)


def test_an_answer_says_whether_the_question_is_done_by_it_and_the_figures_follow(
    phoenix_server: PhoenixServer,
) -> None:
    write_calls(phoenix_server, "done by it", [Call(), Call()])
    with named(phoenix_server, "Ana") as ana, named(phoenix_server, "Ben") as ben:
        queue = ana.create("done by it", "done by it", overlap=2)
        figures = f"/queues/{queue['queue_id']}/figures"
        item = ana.lease(queue)[0]
        theirs = ben.lease(queue)[0]
        assert ana.answer(item)["done_change"] == 0
        once: Json = {"answer_id": str(uuid.uuid4())}
        last = ben.answer(theirs, **once)
        assert last["done_change"] == 1
        assert ben.answer(theirs, **once)["done_change"] == 0  # sent again: it was counted
        changed = ben.answer(theirs, "bad", replaces=last["answer"]["answer_id"])
        assert changed["done_change"] == 0
        assert ana.get(figures) == {"items": 2, "done": 1, "mine": 1, "questions": 0}

        undo = f"/queues/{queue['queue_id']}/undo"
        assert ben.post(undo)["done_change"] == 0  # what was replaced holds again
        assert ben.post(undo)["done_change"] == -1
        assert ben.get(figures) == {"items": 2, "done": 0, "mine": 0, "questions": 0}

        body: Json = {"flag_id": str(uuid.uuid4()), "question": "Why?"}
        ben.post(f"{path_of(theirs)}/flag", body)
        assert ana.get(figures)["questions"] == 1
        assert ben.post(undo)["done_change"] == 0
