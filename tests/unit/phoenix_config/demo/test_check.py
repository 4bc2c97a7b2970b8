from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from tracequill_phoenix.demo.calls import Calls, Labelled
from tracequill_phoenix.demo.check import Found, wait_for_spans
from tracequill_phoenix.demo.conversations import Verdict
from tracequill_phoenix.demo.labels import build_dataset, label_answers

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
GOOD = Verdict("good", "Correct.")


def span(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "context": {"trace_id": "a" * 32, "span_id": f"{number:016x}"},
        "span_kind": "LLM",
        "start_time": f"2026-01-01T00:00:{number:02d}Z",
        "status_code": "OK",
        "attributes": {"session.id": "s-1", "user.id": "ann"},
        **fields,
    }


def made(count: int, refused: int = 0) -> Calls:
    return Calls("demo", Counter(chat=count), refused, {"s-1"}, {"ann"})


class FakePhoenix:
    """Gives one more span each time it is asked, and keeps what is posted."""

    def __init__(self, spans: list[dict[str, Any]]) -> None:
        self.spans = spans
        self.asked = 0
        self.posted: list[tuple[str, Any]] = []

    def pages(self, path: str, **params: Any) -> list[dict[str, Any]]:
        assert path == "/v1/projects/demo/spans"
        assert params == {"start_time": SINCE.isoformat(), "span_kind": ["LLM", "EMBEDDING"]}
        self.asked += 1
        return self.spans[: self.asked]

    def get(self, path: str, **params: Any) -> Any:
        raise AssertionError(path)

    def post(self, path: str, body: object) -> Any:
        self.posted.append((path, body))
        return {"data": {"name": "d", "dataset_id": "1", "added": 1}}


def test_a_span_for_each_call_is_as_it_should_be() -> None:
    error = span(2, status_code="ERROR")

    assert Found(made(2, refused=1), (span(1), error)).problems == []


def test_each_thing_that_is_missing_or_too_much_is_one_sentence() -> None:
    few = Found(made(2), (span(1),)).problems
    many = Found(made(1), (span(1), span(2))).problems
    stranger = Found(made(1), (span(1, attributes={}),)).problems
    silent = Found(made(1, refused=1), (span(1),)).problems

    assert few == ["demo: 2 calls, but only 1 of their spans came."]
    assert many == ["demo: 1 calls, but 2 spans: a call was kept twice."]
    assert stranger == [
        "demo: no span of the sessions s-1.",
        "demo: no span of the users ann.",
    ]
    assert silent == ["demo: 1 calls were refused, but 0 spans say so."]


def test_waiting_ends_when_all_spans_are_there() -> None:
    phoenix = FakePhoenix([span(1), span(2), span(3)])
    seen: list[int] = []

    found = wait_for_spans(phoenix, made(2), SINCE, seen.append)

    assert seen == [1, 2]
    assert len(found.spans) == 2


def test_waiting_ends_when_time_is_up() -> None:
    found = wait_for_spans(FakePhoenix([]), made(2), SINCE, lambda count: None, wait_seconds=0)

    assert found.problems == ["demo: 2 calls, but only 0 of their spans came."]


def test_the_last_call_for_words_in_the_trace_is_labelled_or_the_span_that_the_proxy_named() -> (
    None
):
    calls = made(3)
    calls.labelled = [Labelled(GOOD, "a" * 32), Labelled(GOOD, "a" * 32, f"{1:016x}")]
    phoenix = FakePhoenix([])
    spans = (span(2), span(1), span(3, span_kind="EMBEDDING"))

    count = label_answers(phoenix, Found(calls, spans))

    [(path, body)] = phoenix.posted
    assert count == 2
    assert path == "/v1/span_annotations?sync=true"
    assert [entry["span_id"] for entry in body["data"]] == [f"{2:016x}", f"{1:016x}"]
    assert body["data"][0]["annotator_kind"] == "HUMAN"
    assert body["data"][0]["result"] == {"label": "good", "score": 1, "explanation": "Correct."}


def test_an_answer_whose_span_is_missing_is_not_labelled() -> None:
    calls = made(1)
    calls.labelled = [Labelled(GOOD, "f" * 32), Labelled(GOOD, "a" * 32, "f" * 16)]
    phoenix = FakePhoenix([])

    assert label_answers(phoenix, Found(calls, (span(1),))) == 0
    assert phoenix.posted == []


def test_the_dataset_is_of_the_good_answers_and_grows_when_the_demo_runs_again() -> None:
    phoenix = FakePhoenix([])

    build_dataset(phoenix, "demo")

    [(path, body)] = phoenix.posted
    assert path == "/tracequill/api/datasets"
    assert body["where"] == "annotations['quality'].label == 'good'"
    assert body["append"] is True
