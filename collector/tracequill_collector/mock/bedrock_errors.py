"""Bedrock's errors: status, exception and message as the vendor pairs them."""

from __future__ import annotations

from typing import Any

import orjson

from tracequill_collector.mock.conversation import Json


class BedrockError(Exception):
    """The request is answered with an exception of the Bedrock runtime's model."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.name = name
        self.message = message


def invalid(message: str) -> BedrockError:
    """The request does not hold what the model needs."""
    return BedrockError(400, "ValidationException", message)


def unknown_operation() -> BedrockError:
    """The path is none of the service's, which is so too for a ``/`` inside a model id."""
    return BedrockError(404, "UnknownOperationException", "")


def wrong_credentials() -> BedrockError:
    """The key is not accepted."""
    return BedrockError(
        403, "UnrecognizedClientException", "The security token included in the request is invalid."
    )


def throttled() -> BedrockError:
    """Too many requests."""
    return BedrockError(
        429, "ThrottlingException", "Too many requests, please wait before trying again."
    )


def server_error() -> BedrockError:
    """The vendor has failed."""
    return BedrockError(
        500,
        "InternalServerException",
        "The system encountered an unexpected error during processing. Try your request again.",
    )


def overloaded() -> BedrockError:
    """The vendor has no capacity."""
    return BedrockError(
        503, "ServiceUnavailableException", "Bedrock is unable to process your request."
    )


def parse_body(body: bytes) -> Json:
    """Read a request body; a BedrockError says that it is not a JSON object."""
    try:
        fields: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        raise invalid("Malformed input request, please reformat your input and try again.")
    return fields
