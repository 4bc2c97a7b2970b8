"""OpenAI's errors: status, type, param and code as the vendor pairs them."""

from __future__ import annotations

from typing import Any

import orjson

from tracequill_collector.mock.reply import compact_json, pretty_json


class OpenAIError(Exception):
    """The request is answered with an error in OpenAI's format."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.fields = {"message": message, "type": kind, "param": param, "code": code}

    @property
    def body(self) -> bytes:
        """The error as the whole body of an answer."""
        return pretty_json({"error": self.fields}, indent=4)

    @property
    def event(self) -> bytes:
        """The error as a server-sent event of chat completions."""
        return b"data: " + compact_json({"error": self.fields}) + b"\n\n"


def missing(param: str) -> OpenAIError:
    """A required field is not there."""
    return OpenAIError(
        400,
        f"Missing required parameter: '{param}'.",
        param=param,
        code="missing_required_parameter",
    )


def wrong_type(param: str, expected: str, value: Any) -> OpenAIError:
    """A field has a value of another type."""
    names = {str: "a string", int: "an integer", float: "a decimal", bool: "a boolean"}
    got = names.get(type(value), "an array" if isinstance(value, list) else "an object")
    got = "null" if value is None else got
    return OpenAIError(
        400,
        f"Invalid type for '{param}': expected {expected}, but got {got} instead.",
        param=param,
        code="invalid_type",
    )


def unknown_model(model: str) -> OpenAIError:
    """There is no such model."""
    return OpenAIError(
        404,
        f"The model `{model}` does not exist or you do not have access to it.",
        code="model_not_found",
    )


def wrong_key(key: str) -> OpenAIError:
    """The API key is not accepted."""
    return OpenAIError(
        401,
        f"Incorrect API key provided: {key}. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
    )


def rate_limited(limit_per_minute: int, delay_seconds: float) -> OpenAIError:
    """Too many requests."""
    return OpenAIError(
        429,
        "Rate limit reached for organization org-mock on requests per min (RPM): Limit "
        f"{limit_per_minute}, Used {limit_per_minute}, Requested 1. Please try again in "
        f"{round(delay_seconds * 1000)}ms.",
        kind="requests",
        code="rate_limit_exceeded",
    )


def server_error() -> OpenAIError:
    """The vendor has failed."""
    return OpenAIError(
        500,
        "The server had an error while processing your request. Sorry about that!",
        kind="server_error",
    )


def overloaded() -> OpenAIError:
    """The vendor has no capacity."""
    return OpenAIError(
        503,
        "The engine is currently overloaded, please try again later.",
        kind="server_error",
    )


def parse_body(body: bytes) -> dict[str, Any]:
    """Read a request body; an OpenAIError says that it is not a JSON object."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        raise OpenAIError(
            400,
            "We could not parse the JSON body of your request. The OpenAI API expects a JSON "
            "payload, but what was sent was not valid JSON.",
        )
    return fields


def required_text(fields: dict[str, Any], name: str) -> str:
    """Give a field that must be there and be a string."""
    if name not in fields:
        if name == "model":
            raise OpenAIError(400, "you must provide a model parameter")
        raise missing(name)
    value = fields[name]
    if not isinstance(value, str):
        raise wrong_type(name, "a string", value)
    return value


def whole_number(fields: dict[str, Any], name: str, least: int, most: int) -> int | None:
    """Give a field that may be absent and else is an integer between *least* and *most*."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(name, "an integer", value)
    if value < least:
        raise OpenAIError(
            400,
            f"Invalid '{name}': integer below minimum value. Expected a value >= {least}, but got "
            f"{value} instead.",
            param=name,
            code="integer_below_min_value",
        )
    if value > most:
        raise OpenAIError(
            400,
            f"Invalid '{name}': integer above maximum value. Expected a value <= {most}, but got "
            f"{value} instead.",
            param=name,
            code="integer_above_max_value",
        )
    return value
