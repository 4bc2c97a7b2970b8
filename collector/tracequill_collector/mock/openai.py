"""OpenAI's API: chooses the operation by path, adds the vendor's headers, answers errors."""

from __future__ import annotations

from urllib.parse import unquote

from tracequill_collector.mock.conversation import hex_identifier
from tracequill_collector.mock.openai_chat import complete
from tracequill_collector.mock.openai_embeddings import embed
from tracequill_collector.mock.openai_errors import (
    OpenAIError,
    overloaded,
    rate_limited,
    server_error,
    wrong_key,
)
from tracequill_collector.mock.openai_images import generate
from tracequill_collector.mock.openai_models import get_model, list_models
from tracequill_collector.mock.openai_responses import ResponseMemory, respond
from tracequill_collector.mock.reply import MockRequest, Reply, pretty_json

_VERSION = "2020-10-01"
_POSTED = (
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/images/generations",
)


class OpenAI:
    """OpenAI under ``/v1``."""

    def __init__(self, requests_per_second: float) -> None:
        self._limit_per_minute = round(requests_per_second * 60) or 10_000
        self._memory = ResponseMemory()

    def reply(self, request: MockRequest) -> Reply:
        """Answer one request, with an error in the vendor's format where one is due."""
        try:
            reply = self._operation(request)
        except OpenAIError as error:
            return self._error(request, error)
        headers = [*reply.headers, *self._headers(request)]
        return Reply(reply.status, headers, reply.chunks, reply.broken_off)

    def failure(self, request: MockRequest, status: int, delay_seconds: float) -> Reply:
        """Answer 429, 500 or 503; the first asks to wait for *delay_seconds*."""
        if status != 429:
            return self._error(request, overloaded() if status == 503 else server_error())
        refused = rate_limited(self._limit_per_minute, delay_seconds)
        return self._error(request, refused, delay_seconds)

    def malformed(self, request: MockRequest) -> Reply:
        """Answer a body that is JSON, but nothing that the operation understands."""
        return self._error(request, OpenAIError(400, "Invalid body: a field has a wrong type."))

    def unrecorded(self, request: MockRequest, reason: str) -> Reply:
        """Answer a request that a recording has no answer to."""
        return self._error(request, OpenAIError(404, reason, code="not_recorded"))

    def _operation(self, request: MockRequest) -> Reply:
        key = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if key == "invalid":
            raise wrong_key(key)
        path, method = request.path.rstrip("/"), request.method
        if path in _POSTED and method != "POST":
            raise OpenAIError(
                405,
                f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to make your HTTP "
                "request using a different HTTP method?)",
                code="method_not_supported",
            )
        if path == "/v1/chat/completions":
            return complete(request)
        if path == "/v1/responses":
            return respond(request, self._memory)
        if path == "/v1/embeddings":
            return embed(request)
        if path == "/v1/images/generations":
            return generate(request)
        if path == "/v1/models" and method == "GET":
            return _plain(list_models())
        if path.startswith("/v1/models/") and method == "GET":
            return _plain(get_model(unquote(path.removeprefix("/v1/models/"))))
        raise OpenAIError(404, f"Invalid URL ({method} {request.path})")

    def _error(self, request: MockRequest, error: OpenAIError, delay_seconds: float = 0) -> Reply:
        headers = [("content-type", "application/json"), *self._headers(request)]
        if delay_seconds:
            # The vendor rounds up, so that who waits as told is let in.
            headers.append(("retry-after", str(max(1, -int(-delay_seconds // 1)))))
            headers.append(("retry-after-ms", str(round(delay_seconds * 1000))))
        return Reply(error.status, headers, [error.body])

    def _headers(self, request: MockRequest) -> list[tuple[str, str]]:
        limit = self._limit_per_minute
        return [
            ("x-request-id", "req_" + hex_identifier(32, request.path, request.body)),
            ("openai-organization", "org-mock"),
            ("openai-processing-ms", str(request.latency_milliseconds)),
            ("openai-version", _VERSION),
            ("x-ratelimit-limit-requests", str(limit)),
            ("x-ratelimit-limit-tokens", "2000000"),
            ("x-ratelimit-remaining-requests", str(limit - 1)),
            ("x-ratelimit-remaining-tokens", str(2_000_000 - min(len(request.body) // 4, 99_999))),
            ("x-ratelimit-reset-requests", f"{max(1, 60_000 // limit)}ms"),
            ("x-ratelimit-reset-tokens", "0s"),
        ]


def _plain(value: dict[str, object]) -> Reply:
    return Reply(200, [("content-type", "application/json")], [pretty_json(value)])
