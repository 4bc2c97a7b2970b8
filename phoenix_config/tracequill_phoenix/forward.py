"""``POST /v1/traces`` on Phoenix's port: what Phoenix's own authentication lets pass goes to our
collector as it came, and the collector's answer goes back. Nothing is decoded here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from prometheus_client import Counter
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response

from tracequill_phoenix.api.access import ACCESS, NOT_LOCKED
from tracequill_phoenix.collector_client import Answer, CollectorAwayError, CollectorClient

FORWARDED = Counter(
    "tracequill_phoenix_forwarded_requests_total",
    "Trace requests that Phoenix's port handed to the collector, by the status answered.",
    ["status"],
)


class _Body:
    """A request's body as it arrives; says afterwards why it ended early, if it did.

    The HTTP client that sends it on would only report that sending failed.
    """

    def __init__(self, request: Request, max_bytes: int) -> None:
        self._request = request
        self._max_bytes = max_bytes
        self.is_oversize = False
        self.is_cut_off = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        try:
            async for chunk in self._request.stream():
                seen += len(chunk)
                if seen > self._max_bytes:
                    self.is_oversize = True
                    raise ValueError(f"the body is larger than {self._max_bytes} bytes")
                if chunk:
                    yield chunk
        except ClientDisconnect:
            self.is_cut_off = True
            raise


def forward_router(collector: CollectorClient, max_bytes: int) -> APIRouter:
    """Build the route; bodies past *max_bytes* are refused with 413 and never held whole."""
    router = APIRouter(dependencies=[*ACCESS, NOT_LOCKED])

    @router.post("/v1/traces", include_in_schema=False)
    async def forward_traces(request: Request) -> Response:
        response = await _forward(request, collector, max_bytes)
        FORWARDED.labels(status=str(response.status_code)).inc()
        return response

    return router


async def _forward(request: Request, collector: CollectorClient, max_bytes: int) -> Response:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        return _oversize(max_bytes)
    headers = [(_text(name), _text(value)) for name, value in request.headers.raw]
    body = _Body(request, max_bytes)
    try:
        answer = await collector.post_traces(body, headers)
    except CollectorAwayError as error:
        if body.is_oversize:
            return _oversize(max_bytes)
        if body.is_cut_off:  # nobody is left to read the answer
            return PlainTextResponse("the request was cut off", 400)
        return collector_away(error)
    return as_response(answer)


def _text(header: bytes) -> str:
    """Decode as the HTTP client will encode, so that the bytes stay the same."""
    try:
        return header.decode("utf-8")
    except UnicodeDecodeError:
        return header.decode("latin-1")


def as_response(answer: Answer) -> Response:
    """Give the collector's answer as ours, with all its headers but those every server sets."""
    response = Response(answer.body, status_code=answer.status)
    for name, value in answer.headers:
        if name.lower() not in ("content-length", "date", "server"):
            response.headers.append(name, value)
    return response


def collector_away(error: CollectorAwayError) -> PlainTextResponse:
    """Tell the sender to keep its spans and come again, in the words that OTLP clients know."""
    return PlainTextResponse(f"{error}. Send again.", 503, {"Retry-After": "1"})


def _oversize(max_bytes: int) -> PlainTextResponse:
    return PlainTextResponse(
        f"the request is larger than {max_bytes} bytes. "
        "Send smaller batches, or raise request_max_bytes.",
        413,
    )
