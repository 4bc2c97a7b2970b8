"""POST /v1/embeddings, one input or many, as numbers or as base64."""

from __future__ import annotations

import base64
from typing import Any

from tracequill_collector.mock.conversation import Json, count_tokens
from tracequill_collector.mock.openai_errors import (
    OpenAIError,
    missing,
    parse_body,
    required_text,
    whole_number,
)
from tracequill_collector.mock.openai_models import (
    DEFAULT_DIMENSIONS,
    DIMENSIONS,
    embedding_model,
)
from tracequill_collector.mock.reply import MockRequest, Reply, compact_json, pretty_json
from tracequill_collector.mock.vectors import pack, unit_vector

_INPUTS_MOST = 2048


def embed(request: MockRequest) -> Reply:
    """Answer one request; an OpenAIError when the vendor would refuse it."""
    fields = parse_body(request.body)
    model = embedding_model(required_text(fields, "model"))
    inputs = _inputs(fields)
    most = DIMENSIONS.get(model, DEFAULT_DIMENSIONS)
    dimensions = whole_number(fields, "dimensions", 1, most) or most
    form = fields.get("encoding_format", "float")
    if form not in ("float", "base64"):
        raise OpenAIError(
            400,
            f"Invalid value: '{form}'. Supported values are: 'float' and 'base64'.",
            param="encoding_format",
            code="invalid_value",
        )
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _written(unit_vector(text, dimensions), form),
        }
        for index, (text, _) in enumerate(inputs)
    ]
    total = sum(count for _, count in inputs)
    answer: Json = {
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": total, "total_tokens": total},
    }
    # A line for each of a thousand numbers helps nobody: only the short form is indented.
    body = pretty_json(answer) if form == "base64" else compact_json(answer)
    return Reply(200, [("content-type", "application/json")], [body])


def _written(vector: list[float], form: str) -> Any:
    if form == "base64":
        return base64.b64encode(pack(vector)).decode()
    return [float(f"{value:.9g}") for value in vector]


def _inputs(fields: Json) -> list[tuple[str, int]]:
    """Give each input as text with its count of tokens; numbers are tokens already."""
    if "input" not in fields:
        raise missing("input")
    value = fields["input"]
    if isinstance(value, str) and value:
        return [(value, count_tokens(value))]
    if isinstance(value, list) and 0 < len(value) <= _INPUTS_MOST:
        if all(isinstance(item, int) for item in value):
            return [(_token_text(value), len(value))]
        if all(isinstance(item, str) and item for item in value):
            return [(item, count_tokens(item)) for item in value]
        if all(
            isinstance(item, list) and item and all(isinstance(token, int) for token in item)
            for item in value
        ):
            return [(_token_text(item), len(item)) for item in value]
    raise OpenAIError(
        400,
        "'$.input' is invalid. Please check the API reference: "
        "https://platform.openai.com/docs/api-reference.",
        param="input",
    )


def _token_text(numbers: list[int]) -> str:
    return " ".join(f"token{number}" for number in numbers)
