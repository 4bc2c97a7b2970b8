"""Anthropic's API: chooses the operation by path, adds the vendor's headers, answers errors.

Known are ``/v1/messages``, plain and streamed, ``/v1/messages/count_tokens`` and ``/v1/models``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import unquote

from tracequill_collector.mock.anthropic_errors import (
    AnthropicError,
    invalid,
    not_found,
    overloaded,
    parse_body,
    rate_limited,
    server_error,
    wrong_key,
)
from tracequill_collector.mock.anthropic_messages import Written, message, message_events, write
from tracequill_collector.mock.anthropic_request import (
    Asked,
    InvalidMessages,
    read_conversation,
    read_messages,
)
from tracequill_collector.mock.conversation import (
    Json,
    identifier,
    prompt_tokens,
    uuid_identifier,
)
from tracequill_collector.mock.reply import MockRequest, Reply, compact_json

_PATH = "/v1/messages"
_VERSION = "anthropic-version"
# Alias, dated name, what people call it, time of release.
_MODELS = (
    ("claude-opus-4-5", "claude-opus-4-5-20251101", "Claude Opus 4.5", "2025-11-24T00:00:00Z"),
    ("claude-haiku-4-5", "claude-haiku-4-5-20251001", "Claude Haiku 4.5", "2025-10-15T00:00:00Z"),
    (
        "claude-sonnet-4-5",
        "claude-sonnet-4-5-20250929",
        "Claude Sonnet 4.5",
        "2025-09-29T00:00:00Z",
    ),
    ("mock-model", "mock-model", "Mock model", "2023-11-14T00:00:00Z"),
)
_DATED = {alias: dated for alias, dated, _, _ in _MODELS}
# Older and newer models of the vendor's families are there as well, under their own name.
_FAMILY = re.compile(r"(claude-|mock-)[\w.-]*\Z")
_TOKENS_PER_MINUTE = 2_000_000
_LEAST_CACHED_TOKENS = 1024
_CACHE_STEP_TOKENS = 128


def is_anthropic(request: MockRequest) -> bool:
    """Whether Anthropic is asked: by path, or by the header that all its clients send."""
    if request.path == _PATH or request.path.startswith(f"{_PATH}/"):
        return True
    return _VERSION in request.headers and request.path.startswith("/v1/")


class Anthropic:
    """Anthropic under ``/v1``."""

    def __init__(self, requests_per_second: float) -> None:
        self._limit_per_minute = round(requests_per_second * 60) or 4_000

    def reply(self, request: MockRequest) -> Reply:
        """Answer one request, with an error in the vendor's format where one is due."""
        try:
            reply = self._operation(request)
        except AnthropicError as error:
            return self._error(request, error)
        headers = [*reply.headers, *self._headers(request)]
        return Reply(reply.status, headers, reply.chunks, reply.broken_off)

    def failure(self, request: MockRequest, status: int, delay_seconds: float) -> Reply:
        """Answer 429, 500, or 529 for 503; the first asks to wait for *delay_seconds*."""
        if status != 429:
            return self._error(request, overloaded() if status == 503 else server_error())
        return self._error(request, rate_limited(self._limit_per_minute), delay_seconds)

    def malformed(self, request: MockRequest) -> Reply:
        """Answer a body that is JSON, but nothing that the operation understands."""
        return self._error(request, invalid("Invalid body: a field has a wrong type."))

    def unrecorded(self, request: MockRequest, reason: str) -> Reply:
        """Answer a request that a recording has no answer to."""
        return self._error(request, AnthropicError(404, "not_found_error", reason))

    def _operation(self, request: MockRequest) -> Reply:
        authorization = request.headers.get("authorization", "")
        if authorization.removeprefix("Bearer ").strip() == "invalid":
            raise wrong_key("bearer token")
        if request.headers.get("x-api-key") == "invalid":
            raise wrong_key("x-api-key")
        if _VERSION not in request.headers:
            raise invalid(f"{_VERSION}: header is required")
        path, method = request.path.rstrip("/"), request.method
        if path in (_PATH, f"{_PATH}/count_tokens"):
            if method != "POST":
                raise AnthropicError(405, "invalid_request_error", "Method Not Allowed")
            return _messages(request) if path == _PATH else _count(request)
        if path == "/v1/models" and method == "GET":
            return _plain(_models())
        if path.startswith("/v1/models/") and method == "GET":
            return _plain(_model_entry(unquote(path.removeprefix("/v1/models/"))))
        raise not_found("Not Found")

    def _error(
        self, request: MockRequest, error: AnthropicError, delay_seconds: float = 0
    ) -> Reply:
        headers = [("content-type", "application/json"), *self._headers(request)]
        if delay_seconds:
            # The vendor rounds up, so that who waits as told is let in.
            headers.append(("retry-after", str(max(1, -int(-delay_seconds // 1)))))
        if error.status in (429, 500, 529):
            headers.append(("x-should-retry", "true"))
        return Reply(error.status, headers, [error.body(_request_id(request))])

    def _headers(self, request: MockRequest) -> list[tuple[str, str]]:
        limit = self._limit_per_minute
        reset = datetime.fromtimestamp(request.created_unix_seconds + 1, UTC)
        reset_at = reset.strftime("%Y-%m-%dT%H:%M:%SZ")
        left = _TOKENS_PER_MINUTE - min(len(request.body) // 4, 99_999)
        return [
            ("request-id", _request_id(request)),
            ("anthropic-organization-id", uuid_identifier("mock")),
            ("anthropic-ratelimit-requests-limit", str(limit)),
            ("anthropic-ratelimit-requests-remaining", str(limit - 1)),
            ("anthropic-ratelimit-requests-reset", reset_at),
            ("anthropic-ratelimit-tokens-limit", str(_TOKENS_PER_MINUTE)),
            ("anthropic-ratelimit-tokens-remaining", str(left)),
            ("anthropic-ratelimit-tokens-reset", reset_at),
        ]


def _request_id(request: MockRequest) -> str:
    return "req_01" + identifier(22, request.path, request.body)


def _plain(value: Json) -> Reply:
    return Reply(200, [("content-type", "application/json")], [compact_json(value)])


# --- messages -----------------------------------------------------------------------------


def _messages(request: MockRequest) -> Reply:
    fields = parse_body(request.body)
    model = _model(fields)
    try:
        asked = read_messages(fields)
    except InvalidMessages as error:
        raise invalid(str(error)) from None
    written = write(request, asked, model)
    usage = _usage(asked, written)
    if fields.get("stream") is not True:
        told = message(written, {**usage, "service_tier": "standard"} | _thinking(written))
        return _plain(told)
    counted = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    final = {name: usage[name] for name in counted} | _thinking(written)
    events = message_events(written, {**usage, "service_tier": "standard"}, final)
    return Reply(
        200,
        [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")],
        list(_stream(events)),
        broken_off=overloaded().event(_request_id(request)),
    )


def _count(request: MockRequest) -> Reply:
    fields = parse_body(request.body)
    _model(fields)
    try:
        conversation = read_conversation(fields)
    except InvalidMessages as error:
        raise invalid(str(error)) from None
    return _plain({"input_tokens": prompt_tokens(conversation)})


def _model(fields: Json) -> str:
    """Give the dated name of the model that the body names."""
    if "model" not in fields:
        raise invalid("model: Field required")
    model = fields["model"]
    if not isinstance(model, str):
        raise invalid("model: Input should be a valid string")
    if not _FAMILY.match(model):
        raise not_found(f"model: {model}")
    return _DATED.get(model, model)


def _usage(asked: Asked, written: Written) -> Json:
    """What the prompt cost; a long one counts as read from the cache, where it asks for that."""
    prompt = written.said.input_tokens
    cached = 0
    if asked.cached and prompt >= _LEAST_CACHED_TOKENS:
        cached = (prompt - 1) // _CACHE_STEP_TOKENS * _CACHE_STEP_TOKENS
    return {
        "input_tokens": prompt - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    }


def _thinking(written: Written) -> Json:
    if not written.thinking_tokens:
        return {}
    return {"output_tokens_details": {"thinking_tokens": written.thinking_tokens}}


def _stream(events: Iterator[Json]) -> Iterator[bytes]:
    """The events as they are sent, each in a chunk of its own; a ping follows the first block."""
    pinged = False
    for event in events:
        yield _event(event)
        if event["type"] == "content_block_start" and not pinged:
            yield _event({"type": "ping"})
            pinged = True


def _event(event: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), compact_json(event))


# --- models -------------------------------------------------------------------------------


def _models() -> Json:
    entries = [_entry(dated, title, released) for _, dated, title, released in _MODELS]
    return {
        "data": entries,
        "has_more": False,
        "first_id": entries[0]["id"],
        "last_id": entries[-1]["id"],
    }


def _model_entry(model: str) -> Json:
    for alias, dated, title, released in _MODELS:
        if model in (alias, dated):
            return _entry(dated, title, released)
    if _FAMILY.match(model):
        return _entry(model, model, "2023-11-14T00:00:00Z")
    raise not_found(f"model: {model}")


def _entry(model: str, title: str, released: str) -> Json:
    return {"type": "model", "id": model, "display_name": title, "created_at": released}
