"""Tool definitions of any vendor become OpenAI's: ``{"type": "function", "function": …}``.

In come the entries of ``llm.tools``, which instrumentors record in the vendor's own shape; out
come functions that a chat model can be trained on. A tool that the vendor runs itself, such as
web search, is a finding: there is nothing to train on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from tracequill_phoenix.dataset_export.finding import Finding

# Bedrock's markers in a list of tools, which are not tools.
_MARKERS = frozenset({"cachePoint"})


def to_tools(entries: Iterable[dict[str, Any]], findings: list[Finding]) -> list[dict[str, Any]]:
    """Convert the entries of ``llm.tools``; add a finding for each one that cannot be."""
    tools: list[dict[str, Any]] = []
    for entry in entries:
        recorded = entry.get("tool")
        if not isinstance(recorded, dict) or not recorded:
            continue
        schema = recorded.get("json_schema")
        if isinstance(schema, str):
            try:
                schema = orjson.loads(schema)
            except orjson.JSONDecodeError:
                findings.append(
                    Finding("tool_unreadable", f"tool {len(tools)}: its definition is not JSON")
                )
                continue
        if not isinstance(schema, dict):
            schema = {}
        functions = _functions(schema, recorded)
        if functions is None:
            kind = schema.get("type") or next(iter(schema), "nothing")
            findings.append(
                Finding("tool_not_a_function", f"tool {len(tools)} is {kind!r}, not a function")
            )
            continue
        tools += [{"type": "function", "function": function} for function in functions]
    return tools


def _functions(schema: dict[str, Any], recorded: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The functions that one definition declares; None for what is no function."""
    if isinstance(inner := schema.get("function"), dict):  # OpenAI chat completions
        return [_function(inner, inner.get("parameters"))]
    if isinstance(inner := schema.get("toolSpec"), dict):  # Bedrock Converse
        input_schema = inner.get("inputSchema")
        parameters = input_schema.get("json") if isinstance(input_schema, dict) else None
        return [_function(inner, parameters)]
    for key in ("functionDeclarations", "function_declarations"):  # Gemini
        if isinstance(declared := schema.get(key), list):
            return [_function(d, d.get("parameters")) for d in declared if isinstance(d, dict)]
    if _MARKERS.intersection(schema):
        return []
    named = isinstance(schema.get("name"), str)
    kind = schema.get("type")
    if named and isinstance(schema.get("input_schema"), dict):  # Anthropic
        return [_function(schema, schema["input_schema"])]
    if named and kind in (None, "function"):  # OpenAI responses and functions, one Gemini function
        return [_function(schema, schema.get("parameters"))]
    if isinstance(recorded.get("name"), str) and (kind == "object" or not schema):
        return [_function(recorded, schema or None)]  # the name beside the schema of its input
    return None


def _function(definition: dict[str, Any], parameters: object) -> dict[str, Any]:
    function: dict[str, Any] = {"name": definition.get("name")}
    if isinstance(description := definition.get("description"), str) and description:
        function["description"] = description
    if isinstance(parameters, str):
        try:
            parameters = orjson.loads(parameters)
        except orjson.JSONDecodeError:
            pass  # the validator says that parameters are not an object
    if parameters is not None:
        upper = isinstance(parameters, dict) and str(parameters.get("type", "")).isupper()
        function["parameters"] = _lower_types(parameters) if upper else parameters
    if isinstance(strict := definition.get("strict"), bool):
        function["strict"] = strict
    return function


def _lower_types(schema: Any) -> Any:
    """Gemini spells the types of a schema in capitals; JSON Schema does not."""
    if isinstance(schema, list):
        return [_lower_types(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value.lower()
        if key == "type" and isinstance(value, str) and value.isupper()
        else _lower_types(value)
        for key, value in schema.items()
    }
