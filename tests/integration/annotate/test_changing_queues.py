"""What changes while people work: labels, the queue itself, and Phoenix's annotations."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.annotate.rig import (
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
def ana(phoenix_server: PhoenixServer) -> Iterator[Worker]:
    with named(phoenix_server, "Ana") as worker:
        yield worker


@pytest.fixture
def ben(phoenix_server: PhoenixServer) -> Iterator[Worker]:
    with named(phoenix_server, "Ben") as worker:
        yield worker


def _config(name: str, *choices: str) -> Json:
    return {
        "name": name,
        "type": "CATEGORICAL",
        "values": [{"label": choice} for choice in choices],
    }


def _label(name: str, *choices: str, **fields: Any) -> Json:
    values = [{"label": choice} for choice in choices]
    return {"name": name, "kind": "CATEGORICAL", "values": values} | fields


def _change_in_phoenix(worker: Worker, label: Json, *choices: str) -> None:
    """Do what Phoenix's settings do: a config with other choices."""
    name = label["name"]
    body = _config(name, *choices) | {"optimization_direction": "NONE"}
    path = f"/v1/annotation_configs/{label['config_id']}"
    answer = worker.client.put(path, json=body)
    assert answer.status_code == 200, answer.text


def _said_in_phoenix(server: PhoenixServer, span_id: str) -> dict[str, str]:
    return {row["name"]: row["label"] for row in span_annotations(server, span_id)}


def test_labels_that_change_under_an_open_question_are_said_and_nothing_is_kept(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    (span_id,) = write_calls(phoenix_server, "new labels", [Call()])
    name = f"verdict {uuid.uuid4()}"
    queue = ben.create("new labels", "new labels", labels=[_label(name, "yes", "no", "maybe")])
    path = f"/queues/{queue['queue_id']}"
    (item,) = ana.lease(queue)
    _change_in_phoenix(ben, queue["labels"][0], "yes", "no")

    ben.call("PATCH", path, {"labels": [{"name": name}, QUALITY]})

    assert ana.answer(item, status=422, values={name: {"label": "maybe"}})["code"] == "invalid"
    refused = ana.answer(item, status=422, values={name: {"label": "yes"}})
    assert (refused["code"], refused["missing"]) == ("incomplete", ["quality"])
    assert _said_in_phoenix(phoenix_server, span_id) == {}
    ana.answer(item, values={name: {"label": "yes"}, "quality": {"label": "good"}})
    assert _said_in_phoenix(phoenix_server, span_id) == {name: "yes", "quality": "good"}
    assert ben.call("PATCH", path, {"labels": [QUALITY]}, 409)["code"] == "invalid"
    tags = {"labels": [{"name": name, "multiple": True}, QUALITY]}
    assert ben.call("PATCH", path, tags, 409)["code"] == "invalid"


def test_a_tag_that_is_no_longer_said_leaves_phoenix_even_where_nobody_can_say_it_any_more(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    (span_id,) = write_calls(phoenix_server, "lost tags", [Call()])
    name = f"faults {uuid.uuid4()}"
    tags = _label(name, "rude", "wrong", "long", multiple=True)
    queue = ana.create("lost tags", "lost tags", labels=[tags])
    path = f"/queues/{queue['queue_id']}"
    (item,) = ana.lease(queue)
    first = ana.answer(item, values={name: {"labels": ["rude", "wrong"]}})["answer"]
    both = {f"{name}: rude": "rude", f"{name}: wrong": "wrong"}
    assert _said_in_phoenix(phoenix_server, span_id) == both
    _change_in_phoenix(ana, queue["labels"][0], "wrong", "long")
    ana.call("PATCH", path, {"labels": [{"name": name, "multiple": True}]})

    changed = {name: {"labels": ["wrong", "long"]}}
    ana.answer(item, values=changed, replaces=first["answer_id"])

    others = {f"{name}: long": "long", f"{name}: wrong": "wrong"}
    assert _said_in_phoenix(phoenix_server, span_id) == others
    ana.post(f"{path}/undo")
    assert _said_in_phoenix(phoenix_server, span_id) == both
    ana.post(f"{path}/undo")
    assert _said_in_phoenix(phoenix_server, span_id) == {}


def test_an_annotation_that_phoenixs_page_changed_or_deleted_is_written_again_by_the_next_answer(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    changed, deleted = write_calls(phoenix_server, "elsewhere", [Call(), Call()])
    queue = ana.create("elsewhere", "elsewhere", order="oldest")
    first, second = ana.lease(queue, 2)
    answers = [ana.answer(item)["answer"] for item in (first, second)]
    annotation = {
        "span_id": changed,
        "name": "quality",
        "annotator_kind": "HUMAN",
        "identifier": "tracequill:Ana",
        "result": {"label": "bad", "explanation": "in Phoenix"},
    }
    done = ana.client.post("/v1/span_annotations?sync=true", json={"data": [annotation]})
    assert done.status_code == 200, done.text
    rows(
        phoenix_server,
        "DELETE FROM span_annotations USING spans AS s WHERE s.id = span_rowid AND s.span_id = $1",
        deleted,
    )

    # The queue keeps its copy of what was said there, and says so.
    assert ana.get(path_of(first))["answer"]["values"] == {"quality": {"label": "good"}}
    for item, answer in zip((first, second), answers, strict=True):
        ana.answer(item, "bad", replaces=answer["answer_id"])

    for span_id in (changed, deleted):
        (row,) = span_annotations(phoenix_server, span_id)
        assert (row["label"], row["explanation"]) == ("bad", None)
    path = f"/queues/{queue['queue_id']}/undo"
    assert ana.post(path)["undone"] == ana.post(path)["undone"] == "answer"
    (row,) = span_annotations(phoenix_server, changed)
    assert (row["label"], row["explanation"]) == ("bad", "in Phoenix")
    assert span_annotations(phoenix_server, deleted) == []


def test_a_queue_that_is_archived_or_deleted_takes_no_more_and_says_so(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    write_calls(phoenix_server, "put away", [Call(), Call()])
    archived = ben.create("archived", "put away", order="oldest")
    deleted = ben.create("put away", "put away")
    done, open_ = ana.lease(archived, 2)
    answered = ana.answer(done)["answer"]
    (gone,) = ana.lease(deleted)
    path = f"/queues/{archived['queue_id']}"

    ben.call("PATCH", path, {"archived": True})
    ben.call("DELETE", f"/queues/{deleted['queue_id']}", status=204)

    assert ana.answer(open_, status=409)["code"] == "archived"
    again = {"answer_id": answered["answer_id"]}
    assert ana.answer(done, **again)["repeated"] is True  # an answer whose receipt was lost
    for what in ("lease", "undo"):
        assert ana.post(f"{path}/{what}", {}, 409)["code"] == "archived"
    for what in ("skip", "open"):
        assert ana.post(f"{path_of(open_)}/{what}", {}, 409)["code"] == "archived"
    ana.post(f"{path}/release")
    assert [row["item_id"] for row in ana.get(f"{path}/mine")] == [done["item_id"]]
    for what in ("answer", "skip", "draft"):
        method = "PUT" if what == "draft" else "POST"
        body = {"answer_id": str(uuid.uuid4())} if what == "answer" else {}
        refused = ana.call(method, f"{path_of(gone)}/{what}", body, 404)
        assert refused["code"] == "not_found"
    ben.call("PATCH", path, {"archived": False})
    assert [item["item_id"] for item in ana.lease(archived)] == [open_["item_id"]]


def test_what_came_back_to_somebody_who_never_comes_is_given_to_others(
    phoenix_server: PhoenixServer, ana: Worker, ben: Worker
) -> None:
    write_calls(phoenix_server, "never comes", [Call()])
    queue = ben.create("never comes", "never comes")
    path = f"/queues/{queue['queue_id']}"
    (item,) = ana.lease(queue)
    flag = {"flag_id": str(uuid.uuid4()), "question": "?"}
    ana.post(f"{path_of(item)}/flag", flag)
    reply = f"{path}/flags/{flag['flag_id']}/reply"
    ben.post(reply, {"reply": "Yes."})
    assert ben.lease(queue) == []

    ben.post(reply, {"reply": "Yes.", "give_to_others": True})

    assert [one["item_id"] for one in ben.lease(queue)] == [item["item_id"]]


@pytest.mark.parametrize(
    "attributes",
    [
        {"llm": "text", "user": "bob"},
        {"llm": {"model_name": ["x"]}, "user": {"id": {"a": 1}}},
        {"llm": {"model_name": 2**62, "input_messages": "x"}, "output": 5, "user": [1]},
        {},
    ],
)
def test_a_recorded_call_of_any_shape_is_previewed_leased_and_answered(
    phoenix_server: PhoenixServer, ana: Worker, attributes: Json
) -> None:
    project = f"shapes {uuid.uuid4()}"
    write_calls(phoenix_server, project, [Call(attributes=attributes)])

    found = ana.post("/selection/preview", {"project": project})
    ana.get(f"/projects/{project}/facets")
    (item,) = ana.lease(ana.create(project, project))
    ana.answer(item)

    assert found["count"] == 1
    assert found["items"][0]["model"] == item["model"] == ""
