from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.phoenix_config.annotate.conversations import (
    ANSWER,
    PNG,
    USER,
    conversation,
    parts_of,
    span,
)
from tracequill_phoenix.dataset_export.bodies import openai_messages
from tracequill_phoenix.dataset_export.testing import (
    llm_span,
    message,
    openai_tool,
    tool,
    tool_call,
)


def test_question_and_answer_are_told_from_what_was_said_before() -> None:
    seen = conversation(
        llm_span(
            [
                message("system", "Be brief."),
                message("user", "Hello"),
                message("assistant", "Hello!"),
                USER,
            ],
            [ANSWER],
            model_name="gpt-4o",
        )
    )

    assert seen["question"] == "Is it raining in Paris?"
    assert seen["answer"]["text"] == "Yes."
    assert seen["answer"]["message"] == {"role": "assistant", "content": "Yes."}
    assert [m["role"] for m in seen["messages"]] == ["system", "user", "assistant", "user"]
    assert seen["question_at"] == 3
    assert seen["answers"] == [
        {
            "role": "assistant",
            "name": "",
            "parts": [
                {
                    "kind": "text",
                    "format": "markdown",
                    "text": "Yes.",
                    "size": 4,
                    "truncated": False,
                }
            ],
        }
    ]
    assert seen["model"] == "gpt-4o"
    assert seen["notes"] == []


def test_what_a_tool_gave_lies_beneath_the_call_that_asked_for_it() -> None:
    called = message(
        "assistant",
        tool_calls=[
            tool_call("weather", '{"city": "Paris"}', id="a"),
            tool_call("time", "{}", id="b"),
        ],
    )
    seen = conversation(
        llm_span(
            [
                USER,
                called,
                message("tool", "noon", tool_call_id="b"),
                message("tool", '{"rain": true}', tool_call_id="a"),
            ],
            [ANSWER],
        )
    )

    assert [m["role"] for m in seen["messages"]] == ["user", "assistant"]
    weather, time = seen["messages"][1]["parts"]
    assert (weather["name"], weather["arguments"]["text"]) == ("weather", '{"city": "Paris"}')
    assert [part["kind"] for part in weather["results"][0]["parts"]] == ["json"]
    assert time["results"][0]["parts"][0]["format"] == "plain"
    assert seen["question"] == "Is it raining in Paris?"


def test_a_result_without_its_call_stands_alone() -> None:
    seen = conversation(llm_span([USER, message("tool", "noon", tool_call_id="b")], [ANSWER]))

    assert seen["messages"][1]["role"] == "tool"
    assert seen["messages"][1]["parts"][0]["kind"] == "tool_result"
    assert seen["messages"][1]["parts"][0]["parts"][0]["text"] == "noon"


def test_results_and_calls_without_ids_find_each_other_by_name() -> None:
    called = message("assistant", tool_calls=[tool_call("a", "{}"), tool_call("b", "{}")])
    seen = conversation(
        llm_span([USER, called, message("tool", "of b", name="b")], [ANSWER], system="openai")
    )

    first, second = seen["messages"][1]["parts"]
    assert first["results"] == []
    assert second["results"][0]["parts"][0]["text"] == "of b"


def test_an_answer_that_calls_tools_is_corrected_call_by_call() -> None:
    answer = message(
        "assistant",
        "I shall look.",
        tool_calls=[tool_call("weather", '{"city":"Pariss"}', id="a")],
    )
    corrected = conversation(llm_span([USER], [answer]))["answer"]

    assert corrected["text"] == 'I shall look.\n\nweather({"city":"Pariss"})'
    assert [(field["path"], field["kind"]) for field in corrected["editable"]] == [
        (["content"], "text"),
        (["tool_calls", 0, "function", "arguments"], "json"),
    ]
    for field in corrected["editable"]:
        place: Any = corrected["message"]
        for step in field["path"]:
            place = place[step]
        assert place == field["text"]
    # What is stored can be read again as training data.
    (read,) = openai_messages([corrected["message"]], [])
    assert read.tool_calls[0].arguments == '{"city":"Pariss"}'


def test_a_call_alone_has_no_text_to_correct() -> None:
    answer = message("assistant", tool_calls=[tool_call("weather", {"city": "Paris"}, id="a")])
    seen = conversation(llm_span([USER], [answer]))["answer"]

    assert seen["kind"] == "tool_calls"
    assert [field["label"] for field in seen["editable"]] == ["Arguments of weather"]
    assert seen["text"] == 'weather({"city":"Paris"})'


def test_json_is_told_from_text_and_keeps_its_spelling() -> None:
    recorded = '{ "id": 12345678901234567890.10 }'
    seen = conversation(llm_span([USER], [message("assistant", recorded)]))

    assert seen["answer"]["kind"] == "json"
    assert seen["answer"]["editable"][0]["text"] == recorded
    assert seen["answers"][0]["parts"][0]["kind"] == "json"


def test_the_models_reasoning_is_shown_and_is_no_part_of_the_answer() -> None:
    answer = message(
        "assistant",
        contents=[
            {"type": "reasoning", "text": "I think", "signature": "s"},
            {"type": "text", "text": "Yes."},
            {"type": "reasoning", "data": "cmVkYWN0ZWQ="},
        ],
    )
    seen = conversation(llm_span([USER], [answer]))

    assert seen["answer"]["text"] == "Yes."
    kinds = [(part["kind"], part.get("hidden")) for part in seen["answers"][0]["parts"]]
    assert kinds == [("reasoning", False), ("text", None), ("reasoning", True)]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (PNG, {"url": PNG, "why": "", "mime_type": "image/png"}),
        ("https://a.example/b.png", {"url": "", "why": "outside"}),
        ("javascript:alert(1)", {"url": "", "why": "not_an_image", "target": ""}),
        ("data:text/html;base64,AAAA", {"url": "", "why": "not_an_image"}),
        ("data:image/svg+xml;base64,AAAA", {"url": "", "why": "not_an_image"}),
        ('data:image/png;base64,"><script>', {"url": "", "why": "not_an_image"}),
        ("__REDACTED__", {"url": "", "why": "hidden"}),
        (f"data:image/png;base64,{'A' * 9_000_000}", {"url": "", "why": "too_large"}),
    ],
)
def test_images_are_drawn_from_their_own_bytes_alone(url: str, shown: dict[str, Any]) -> None:
    (part,) = parts_of([{"type": "image", "image": {"image": {"url": url}}}])

    assert part["kind"] == "image"
    assert {key: part[key] for key in shown} == shown


def test_all_images_of_a_page_together_are_bounded() -> None:
    image = {
        "type": "image",
        "image": {"image": {"url": "data:image/png;base64," + "A" * 3_000_000}},
    }
    whys = [part["why"] for part in parts_of([image] * 4)]

    assert whys == ["", "", "too_large", "too_large"]


def test_audio_and_files_are_named_with_their_size() -> None:
    audio, document = parts_of(
        [
            {
                "type": "audio",
                "audio": {
                    "audio": {"url": "data:audio/wav;base64,AAAA", "transcript": "hello there"}
                },
            },
            {"document": {"document": {"url": "https://a.example/d.pdf", "name": "d.pdf"}}},
        ]
    )

    assert (audio["medium"], audio["mime_type"], audio["size"]) == ("audio", "audio/wav", 3)
    assert audio["transcript"]["text"] == "hello there"
    assert (document["name"], document["target"]) == ("d.pdf", "https://a.example/d.pdf")


def test_content_that_is_not_known_is_shown_as_it_is() -> None:
    (part,) = parts_of([{"type": "hologram", "x": 1}])

    assert part["kind"] == "unknown"
    assert json.loads(part["text"]) == {"type": "hologram", "x": 1}


def test_what_was_said_beside_reasoning_is_shown() -> None:
    answer = message("assistant", "Yes.", contents=[{"type": "reasoning", "text": "hm"}])
    seen = conversation(llm_span([USER], [answer]))

    assert [part["kind"] for part in seen["answers"][0]["parts"]] == ["reasoning", "text"]
    assert seen["answer"]["text"] == "Yes."


def test_a_call_is_not_shown_a_second_time_as_content() -> None:
    answer = message(
        "assistant", contents=[{"type": "tool_use"}], tool_calls=[tool_call("weather", id="a")]
    )
    (drawn,) = conversation(llm_span([USER], [answer]))["answers"]

    assert [part["kind"] for part in drawn["parts"]] == ["tool_call"]


def test_a_result_that_was_recorded_as_blocks_is_shown_as_what_they_hold() -> None:
    blocks = [
        {"type": "text", "text": "not found"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}},
    ]
    called = message("assistant", tool_calls=[tool_call("find", id="a")])
    results = (
        message("tool", json.dumps(blocks), tool_call_id="a"),
        message("tool", contents=[{"type": "text", "text": json.dumps(blocks)}], tool_call_id="a"),
    )
    for result in results:
        seen = conversation(llm_span([USER, called, result], [ANSWER]))
        (given,) = seen["messages"][1]["parts"][0]["results"]
        assert [part["kind"] for part in given["parts"]] == ["text", "image"]
        assert given["parts"][0]["text"] == "not found"


def test_messages_that_hold_nothing_give_way_to_the_request_itself() -> None:
    request = [{"role": "user", "content": [{"guardContent": {"text": {"text": "How?"}}}]}]
    seen = conversation(
        llm_span([message("user")], [ANSWER])
        | {"input": {"value": json.dumps(request), "mime_type": "application/json"}}
    )

    assert "How?" in seen["question"]
    assert seen["messages"][0]["parts"][0]["kind"] == "json"


def test_a_question_without_words_says_what_it_is() -> None:
    image = {"type": "image", "image": {"image": {"url": PNG}}}
    asked = [message("user", "before"), message("user", contents=[image])]

    assert conversation(llm_span(asked, [ANSWER]))["question"] == "[image]"


def test_several_answers_stand_beside_each_other_and_the_first_is_judged() -> None:
    seen = conversation(
        llm_span([USER], [ANSWER, message("assistant", "No.")], parameters={"n": 2})
    )

    assert [a["parts"][0]["text"] for a in seen["answers"]] == ["Yes.", "No."]
    assert seen["answer"]["text"] == "Yes."
    assert seen["notes"] == ["The model gave 2 answers; judge the first one."]


def test_the_items_of_one_answer_are_one() -> None:
    thought = message("assistant", contents=[{"type": "reasoning", "text": "hm"}])
    call = message("assistant", tool_calls=[tool_call("weather", id="a")])
    seen = conversation(llm_span([USER], [thought, ANSWER, call]))

    (answer,) = seen["answers"]
    assert [part["kind"] for part in answer["parts"]] == ["reasoning", "text", "tool_call"]


def test_prompts_and_completions_are_a_conversation() -> None:
    seen = conversation(
        {
            "llm": {
                "prompts": [{"prompt": {"text": "Once"}}],
                "choices": [{"completion": {"text": "upon a time"}}],
            }
        }
    )

    assert (seen["question"], seen["answer"]["text"]) == ("Once", "upon a time")


def test_prompts_as_bare_texts_are_read_too() -> None:
    assert conversation({"llm": {"prompts": ["Once"]}})["question"] == "Once"


def test_the_documents_of_a_retriever_are_its_answer() -> None:
    seen = conversation(
        {
            "input": {"value": "how to return"},
            "retrieval": {
                "documents": [
                    {
                        "document": {
                            "id": "7",
                            "content": "Within 30 days.",
                            "score": 0.75,
                            "metadata": {"page": 2},
                            "url": "javascript:alert(1)",
                        }
                    }
                ]
            },
        }
    )

    (document,) = seen["answers"][0]["parts"]
    assert (document["id"], document["score"], document["text"]) == ("7", 0.75, "Within 30 days.")
    assert document["metadata"]["text"] == '{"page": 2}'
    assert document["target"] == ""
    assert seen["question"] == "how to return"
    assert [field["text"] for field in seen["answer"]["editable"]] == [""]


def test_documents_retrieved_beside_the_answer_are_shown() -> None:
    retriever = {"retrieval": {"documents": [{"document": {"content": "Within 30 days."}}]}}
    seen = conversation(llm_span([USER], [ANSWER]), beside=[span(retriever)])

    assert [document["text"] for document in seen["documents"]] == ["Within 30 days."]


@pytest.mark.parametrize(
    ("recorded", "answer"),
    [
        ({"value": "plain"}, "plain"),
        ({"value": '{"a": 1}', "mime_type": "application/json"}, '{"a": 1}'),
        ({"value": {"a": 1}}, '{"a": 1}'),
        (
            {
                "value": '{"choices": [{"message": {"role": "assistant", "content": "Hi"}}]}',
                "mime_type": "application/json",
            },
            "Hi",
        ),
        (
            {
                "value": '{"role": "assistant", "content": [{"type": "text", "text": "Hi"}, '
                '{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}',
                "mime_type": "application/json",
            },
            "Hi\n\nf({})",
        ),
    ],
)
def test_without_messages_the_bodies_are_read(recorded: dict[str, Any], answer: str) -> None:
    assert conversation({"output": recorded})["answer"]["text"] == answer


def test_a_question_in_a_body_is_found() -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]}
    seen = conversation({"input": {"value": json.dumps(body), "mime_type": "application/json"}})

    assert seen["question"] == "Hello"
    assert seen["answer"]["kind"] == "none"
    assert [field["text"] for field in seen["answer"]["editable"]] == [""]


def test_earlier_turns_are_shown_once() -> None:
    first = span(llm_span([message("user", "Hello")], [message("assistant", "Hello!")]))
    second = span(llm_span([message("user", "Thanks")], [message("assistant", "You are welcome.")]))
    history = [message("user", "Hello"), message("assistant", "Hello!"), USER]

    alone = conversation(llm_span([USER], [ANSWER]), earlier=[first, second])
    repeating = conversation(llm_span(history, [ANSWER]), earlier=[first, second])

    assert [turn["messages"][0]["parts"][0]["text"] for turn in alone["earlier"]] == [
        "Hello",
        "Thanks",
    ]
    assert [turn["messages"][1]["parts"][0]["text"] for turn in repeating["earlier"]] == [
        "You are welcome."
    ]


def test_tools_are_listed_with_their_parameters() -> None:
    seen = conversation(
        llm_span([USER], [ANSWER], tools=[tool(openai_tool("weather", city={"type": "string"}))])
    )

    assert seen["tools"][0]["name"] == "weather"
    assert "city" in seen["tools"][0]["parameters"]["text"]


def test_an_answer_that_was_cut_off_is_said() -> None:
    seen = conversation(llm_span([USER], [ANSWER], finish_reason="length"))

    assert seen["notes"] == ["The answer was cut off at the model's length limit."]
