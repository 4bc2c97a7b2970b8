"""The figures of one person at the annotation page, and the conversations that are read there."""

from __future__ import annotations

import json
from typing import Any

from bench.queue.beside import VALUES, Way
from bench.queue.conversations import (
    BOOK_CHARACTERS,
    REPORT_CHARACTERS,
    TURN,
    conversation,
    marker,
)
from bench.queue.pace import Paced, shown_ms
from bench.queue.page import of_opening, of_paced, of_way
from bench.queue.page_table import page_lines
from bench.queue.server import QUALITY


def answer_of(number: int) -> str:
    """What the model answered in a conversation."""
    text: str = conversation(number)["llm"]["output_messages"][0]["message"]["content"]
    return text


def test_a_number_gives_one_conversation_and_each_its_own() -> None:
    assert conversation(3) == conversation(3)
    assert conversation(3) != conversation(3 + TURN)
    assert marker(3) in conversation(3)["input"]["value"]


def test_conversations_have_the_sizes_that_are_told() -> None:
    sizes = [len(answer_of(number)) for number in range(TURN)]

    assert max(sizes) >= BOOK_CHARACTERS
    assert sum(REPORT_CHARACTERS <= size < BOOK_CHARACTERS for size in sizes) == 1
    assert sum(size < 5_000 for size in sizes) == TURN - 2


def test_some_conversations_call_tools_and_each_result_has_its_call() -> None:
    called = 0
    for number in range(TURN):
        messages = [one["message"] for one in conversation(number)["llm"]["input_messages"]]
        ids = {call["tool_call"]["id"] for one in messages for call in one.get("tool_calls", ())}
        results = {one["tool_call_id"] for one in messages if one["role"] == "tool"}
        assert ids == results
        called += bool(ids)
    assert called


def test_the_labels_pressed_are_those_of_the_queue() -> None:
    values: Any = QUALITY["values"]
    assert VALUES == tuple(one["label"] for one in values)


def test_a_question_belongs_to_the_key_before_it() -> None:
    measures = [(100.0, 10.0), (200.0, 10.0), (300.0, 10.0)]

    # The second question was gone before it was shown.
    assert shown_ms(measures, [40.0, 120.0, 316.0]) == [20.0, 16.0]


def test_what_is_over_the_target_is_counted() -> None:
    painted = [10.0] * 97 + [99.9, 100.0, 250.0]
    found = of_paced(Paced(1.0, 50.0, 200, painted, [20.0, 30.0]))

    assert found["over_target"] == 2
    assert (found["painted_ms_p95"], found["painted_ms_max"]) == (10.0, 250.0)
    assert (found["answers_per_second"], found["keys"]) == (2.0, 200)
    assert (found["shown"], found["shown_ms_max"]) == (2, 30.0)


def page(p95: float) -> dict[str, Any]:
    """Figures as a run gives them."""
    paced = of_paced(Paced(1.0, 100.0, 200, [p95] * 100, [p95]))
    way = of_way(Way(40, [30.0] * 19, 1.0), 20)
    return {
        "browser": "1.2",
        "items": 10_000,
        "opening": of_opening([900.0, 1_100.0]),
        "pace": paced,
        "sprint": paced,
        "beside": {"answers": 20, "ours": way, "phoenix": way},
    }


def test_the_table_says_whether_the_target_is_reached() -> None:
    assert any("99 ms; reached" in line for line in page_lines(page(99.0)))
    assert any("100 ms; NOT reached" in line for line in page_lines(page(100.0)))


def test_the_table_survives_a_round_trip_through_json() -> None:
    found = page(50.0)
    assert list(page_lines(json.loads(json.dumps(found)))) == list(page_lines(found))


def test_a_labels_cost_is_a_share_of_all() -> None:
    found = of_way(Way(70, [500.0, 700.0], 15.0), 20)

    assert found["keys_an_item"] == 3.5
    assert (found["seconds_an_item"], found["item_ms_max"]) == (0.75, 700)
