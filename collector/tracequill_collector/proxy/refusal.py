"""Errors of our own, in the format that the caller's client library reads.

Vendor, status and a sentence in; status, headers and body out. Pure. Errors of an upstream do not
come here: they cross unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

_RETRY_AFTER_SECONDS = b"1"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that no upstream gave."""

    status: int
    reason: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


# Status: reason phrase, then the error's name for AWS, for Google and for Anthropic.
_KINDS: dict[int, tuple[str, str, str, str]] = {
    400: ("Bad Request", "ValidationException", "INVALID_ARGUMENT", "invalid_request_error"),
    403: ("Forbidden", "AccessDeniedException", "PERMISSION_DENIED", "permission_error"),
    404: ("Not Found", "ResourceNotFoundException", "NOT_FOUND", "not_found_error"),
    405: ("Method Not Allowed", "ValidationException", "INVALID_ARGUMENT", "invalid_request_error"),
    413: ("Content Too Large", "ValidationException", "INVALID_ARGUMENT", "request_too_large"),
    500: ("Internal Server Error", "InternalServerException", "INTERNAL", "api_error"),
    501: ("Not Implemented", "UnknownOperationException", "UNIMPLEMENTED", "api_error"),
    502: ("Bad Gateway", "ServiceUnavailableException", "UNAVAILABLE", "api_error"),
    503: ("Service Unavailable", "ServiceUnavailableException", "UNAVAILABLE", "overloaded_error"),
    504: ("Gateway Timeout", "ModelTimeoutException", "DEADLINE_EXCEEDED", "timeout_error"),
}
_AWS = frozenset({"bedrock", "bedrock-agent", "sagemaker"})


def refuse(vendor: str, status: int, code: str, message: str) -> Refusal:
    """Build the answer with *status*; *message* must hold no secret."""
    reason, aws_type, _, _ = _KINDS[status]
    headers = [(b"Content-Type", b"application/json")]
    if vendor in _AWS:
        headers.append((b"x-amzn-ErrorType", aws_type.encode("ascii")))
    if status == 503:
        headers.append((b"Retry-After", _RETRY_AFTER_SECONDS))
    build = _aws if vendor in _AWS else _BODIES.get(vendor, _openai)
    body = orjson.dumps(build(status, code, f"Tracequill proxy: {message}"))
    headers.append((b"Content-Length", str(len(body)).encode("ascii")))
    return Refusal(status, reason, headers, body)


def _aws(status: int, code: str, message: str) -> dict[str, Any]:
    return {"message": message}


def _openai(status: int, code: str, message: str) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "api_error"
    error = {"message": message, "type": kind, "param": None, "code": f"tracequill_{code}"}
    return {"error": error}


def _anthropic(status: int, code: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": _KINDS[status][3], "message": message}}


def _gemini(status: int, code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "status": _KINDS[status][2]}}


_BODIES: dict[str, Callable[[int, str, str], dict[str, Any]]] = {
    "anthropic": _anthropic,
    "gemini": _gemini,
}
