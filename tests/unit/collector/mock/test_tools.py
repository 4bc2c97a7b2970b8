from __future__ import annotations

import pytest

from tracequill_collector.mock.answers import answer
from tracequill_collector.mock.conversation import Conversation, Json, Message, Tool, ToolCall
from tracequill_collector.mock.schema import fill

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ORDER = {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}
TOOLS = (
    Tool("get_weather", "finds the weather for a given city", CITY),
    Tool("get_population", "finds the population for a given city", CITY),
    Tool("get_order_status", "Where an order is and when it arrives.", ORDER),
)


def calls(question: str, **options: object) -> tuple[ToolCall, ...]:
    return answer(
        Conversation((Message("user", question),), tools=TOOLS, **options)  # type: ignore[arg-type]
    ).calls


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("What is the weather in Seattle?", [("get_weather", {"city": "Seattle"})]),
        (
            "What's the weather and population in San Francisco?",
            [
                ("get_weather", {"city": "San Francisco"}),
                ("get_population", {"city": "San Francisco"}),
            ],
        ),
        (
            "weather in Paris and in London?",
            [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "London"})],
        ),
        ("Where is my order A-1042?", [("get_order_status", {"order_id": "A-1042"})]),
        ("Please use get_population for Tern Bay", [("get_population", {"city": "Tern Bay"})]),
        ("How do I return an order?", []),
        ("Tell me a story", []),
    ],
)
def test_a_function_is_called_when_it_fits(question: str, wanted: list[tuple[str, Json]]) -> None:
    assert [(call.name, call.arguments) for call in calls(question)] == wanted


def test_without_parallel_calls_only_the_first_is_made() -> None:
    found = calls("What's the weather and population in San Francisco?", parallel_calls=False)

    assert [call.name for call in found] == ["get_weather"]


def test_the_choice_of_the_request_decides() -> None:
    assert calls("What is the weather in Seattle?", tool_choice="none") == ()
    assert calls("Tell me a story", tool_choice="required")[0].name == "get_weather"
    assert calls("Tell me a story", forced_tool="get_population")[0].name == "get_population"


def test_what_functions_returned_is_reported_and_none_is_called_again() -> None:
    said = answer(
        Conversation(
            (
                Message("user", "What is the weather in Paris and the status of order A-1042?"),
                Message("tool", '{"city": "Paris", "degrees": 18, "rain": false}'),
                Message("tool", "on its way"),
            ),
            tools=TOOLS,
        )
    )

    assert said.calls == ()
    assert said.text == ("Here is what I found. City: Paris; degrees: 18; rain: no. on its way.")


def test_arguments_fit_a_schema_with_all_that_vendors_accept() -> None:
    schema: Json = {
        "type": "object",
        "properties": {
            "unit": {"enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 7},
            "mail": {"type": "string", "description": "e-mail address"},
            "date": {"type": ["string", "null"], "format": "date"},
            "places": {"type": "array", "items": {"$ref": "#/$defs/place"}},
            "country": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "loud": {"type": "boolean"},
            "left_out": {"type": "string"},
        },
        "required": ["unit", "days", "mail", "date", "places", "country", "loud"],
        "$defs": {"place": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }

    value = fill(schema, "12 days in Paris in fahrenheit for ann@example.com on 2026-03-01")

    assert value == {
        "unit": "fahrenheit",
        "days": 7,
        "mail": "ann@example.com",
        "date": "2026-03-01",
        "places": [{"city": "Paris"}],
        "country": "Paris",
        "loud": True,
    }


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema: Json = {
        "type": "object",
        "properties": {"next": {"$ref": "#"}},
        "required": ["next"],
    }

    assert "next" in fill(schema, "")
