from __future__ import annotations

from typing import Any

import pytest

from tracequill_phoenix.dataset_export.finding import Finding
from tracequill_phoenix.dataset_export.testing import tool
from tracequill_phoenix.dataset_export.tools import to_tools

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WANTED = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Now.", "parameters": SCHEMA},
}
ABOUT = {"name": "get_weather", "description": "Now."}


@pytest.mark.parametrize(
    "recorded",
    [
        pytest.param(tool(WANTED), id="OpenAI chat completions"),
        pytest.param(tool({"type": "function", **ABOUT, "parameters": SCHEMA}), id="responses"),
        pytest.param(tool({**ABOUT, "parameters": SCHEMA}), id="OpenAI functions"),
        pytest.param(tool({**ABOUT, "input_schema": SCHEMA}), id="Anthropic"),
        pytest.param(
            tool({"type": "custom", **ABOUT, "input_schema": SCHEMA, "cache_control": {}}),
            id="Anthropic with its type",
        ),
        pytest.param(
            tool({"toolSpec": {**ABOUT, "inputSchema": {"json": SCHEMA}}}), id="Bedrock Converse"
        ),
        pytest.param(tool(SCHEMA, **ABOUT), id="a name beside the schema of the input"),
        pytest.param(
            tool(
                {
                    "functionDeclarations": [
                        {
                            **ABOUT,
                            "parameters": {
                                "type": "OBJECT",
                                "properties": {"city": {"type": "STRING"}},
                                "required": ["city"],
                            },
                        }
                    ]
                }
            ),
            id="Gemini",
        ),
        pytest.param({"tool": {"json_schema": WANTED}}, id="a schema that was stored parsed"),
    ],
)
def test_a_tool_of_any_vendor_becomes_openais(recorded: dict[str, Any]) -> None:
    findings: list[Finding] = []

    assert to_tools([recorded], findings) == [WANTED]
    assert findings == []


def test_null_members_of_the_responses_api_are_left_out_and_strict_is_kept() -> None:
    recorded = {
        "type": "function",
        "name": "f",
        "description": None,
        "parameters": None,
        "strict": True,
    }

    assert to_tools([tool(recorded)], []) == [
        {"type": "function", "function": {"name": "f", "strict": True}}
    ]


def test_bedrocks_cache_points_are_no_tools() -> None:
    findings: list[Finding] = []

    assert to_tools([tool({"cachePoint": {"type": "default"}})], findings) == []
    assert findings == []


@pytest.mark.parametrize(
    ("schema", "code"),
    [
        pytest.param({"type": "web_search"}, "tool_not_a_function", id="run by OpenAI"),
        pytest.param(
            {"type": "computer_20241022", "name": "computer"}, "tool_not_a_function", id="by Claude"
        ),
        pytest.param({"systemTool": {"name": "x"}}, "tool_not_a_function", id="by Bedrock"),
        pytest.param("{broken", "tool_unreadable", id="not JSON"),
    ],
)
def test_what_is_no_function_is_said(schema: Any, code: str) -> None:
    findings: list[Finding] = []

    assert to_tools([tool(schema)], findings) == []
    assert [finding.code for finding in findings] == [code]
