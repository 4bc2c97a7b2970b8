"""Anthropic's errors: status and type as the vendor pairs them."""

from __future__ import annotations

from typing import Any

import orjson

from tracequill_collector.mock.conversation import Json
from tracequill_collector.mock.reply import compact_json


class AnthropicError(Exception):
    """The request is answered with an error in Anthropic's format."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message

    def body(self, request_id: str) -> bytes:
        """The error as the whole body of an answer."""
        error = {"type": self.kind, "message": self.message}
        return compact_json({"type": "error", "error": error, "request_id": request_id})

    def event(self, request_id: str) -> bytes:
        """The error as the event that ends a stream."""
        error = {"details": None, "type": self.kind, "message": self.message}
        data = compact_json({"type": "error", "error": error, "request_id": request_id})
        return b"event: error\ndata: " + data + b"\n\n"


def invalid(message: str) -> AnthropicError:
    """The request does not hold what the model needs."""
    return AnthropicError(400, "invalid_request_error", message)


def wrong_key(carrier: str) -> AnthropicError:
    """The key in the header *carrier* is not accepted."""
    return AnthropicError(401, "authentication_error", f"invalid {carrier}")


def not_found(what: str) -> AnthropicError:
    """There is no such path or model."""
    return AnthropicError(404, "not_found_error", what)


def rate_limited(limit_per_minute: int) -> AnthropicError:
    """Too many requests."""
    return AnthropicError(
        429,
        "rate_limit_error",
        "This request would exceed your organization's rate limit of "
        f"{limit_per_minute} requests per minute (org: mock).",
    )


def server_error() -> AnthropicError:
    """The vendor has failed."""
    return AnthropicError(500, "api_error", "Internal server error")


def overloaded() -> AnthropicError:
    """The vendor has no capacity, which it says with a status of its own."""
    return AnthropicError(529, "overloaded_error", "Overloaded")


def parse_body(body: bytes) -> Json:
    """Read a request body; an AnthropicError says that it is not a JSON object."""
    try:
        fields: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise invalid("The request body is not valid JSON") from None
    if not isinstance(fields, dict):
        raise invalid("Input should be an object")
    return fields
