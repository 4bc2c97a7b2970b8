"""What a queue is made of: shown before it is added, and added once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.annotate.rig import QUALITY, START, Call, Worker, named, rows, write_calls
from tests.integration.fixtures_phoenix import PhoenixServer, clean_environment

pytestmark = pytest.mark.integration

SUPPORT = [
    Call("Where is it?", "Looking …", trace="one"),
    Call("Where is it?", "On its way.", trace="one", user="u-1"),
    Call("Wo ist das Päckchen?", "Unterwegs.", model="claude", user="u-2"),
    Call("Cancel it", "Done.", model="claude"),
    Call("Cancel it", "", trace="broken", status="ERROR"),
    Call("lookup", "…", kind="TOOL"),
]


@pytest.fixture
def ana(phoenix_server: PhoenixServer) -> Iterator[Worker]:
    with named(phoenix_server, "Ana") as worker:
        yield worker


@pytest.fixture(scope="module")
def spans(phoenix_server: PhoenixServer) -> list[str]:
    return write_calls(phoenix_server, "support", SUPPORT)


def preview(worker: Worker, **fields: object) -> tuple[int, list[str]]:
    found = worker.post("/selection/preview", {"project": "support", "limit": 50} | fields)
    return found["count"], [item["answer"] for item in found["items"]]


def test_one_item_is_the_final_answer_of_each_trace_and_every_call_on_request(
    ana: Worker, spans: list[str]
) -> None:
    assert preview(ana) == (3, ["Done.", "Unterwegs.", "On its way."])
    assert preview(ana, which="every_llm_span")[0] == 5


@pytest.mark.parametrize(
    ("fields", "answers"),
    [
        ({"model": "claude"}, ["Done.", "Unterwegs."]),
        ({"user": "u-1"}, ["On its way."]),
        ({"text": "PÄCKCHEN"}, ["Unterwegs."]),
        ({"text": "'"}, []),
        ({"text": 'it" or "" in "'}, []),
        ({"text": "%"}, []),
        ({"text": "O_ its"}, []),
        ({"text": "on ITS"}, ["On its way."]),
        ({"since": "2026-01-01T02:00:00+02:00", "text": "Done"}, ["Done."]),
        ({"since": "2030-01-01T00:00:00Z"}, []),
        ({"until": START.isoformat()}, []),
        ({"where": "user.id == 'u-2'", "model": "nobody"}, ["Unterwegs."]),
    ],
)
def test_the_form_finds_what_it_says(
    ana: Worker, spans: list[str], fields: dict[str, str], answers: list[str]
) -> None:
    assert preview(ana, **fields) == (len(answers), answers)


def test_a_text_with_quotes_and_line_ends_is_found_also_within_messages(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    said = 'He said "no".\nThen 100 % of_it, a\\b.'
    write_calls(phoenix_server, "quoted", [Call(said, "x"), Call("He said no.", "x")])

    for text in ('said "no"', '".\nThen', "100 %", "of_it", "a\\b"):
        form = {"project": "quoted", "text": text}
        assert [one["question"] for one in ana.post("/selection/preview", form)["items"]] == [said]
        where = ana.post("/selection/expression", form)["where"]
        only_messages = where[1:-1].split(" or ")
        kept = " or ".join(part for part in only_messages if "llm.input_messages" in part)
        assert ana.post("/selection/preview", {"project": "quoted", "where": kept})["count"] == 1


def test_the_filter_beneath_the_form_finds_the_same(ana: Worker, spans: list[str]) -> None:
    form = {"project": "support", "text": "Unterwegs", "model": "claude"}
    where = ana.post("/selection/expression", form)["where"]

    assert "llm.model_name == 'claude'" in where
    assert preview(ana, where=where) == preview(ana, text="Unterwegs", model="claude")


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("model ==", "at its end"),
        ("name == 'a' and and", "at character 17"),
        ("__import__('os')", "not valid"),
        ("().__class__.__bases__", "not valid"),
        ("latency_ms == 'x'", "not valid"),
        ("name == 'a'; DROP TABLE spans", "not valid"),
        ("[x for x in 'abc']", "not valid"),
        ("not " * 4000 + "name", "nested"),
        ("name == '" + "x" * 20_000 + "'", "20000 characters"),
    ],
)
def test_a_wrong_filter_is_said_in_a_sentence(
    ana: Worker, spans: list[str], where: str, said: str
) -> None:
    refused = ana.post("/selection/preview", {"project": "support", "where": where}, 422)

    assert refused["code"] == "invalid"
    assert said in refused["detail"]
    assert ana.create("hostile", "support", 422, selection={"project": "support", "where": where})


def test_a_project_that_is_empty_or_gone_is_said(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    write_calls(phoenix_server, "no calls", [])

    found = ana.post("/selection/preview", {"project": "no calls"})

    assert (found["count"], found["items"], found["counted_all"]) == (0, [], True)
    assert "no project" in ana.post("/selection/preview", {"project": "never was"}, 404)["detail"]


def test_later_additions_leave_out_what_is_there(ana: Worker, spans: list[str]) -> None:
    queue = ana.create("additions", "support", selection={"project": "support", "model": "claude"})
    path = f"/queues/{queue['queue_id']}/items"

    assert queue["items"] == 2
    assert ana.post(path, {"project": "support"}) == {"added": 1, "already": 2, "items": 3}
    assert ana.post(path, {"project": "support"}) == {"added": 0, "already": 3, "items": 3}
    assert ana.post(path, {"span_ids": spans[:2]}) == {"added": 1, "already": 1, "items": 4}
    assert ana.post(path, {"span_ids": ["feedfeedfeedfeed"]}, 422)["code"] == "invalid"
    body = {"project": "support", "queue_id": queue["queue_id"]}
    left = ana.post("/selection/preview", body)
    assert (left["count"], left["already"]) == (0, 3)


def test_a_sample_is_so_many_and_the_order_is_kept(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    write_calls(phoenix_server, "thirty", [Call(answer=str(number)) for number in range(30)])
    queue = ana.create(
        "sampled", "thirty", order="oldest", selection={"project": "thirty", "sample": 10}
    )

    given = [int(item["conversation"]["answer"]["text"]) for item in ana.lease(queue, 10)]

    assert queue["items"] == len(given) == 10
    assert given == sorted(given)
    assert given != list(range(10))  # one in thirty million


def test_the_newest_come_first_also_those_that_were_added_later(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    write_calls(phoenix_server, "order", [Call(answer="1"), Call(answer="2")])
    queue = ana.create("order", "order")
    write_calls(phoenix_server, "order", [Call(answer="3")])
    ana.post(f"/queues/{queue['queue_id']}/items", {"project": "order"})

    def given() -> list[str]:
        items = ana.lease(queue, 3)
        ana.post(f"/queues/{queue['queue_id']}/release")
        return [item["conversation"]["answer"]["text"] for item in items]

    assert given() == ["3", "2", "1"]
    ana.call("PATCH", f"/queues/{queue['queue_id']}", {"order": "oldest"})
    assert given() == ["1", "2", "3"]


def test_what_is_labelled_already_is_left_out_on_request(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    write_calls(phoenix_server, "labelled", [Call(), Call()])
    first = ana.create("labelled", "labelled")
    (item,) = ana.lease(first)
    ana.answer(item)

    selection = {"project": "labelled", "not_labelled": True}
    second = ana.create("not labelled", "labelled", selection=selection)

    assert (first["items"], second["items"]) == (2, 1)
    assert second["where"] == "not annotations['quality']"


def test_a_queue_of_nothing_is_not_made(
    phoenix_server: PhoenixServer, ana: Worker, spans: list[str]
) -> None:
    nothing = {"project": "support", "text": "no such text"}

    assert ana.create("nothing", "support", 422, selection=nothing)["code"] == "invalid"
    assert ana.create("nowhere", "no such project", 404)["code"] == "not_found"
    made = rows(
        phoenix_server,
        "SELECT FROM tracequill.annotation_queues WHERE name IN ('nothing', 'nowhere')",
    )
    assert made == []
    assert ana.create("empty", "support", selection=None)["items"] == 0


def test_a_queue_asks_more_people_when_its_overlap_grows(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    write_calls(phoenix_server, "grows", [Call(), Call()])
    queue = ana.create("grows", "grows")
    path = f"/queues/{queue['queue_id']}"
    (item,) = ana.lease(queue)
    ana.answer(item)
    assert ana.get(path)["done"] == 1

    assert ana.call("PATCH", path, {"overlap": 3})["done"] == 0
    with named(phoenix_server, "Ben") as ben:
        assert len(ben.lease(queue, 5)) == 2
        ben.post(f"{path}/release")
    assert ana.call("PATCH", path, {"overlap": 1})["done"] == 1
    with named(phoenix_server, "Ben") as ben:
        assert len(ben.lease(queue, 5)) == 1


def test_the_earlier_turns_of_the_session_are_shown(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    calls = [Call(f"question {turn}", f"answer {turn}", session="talk") for turn in range(3)]
    write_calls(phoenix_server, "talk", calls)
    queue = ana.create("talk", "talk")

    (item,) = ana.lease(queue)

    assert item["conversation"]["question"] == "question 2"
    (copy,) = rows(
        phoenix_server,
        "SELECT count(*) FROM tracequill.annotation_items WHERE queue_id = $1",
        queue["queue_id"],
    )
    assert copy["count"] == 3
    text = str(item["conversation"])
    assert text.index("answer 0") < text.index("answer 1")


_HEAVY = "not ('never said' in input.value)"


@pytest.fixture(scope="module")
def long_texts(phoenix_server: PhoenixServer) -> str:
    """A project whose texts are a megabyte each; looking through all of them takes its time."""
    (span_id,) = write_calls(phoenix_server, "long texts", [Call("A" * 1_000_000)])
    rows(
        phoenix_server,
        "INSERT INTO spans (trace_rowid, span_id, name, span_kind, start_time, end_time, "
        "attributes, events, status_code, status_message, cumulative_error_count, "
        "cumulative_llm_token_count_prompt, cumulative_llm_token_count_completion) "
        "SELECT trace_rowid, 'longlonglong' || number, name, span_kind, start_time, end_time, "
        "attributes, events, status_code, status_message, 0, 0, 0 "
        "FROM spans, generate_series(1, 15) AS number WHERE span_id = $1 RETURNING id",
        span_id,
    )
    return "long texts"


def test_a_filter_that_takes_too_long_ends_with_a_sentence_and_adds_nothing(
    phoenix_server: PhoenixServer, ana: Worker, long_texts: str
) -> None:
    queue = ana.create("too long", long_texts, selection=None)
    form = {"project": long_texts, "which": "every_llm_span", "where": _HEAVY}
    paths = {
        "/selection/preview": form,
        f"/queues/{queue['queue_id']}/items": form,
        "/queues": {"name": "too long, too", "labels": [QUALITY], "selection": form},
    }

    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("select_shortly.py"))],
        input=json.dumps(
            {"database_url": phoenix_server.database_url, "seconds": 0.02, "asked": paths}
        ),
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )

    for answer in json.loads(done.stdout):
        assert answer["status"] == 422, answer
        assert answer["said"]["code"] == "invalid"
        assert "takes too long. Choose fewer days" in answer["said"]["detail"]
    assert ana.get(f"/queues/{queue['queue_id']}")["items"] == 0
    assert "too long, too" not in [one["name"] for one in ana.get("/queues")]
    # With the time that there is, it is a filter like any other.
    assert ana.post("/selection/preview", form)["count"] == 16
    assert ana.post(f"/queues/{queue['queue_id']}/items", form)["added"] == 16
